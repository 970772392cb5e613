"""Translators between a platform and `bot.chat`; one package per platform."""
