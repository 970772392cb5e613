"""The chat side: adapters, dispatch, jobs, moderation. It knows the engine by its types alone."""
