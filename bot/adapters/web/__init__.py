"""The web page: the same commands, jobs, quotas and cache as in the chats, for people who would rather click."""
