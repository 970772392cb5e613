"""Slack's Web API as the adapter uses it: rate limits waited for, refusals as one sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.async_handler import AsyncRetryHandler
from slack_sdk.http_retry.response import HttpResponse
from slack_sdk.http_retry.state import RetryState
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.adapters.slack.address import Address
from bot.adapters.slack.blocks import Block
from bot.adapters.slack.incoming import File
from bot.adapters.slack.text import fallback
from bot.chat import MAX_ATTACHMENT, Attachment, Delivery
from bot.clock import Clock
from bot.errors import DeliveryError
from bot.messages import catalogue, say

UPLOADABLE = frozenset({"image/png", "image/jpeg"})
"""What Slack shows in a message; WebP it doesn't."""
LASTING = frozenset(
    {
        "account_inactive",
        "cannot_dm_bot",
        "channel_not_found",
        "invalid_auth",
        "is_archived",
        "missing_scope",
        "not_allowed_token_type",
        "not_authed",
        "not_in_channel",
        "restricted_action",
        "token_expired",
        "token_revoked",
    }
)
"""Errors that another attempt can't mend."""
LONGEST_WAIT = 60.0
"""Seconds that a rate limit may ask for; after longer ones the delivery is tried again later."""
RATE_LIMIT_TRIES = 3
SHARE_POLLS = (0.25, 0.5, 1.0, 1.0, 2.0, 2.0, 3.0, 5.0, 5.0)
"""Seconds between looks at a file that Slack is still putting into its channel."""
LISTED_FILES = 200

log = structlog.get_logger("bot.adapters.slack")


class Patience(AsyncRetryHandler):
    """Waits as long as Slack's Retry-After says, and asks again."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(max_retry_count=RATE_LIMIT_TRIES)
        self._clock = clock

    async def _can_retry_async(self, *, response: HttpResponse | None = None, **_: object) -> bool:
        return response is not None and response.status_code == 429 and retry_after(response) <= LONGEST_WAIT

    async def prepare_for_next_attempt_async(
        self, *, state: RetryState, response: HttpResponse | None = None, **_: object
    ) -> None:
        """Wait."""
        state.next_attempt_requested = True
        await self._clock.sleep(retry_after(response) if response else 1.0)
        state.increment_current_attempt()


def retry_after(response: HttpResponse) -> float:
    """Seconds that a response with status 429 asks for; 1 if it doesn't say."""
    values = [value for name, value in response.headers.items() if name.lower() == "retry-after"]
    text = values[0] if values and isinstance(values[0], str) else "".join(values[0]) if values else ""
    return float(text) if text.isdecimal() else 1.0


@contextmanager
def explained() -> Iterator[None]:
    """Whatever Slack refuses, or the network breaks, as a DeliveryError."""
    try:
        yield
    except SlackApiError as error:
        code = code_of(error)
        raise refused(code) if code else DeliveryError(say("slack.unreachable")) from error
    except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
        raise DeliveryError(say("slack.unreachable")) from error


def code_of(error: SlackApiError) -> str:
    """Slack's word for what is wrong; empty where something before Slack answered with a page instead of JSON."""
    data = getattr(error.response, "data", None)
    return str(data.get("error") or "") if isinstance(data, dict) else ""


def refused(code: str) -> DeliveryError:
    """The sentence on one of Slack's error codes."""
    key = f"slack_error.{code}"
    sentence = say(key) if key in catalogue("en") else say("slack.error", code=code)
    return DeliveryError(sentence, permanent=code in LASTING)


