"""Which handler answers which command, and who may give it."""

from __future__ import annotations

from bot.chat import Role
from bot.handlers import appeals, cache, communities, history, moderation, pictures, removal
from bot.handlers.base import Command
from bot.handlers.help import helper
from bot.handlers.imagine import batch, imagine
from bot.handlers.verify import verify

COMMANDS: dict[str, Command] = {
    "imagine": Command(handler=imagine, role=Role.MEMBER, usage="/imagine PROMPT [OPTIONS]"),
    "batch": Command(handler=batch, role=Role.MEMBER, usage="/batch PROMPTS [OPTIONS]"),
    "reroll": Command(handler=pictures.reroll, role=Role.MEMBER, usage=pictures.USAGE["reroll"]),
    "vary": Command(handler=pictures.vary, role=Role.MEMBER, usage=pictures.USAGE["vary"]),
    "upscale": Command(handler=pictures.upscale, role=Role.MEMBER, usage=pictures.USAGE["upscale"]),
    "send": Command(handler=pictures.send, role=Role.MEMBER, usage=pictures.USAGE["send"]),
    "delete": Command(handler=removal.delete, role=Role.MEMBER, usage=removal.DELETE),
    "history": Command(handler=history.history, role=Role.MEMBER, usage="/history"),
    "show": Command(handler=history.show, role=Role.MEMBER, usage="/show JOB"),
    "cancel": Command(handler=history.cancel, role=Role.MEMBER, usage="/cancel JOB"),
    "quota": Command(handler=history.quota, role=Role.MEMBER, usage="/quota"),
    "verify": Command(handler=verify, role=Role.MEMBER, usage="/verify"),
    "appeal": Command(handler=appeals.appeal, role=Role.MEMBER, usage=appeals.APPEAL),
    "report": Command(handler=appeals.report, role=Role.MEMBER, usage=appeals.REPORT),
    "forget-me": Command(handler=removal.forget_me, role=Role.MEMBER, usage=removal.FORGET),
    "settings": Command(handler=communities.settings, role=Role.MODERATOR, usage=communities.USAGE),
    "cache": Command(handler=cache.cache, role=Role.MODERATOR, usage=cache.USAGE),
    "moderation": Command(handler=moderation.moderation, role=Role.MODERATOR, usage=moderation.USAGE),
}
COMMANDS["help"] = helper(COMMANDS)
