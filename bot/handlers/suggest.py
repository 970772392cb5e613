"""What may be meant while a person is still typing an option."""

from __future__ import annotations

from collections.abc import Iterable

from bot.chat import Place, Requester, Role
from bot.grammar import OPTIONS
from bot.grammar.community import NAMES
from bot.handlers.base import Context
from bot.handlers.rules import offered

MAX_SUGGESTIONS = 25
"""As many as Discord shows."""
LOOKED_THROUGH = 50
"""Jobs of the person whose prompts are suggested."""


async def suggest(requester: Requester, place: Place, field: str, typed: str, context: Context) -> tuple[str, ...]:
    """Values of a field that hold what was typed, those that begin with it first."""
    wanted = typed.strip().casefold()
    known = [name for name in await _known(requester, place, field, context) if wanted in name.casefold()]
    known.sort(key=lambda name: not name.casefold().startswith(wanted))
    return tuple(dict.fromkeys(known))[:MAX_SUGGESTIONS]


async def _known(requester: Requester, place: Place, field: str, context: Context) -> Iterable[str]:
    match field:
        case "model":
            return [model.name for model in offered(await context.client.info(), context.community).models]
        case "style":
            return list(context.settings.styles)
        case "prompt":
            return await context.jobs.prompts(requester, place, limit=LOOKED_THROUGH)
        case "setting":
            return NAMES if context.role.reaches(Role.MODERATOR) else ()
    return OPTIONS[field].choices if field in OPTIONS else ()
