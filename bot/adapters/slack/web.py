"""Slack's Web API as the adapter uses it: messages, views, people, and files that people sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.adapters.slack.address import Address
from bot.adapters.slack.blocks import Block
from bot.adapters.slack.incoming import File
from bot.adapters.slack.text import fallback
from bot.adapters.slack.trouble import Patience, SlackError, code_of, explained
from bot.adapters.slack.uploads import Client, Uploads
from bot.chat import MAX_ATTACHMENT, Attachment
from bot.clock import Clock

MAX_DIRECTS = 10_000
"""Channels of direct messages that are remembered."""


class Web:
    """What the adapter asks of Slack. Methods raise SlackError."""

    def __init__(self, client: Client, clock: Clock, bot: str) -> None:
        self._client = client
        self._clock = clock
        self._directs: dict[str, str] = {}
        self.uploads = Uploads(client, clock, bot)

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
        """Take back a message of the bot; one that is gone is as good."""
        with explained():
            try:
                await self._client.chat_delete(channel=address.channel, ts=ts)
            except SlackApiError as error:
                if code_of(error) != "message_not_found":
                    raise

    async def whisper(self, address: Address, text: str, blocks: Sequence[Block]) -> None:
        """Show a message to its person alone, for as long as their client runs.

        In a thread that nobody has answered in, Slack would not show it
        (docs.slack.dev/reference/methods/chat.postEphemeral).
        """
        thread = None if address.fresh else address.thread
        with explained():
            await self._client.chat_postEphemeral(
                channel=address.channel, user=address.user, thread_ts=thread, **content(text, blocks)
            )

    async def respond(self, url: str, text: str, blocks: Sequence[Block]) -> bool:
        """Whisper through a command's response_url; False if it is used up or too old."""
        client = AsyncWebhookClient(
            url, session=self._client.session, logger=self._client.logger, retry_handlers=[Patience(self._clock)]
        )
        with explained():
            response = await client.send_dict(
                content(text, blocks) | {"response_type": "ephemeral", "replace_original": False}
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
        """The channel of direct messages with a person, which stays the same."""
        if user not in self._directs:
            with explained():
                opened = await self._client.conversations_open(users=[user])
            if len(self._directs) >= MAX_DIRECTS:
                self._directs.clear()
            self._directs[user] = str(opened["channel"]["id"])
        return self._directs[user]

    async def person(self, user: str) -> dict[str, Any]:
        """Slack's record of a person."""
        with explained():
            response = await self._client.users_info(user=user, include_locale=True)
        return dict(response["user"])

    async def fetch(self, file: File) -> Attachment:
        """A file that somebody sent. The token goes to Slack's own hosts alone.

        Raises:
            SlackError: it is too large, elsewhere, or can't be had.
        """
        base, address = urlsplit(self._client.base_url), urlsplit(file.url)
        host, home = address.hostname or "", base.hostname or ""
        if address.scheme != base.scheme or not (host == home or host.endswith(f".{home}")):
            raise SlackError("slack.no_file", permanent=True)
        if file.bytes > MAX_ATTACHMENT:
            raise too_large()
        headers = {"Authorization": f"Bearer {self._client.token}"}
        session, proxy = self._client.session, self._client.proxy
        if session is None:
            raise SlackError("slack.no_file")
        with explained():
            async with session.get(file.url, headers=headers, proxy=proxy, allow_redirects=False) as response:
                # Without the scope, Slack answers with its sign-in page.
                if response.status != 200 or response.content_type == "text/html":
                    raise SlackError("slack.no_file")
                data = await _bounded(response.content)
        return Attachment(name=file.name, media_type=file.media_type, data=data)


async def _bounded(stream: aiohttp.StreamReader) -> bytes:
    data = bytearray()
    async for chunk in stream.iter_any():
        data += chunk
        if len(data) > MAX_ATTACHMENT:
            raise too_large()
    return bytes(data)


def too_large() -> SlackError:
    """What is said of a file that isn't taken."""
    return SlackError("slack.large_file", permanent=True, limit=MAX_ATTACHMENT // 2**20)


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
