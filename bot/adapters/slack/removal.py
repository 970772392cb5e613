"""What is taken away again: pictures that were deleted, and messages and files that have had their time."""

from __future__ import annotations

import structlog
from pydantic import ValidationError

from bot.adapters.slack import blocks
from bot.adapters.slack.address import Address, Posted
from bot.adapters.slack.web import Web
from bot.chat import Sent
from bot.errors import DeliveryError
from bot.messages import say

log = structlog.get_logger("bot.adapters.slack")


class Removal:
    """Takes away what the bot has put up in one workspace; what Slack doesn't let go of is logged."""

    def __init__(self, web: Web) -> None:
        self._web = web

    async def take_back(self, job: str, sent: Sent, address: Address, locale: str) -> bool:
        """Whether what is deleted can be seen no more; `address` is of the person who deletes."""
        try:
            posted = Posted.model_validate_json(sent.message)
        except ValidationError:
            return False
        there = address.model_copy(update={"channel": posted.channel, "thread": None, "status": None})
        gone: list[bool] = []
        if sent.left:
            await self._buttons_left(job, sent, posted, there, locale)
        else:
            gone += [await self.message(there, ts) for ts in (posted.shared, posted.buttons, posted.cover) if ts]
        gone += [await self.file(file) for index, file in posted.files.items() if index not in sent.left]
        return all(gone)

    async def _buttons_left(self, job: str, sent: Sent, posted: Posted, there: Address, locale: str) -> None:
        """The message under a batch keeps what belongs to the pictures that stay."""
        if posted.buttons is None:
            return
        upload = Address.read(sent.reply_to, sent.place, there.user).uploads.get(sent.part)
        lines = {index: upload.lines.get(index) if upload else None for index in sent.left}
        text = say("slack.pictures", locale, job=job)
        message = blocks.under(job, lines, upload.locale if upload else locale)
        try:
            await self._web.update(there, posted.buttons, text, message)
        except DeliveryError as error:
            log.warning("buttons left", job=job, reason=error.sentence)

    async def message(self, address: Address, ts: str) -> bool:
        """Whether a message could be taken away."""
        try:
            await self._web.remove(address, ts)
        except DeliveryError as error:
            log.warning("message left", reason=error.sentence)
            return False
        return True

    async def file(self, file: str) -> bool:
        """Whether a file could be deleted."""
        try:
            await self._web.uploads.remove(file)
        except DeliveryError as error:
            log.warning("file left", reason=error.sentence)
            return False
        return True
