"""Ways to reach the engine: in this process, or on Modal."""
