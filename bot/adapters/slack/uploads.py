"""Pictures on their way into a channel, which each reaches once.

An upload takes three calls, and the last one, files.completeUploadExternal, "can only be called once"
(docs.slack.dev/reference/methods/files.completeUploadExternal). So the ids of the files are written down before it.
Whoever finds them after a lost answer or a restart asks for the same ids again: they come into the channel then, unless
they did before. Only files that Slack has dropped are uploaded anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.adapters.slack.address import Address
from bot.adapters.slack.trouble import PASSING, SlackError, code_of, explained
from bot.chat import Delivery, Picture
from bot.clock import Clock
from bot.messages import shorten

UPLOADABLE = frozenset({"image/png", "image/jpeg"})
"""What Slack shows in a message; WebP it doesn't."""
MAX_ALT = 1000
"""Characters of alt_txt (docs.slack.dev/reference/methods/files.getUploadURLExternal); what is longer is refused."""
SHARE_POLLS = (0.25, 0.5, 1.0, 1.0, 2.0, 2.0, 3.0, 5.0, 5.0)
"""Seconds between looks at a file that Slack is still putting into its channel."""
EXIST_POLLS = SHARE_POLLS[:5]
"""The same for a file that Slack may not be done with, or may have dropped."""
LISTED_FILES = 200
GONE = ("file_not_found", "file_deleted")

Files = dict[int, str]
"""Ids of files by the place of their picture in the job, from 0."""
Announced = Callable[[list[str]], Awaitable[None]]
"""Hears of files that are about to be shown."""

log = structlog.get_logger("bot.adapters.slack")


class Client(AsyncWebClient):
    """As slack_sdk's, but that `files_upload_v2(..., announced=)` says which files it is about to show."""

    async def files_completeUploadExternal(  # noqa: N802  (slack_sdk's name)
        self,
        *,
        files: list[dict[str, str | None]],
        announced: Announced | None = None,
        **given: Any,  # noqa: ANN401
    ) -> AsyncSlackResponse:
        """The last of the three calls."""
        if announced is not None:
            await announced([str(file["id"]) for file in files])
        return await super().files_completeUploadExternal(files=files, **given)


class Uploads:
    """What the adapter does with files of the bot. Methods raise SlackError."""

    def __init__(self, client: Client, clock: Clock, bot: str) -> None:
        self._client = client
        self._clock = clock
        self._bot = bot

    async def send(self, address: Address, delivery: Delivery, announced: Callable[[Files], Awaitable[None]]) -> Files:
        """Upload the pictures as one message. They may not be in the channel yet when this returns.

        Args:
            address: where they go.
            delivery: holds them.
            announced: writes down what may arrive from now on.
        """
        pictures = delivery.pictures
        if any(picture.image.media_type not in UPLOADABLE for picture in pictures):
            raise SlackError("slack.format", permanent=True)

        files: Files = {}

        async def heard(ids: list[str]) -> None:
            files.update({picture.image.index: file for picture, file in zip(pictures, ids, strict=True)})
            await announced(files)

        with explained():
            await self._client.files_upload_v2(
                file_uploads=[_upload(picture) for picture in pictures],
                channel=address.channel,
                thread_ts=address.thread,
                announced=heard,
            )
        return files

    async def finish(self, address: Address, delivery: Delivery, files: Files) -> Files:
        """Bring these files, which may stand in the channel by now, into it; returns none if Slack has dropped them."""
        named: list[dict[str, str | None]] = [
            {"id": files[picture.image.index], "title": picture.file_name} for picture in delivery.pictures
        ]
        try:
            with explained():
                await self._client.files_completeUploadExternal(
                    files=named, channel_id=address.channel, thread_ts=address.thread
                )
        except SlackError as error:
            if await self._exist(files.values()):
                return files
            if error.permanent or error.code in PASSING:
                raise
            log.warning("upload dropped", job=delivery.job, part=delivery.part, code=error.code)
            return {}
        return files

    async def find(self, delivery: Delivery) -> Files:
        """The files of a delivery of which nothing was written down, by their names; all of them, or none."""
        with explained():
            listed = await self._client.files_list(user=self._bot, count=LISTED_FILES)
        known = {str(file["name"]): str(file["id"]) for file in listed["files"]}
        names = {picture.image.index: picture.file_name for picture in delivery.pictures}
        found = all(name in known for name in names.values())
        return {index: known[name] for index, name in names.items()} if found else {}

    async def until_shared(self, files: Iterable[str]) -> str | None:
        """Wait until the files stand in their channel; the timestamp of their message, None if Slack is too slow."""
        shared, pauses = None, iter(SHARE_POLLS)
        for file in files:
            while (shared := await self._shared(file)) is None:
                pause = next(pauses, None)
                if pause is None:
                    log.warning("files not shared in time", file=file)
                    return None
                await self._clock.sleep(pause)
        return shared

    async def preview(self, data: bytes) -> str:
        """Upload a picture that no channel shows yet; returns its id."""
        with explained():
            done = await self._client.files_upload_v2(filename="preview", title="preview", file=data)
        return str(done["files"][0]["id"])

    async def remove(self, file: str) -> None:
        """Delete a file of the bot, wherever it stands; one that is gone is as good."""
        with explained():
            try:
                await self._client.files_delete(file=file)
            except SlackApiError as error:
                if code_of(error) not in GONE:
                    raise

    async def _exist(self, files: Iterable[str]) -> bool:
        """Whether all of them came into being; waits a little, since Slack makes them in the background."""
        pauses = iter(EXIST_POLLS)
        for file in files:
            while await self._info(file) is None:
                pause = next(pauses, None)
                if pause is None:
                    return False
                await self._clock.sleep(pause)
        return True

    async def _shared(self, file: str) -> str | None:
        """Timestamp of the message that shows a file."""
        info = await self._info(file)
        kinds = (info.get("shares") or {}).values() if info else ()
        return next((str(post[0]["ts"]) for channels in kinds for post in channels.values() if post), None)

    async def _info(self, file: str) -> dict[str, Any] | None:
        """What Slack knows of a file; None if there is no such file, or not yet."""
        with explained():
            try:
                response = await self._client.files_info(file=file)
            except SlackApiError as error:
                if code_of(error) not in GONE:
                    raise
                return None
        return dict(response["file"])


def _upload(picture: Picture) -> dict[str, Any]:
    return {
        "filename": picture.file_name,
        "title": picture.file_name,
        "file": picture.image.data,
        "alt_txt": shorten(picture.alt_text, MAX_ALT),
    }