class Web:
    """What the adapter asks of Slack. Methods raise DeliveryError."""

    def __init__(self, client: AsyncWebClient, clock: Clock, bot: str) -> None:
        self._client = client
        self._clock = clock
        self._bot = bot

    async def post(self, address: Address, text: str, blocks: Sequence[Block]) -> str:
        """Post a message; returns its timestamp."""
        with explained():
            posted = await self._client.chat_postMessage(
                channel=address.channel, thread_ts=address.thread, **content(text, blocks)
            )
        return str(posted["ts"])

    async def update(self, address: Address, ts: str, text: str, blocks: Sequence[Block]) -> None:
        """Change a message of the bot."""
        with explained():
            await self._client.chat_update(
                channel=address.channel, ts=ts, text=fallback(text), blocks=list(blocks), parse="none"
            )

    async def remove(self, address: Address, ts: str) -> None:
        """Take back a message of the bot."""
        with explained():
            await self._client.chat_delete(channel=address.channel, ts=ts)

    async def whisper(self, address: Address, text: str, blocks: Sequence[Block]) -> None:
        """Show a message to its person alone, for as long as their client runs."""
        with explained():
            await self._client.chat_postEphemeral(
                channel=address.channel, user=address.user, thread_ts=address.thread, **content(text, blocks)
            )

    async def respond(self, url: str, text: str, blocks: Sequence[Block]) -> bool:
        """Whisper through a command's response_url; False if it is used up or too old."""
        client = AsyncWebhookClient(
            url, session=self._client.session, logger=self._client.logger, retry_handlers=[Patience(self._clock)]
        )
        with explained():
            response = await client.send(
                text=fallback(text), blocks=list(blocks), response_type="ephemeral", replace_original=False
            )
        return response.status_code == 200

    async def open_view(self, trigger: str, view: Block) -> None:
        """Open a modal; a trigger holds for 3 seconds, and once."""
        with explained():
            await self._client.views_open(trigger_id=trigger, view=view)

    async def publish_home(self, user: str, view: Block) -> None:
        """Put a person's App Home in place of the last one."""
        with explained():
            await self._client.views_publish(user_id=user, view=view)

    async def direct(self, user: str) -> str:
        """The channel of direct messages with a person."""
        with explained():
            opened = await self._client.conversations_open(users=[user])
        return str(opened["channel"]["id"])

    async def person(self, user: str) -> dict[str, Any]:
        """Slack's record of a person."""
        with explained():
            response = await self._client.users_info(user=user, include_locale=True)
        return dict(response["user"])

    async def upload(self, address: Address, delivery: Delivery) -> dict[int, str]:
        """Upload the pictures as one message; returns the files' ids by index. They may not be in the channel yet."""
        if any(picture.image.media_type not in UPLOADABLE for picture in delivery.pictures):
            raise DeliveryError(say("slack.format"), permanent=True)
        uploads = [
            {
                "filename": picture.file_name,
                "title": picture.file_name,
                "file": picture.image.data,
                "alt_txt": picture.alt_text,
            }
            for picture in delivery.pictures
        ]
        with explained():
            done = await self._client.files_upload_v2(
                file_uploads=uploads, channel=address.channel, thread_ts=address.thread
            )
        ids = [str(file["id"]) for file in done["files"]]
        return {picture.image.index: file for picture, file in zip(delivery.pictures, ids, strict=True)}

    async def upload_preview(self, data: bytes) -> str:
        """Upload a picture that no channel shows yet; returns its id."""
        with explained():
            done = await self._client.files_upload_v2(filename="preview", title="preview", file=data)
        return str(done["files"][0]["id"])

    async def uploaded(self, delivery: Delivery) -> dict[int, str]:
        """The files of a delivery that an earlier attempt uploaded, by their names; all of them, or none."""
        with explained():
            listed = await self._client.files_list(user=self._bot, count=LISTED_FILES)
        known = {str(file["name"]): str(file["id"]) for file in listed["files"]}
        names = {picture.image.index: picture.file_name for picture in delivery.pictures}
        found = all(name in known for name in names.values())
        return {index: known[name] for index, name in names.items()} if found else {}

    async def until_shared(self, files: Sequence[str]) -> str | None:
        """Wait until the files stand in their channel; the timestamp of their message, None if Slack is too slow."""
        for pause in (0.0, *SHARE_POLLS):
            await self._clock.sleep(pause)
            shared = await asyncio.gather(*map(self._shared, files))
            if all(shared):
                return shared[0]
        log.warning("files not shared in time", files=list(files))
        return None

    async def _shared(self, file: str) -> str | None:
        """Timestamp of the message that shows a file."""
        with explained():
            info = await self._client.files_info(file=file)
        kinds = (info["file"].get("shares") or {}).values()
        return next((str(post[0]["ts"]) for channels in kinds for post in channels.values() if post), None)

    async def remove_file(self, file: str) -> None:
        """Delete a file of the bot, wherever it stands; one that is gone is as good."""
        with explained():
            try:
                await self._client.files_delete(file=file)
            except SlackApiError as error:
                if code_of(error) not in ("file_not_found", "file_deleted"):
                    raise

    async def fetch(self, file: File) -> Attachment:
        """A file that somebody sent. The token goes to Slack's own hosts alone.

        Raises:
            DeliveryError: it is too large, elsewhere, or can't be had.
        """
        base, address = urlsplit(self._client.base_url), urlsplit(file.url)
        host, home = address.hostname or "", base.hostname or ""
        if address.scheme != base.scheme or not (host == home or host.endswith(f".{home}")):
            raise DeliveryError(say("slack.no_file"), permanent=True)
        if file.bytes > MAX_ATTACHMENT:
            raise DeliveryError(say("slack.large_file", limit=MAX_ATTACHMENT // 2**20), permanent=True)
        headers = {"Authorization": f"Bearer {self._client.token}"}
        session = self._client.session
        if session is None:
            raise DeliveryError(say("slack.no_file"))
        with explained():
            async with session.get(file.url, headers=headers, allow_redirects=False) as response:
                # Without the scope, Slack answers with its sign-in page.
                if response.status != 200 or response.content_type == "text/html":
                    raise DeliveryError(say("slack.no_file"))
                data = await _bounded(response.content)
        return Attachment(name=file.name, media_type=file.media_type, data=data)


async def _bounded(stream: aiohttp.StreamReader) -> bytes:
    data = bytearray()
    async for chunk in stream.iter_any():
        data += chunk
        if len(data) > MAX_ATTACHMENT:
            raise DeliveryError(say("slack.large_file", limit=MAX_ATTACHMENT // 2**20), permanent=True)
    return bytes(data)


def content(text: str, blocks: Sequence[Block]) -> dict[str, Any]:
    """Arguments of every new message: nothing in it is linked, unfurled or read as markup."""
    return {
        "text": fallback(text),
        "blocks": list(blocks),
        "parse": "none",
        "mrkdwn": False,
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }
