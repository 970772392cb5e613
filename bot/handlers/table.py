"""Which handler answers which command, and who may give it."""

from __future__ import annotations

from bot.chat import Role
from bot.handlers import cache, history, moderation
from bot.handlers.base import Command
from bot.handlers.help import helper
from bot.handlers.imagine import batch, imagine, reroll

COMMANDS: dict[str, Command] = {
    "imagine": Command(handler=imagine, role=Role.MEMBER, usage="/imagine PROMPT [OPTIONS]"),
    "batch": Command(handler=batch, role=Role.MEMBER, usage="/batch PROMPTS [OPTIONS]"),
    "reroll": Command(handler=reroll, role=Role.MEMBER, usage="/reroll JOB [NUMBER]"),
    "history": Command(handler=history.history, role=Role.MEMBER, usage="/history"),
    "show": Command(handler=history.show, role=Role.MEMBER, usage="/show JOB"),
    "cancel": Command(handler=history.cancel, role=Role.MEMBER, usage="/cancel JOB"),
    "quota": Command(handler=history.quota, role=Role.MEMBER, usage="/quota"),
    "cache": Command(handler=cache.cache, role=Role.MODERATOR, usage=cache.USAGE),
    "moderation": Command(handler=moderation.moderation, role=Role.MODERATOR, usage=moderation.USAGE),
}
COMMANDS["help"] = helper(COMMANDS)
