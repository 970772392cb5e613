"""Discord: slash commands come in over the gateway, answers go out over the REST API. Built on discord.py."""
