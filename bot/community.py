"""What a community sets for itself: within the operator's limits, for its own people alone."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import structlog
from pydantic import Field, ValidationError, field_validator

from bot import messages
from bot.chat import Place, Requester
from bot.clock import Clock, SystemClock
from bot.errors import NotFoundError
from bot.store import Store
from bot.store.rows import AuditEntry
from engine.types import ImageRequest, Position, Value

MAX_PICTURES = 1_000_000
MAX_LISTED = 50
"""Channels, roles or models that a setting may name."""

Count = Annotated[int, Field(ge=0, le=MAX_PICTURES)]
Names = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=MAX_LISTED)]

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Nsfw(StrEnum):
    """What a channel's age restriction means for pictures."""

    IGNORE = "ignore"
    SPOILER = "spoiler"
    ONLY = "only"


class Community(Value):
    """One community's settings; its moderators may set every field, and no default changes anything.

    What each means is said in `bot.messages`, under `setting_help`.
    """

    options: Mapping[str, str | int | float | bool] = Field(default_factory=dict)
    channels: Names = ()
    roles: Names = ()
    models: Names = ()
    strict: bool = False
    private: bool = False
    spoiler: bool = False
    nsfw: Nsfw = Nsfw.IGNORE
    previews: bool = True
    daily_pictures: Count = 0
    community_pictures: Count = 0
    watermark_text: Annotated[str, Field(max_length=100)] | None = None
    watermark_position: Position | None = None
    watermark_opacity: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    watermark_size: int | None = None
    watermark_color: str | None = None
    watermark_margin: int | None = None
    log_channel: Annotated[str, Field(max_length=200)] | None = None

    @field_validator("options")
    @classmethod
    def _are_options(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        ImageRequest.model_validate({"prompt": "-", **options})
        return options


class Communities:
    """Reads and changes the settings of communities; who may is the caller's to check."""

    def __init__(self, store: Store, *, clock: Clock | None = None) -> None:
        self._table = store.communities
        self._clock = clock or SystemClock()

    async def of(self, scope: str) -> Community:
        """The settings of a community.

        A value that this version can't read is left out and logged.
        """
        stored = await self._table.settings(scope)
        try:
            return Community.model_validate(stored)
        except ValidationError as error:
            broken = {str(problem["loc"][0]) for problem in error.errors()}
            log.warning("settings of a community can't be read", scope=scope, names=sorted(broken))
            return Community.model_validate({name: value for name, value in stored.items() if name not in broken})

    async def put(self, actor: Requester, place: Place, name: str, value: Any) -> None:  # noqa: ANN401
        """Set a value that has been checked, and write down who did."""
        shown = messages.shorten(str(value), 200)
        await self._table.put(name, value, self._entry(actor, "settings.set", name, place, shown))

    async def drop(self, actor: Requester, place: Place, name: str) -> None:
        """Take a value back.

        Raises:
            NotFoundError: it was not set.
        """
        if not await self._table.drop(name, self._entry(actor, "settings.unset", name, place)):
            raise NotFoundError(messages.say("setting.not_set", actor.locale, name=name))

    def _entry(self, actor: Requester, action: str, target: str, place: Place, detail: str = "") -> AuditEntry:
        return AuditEntry(
            created=self._clock.now(),
            actor=actor.key,
            action=action,
            target=target,
            scope=place.scope,
            detail=detail,
        )
