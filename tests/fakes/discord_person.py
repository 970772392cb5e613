"""A person in front of Discord's client: types commands, fills in forms, presses buttons, reads what appears."""

from __future__ import annotations

import re
from typing import Any

from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_values import Asked, Message, user

ADA = 42
GUILD = 7
CHANNEL = 70
MEMBER = 0x800
"""Send messages."""
MANAGE_GUILD = 0x20
COMMAND, COMPONENT, TYPING, FORM = 2, 3, 4, 5
ESCAPED = re.compile(r"\\([_*~|`#])")


class Person:
    """Somebody on one server; `permissions` is what Discord says of them with every event."""

    def __init__(self, discord: FakeDiscord, number: int = ADA, permissions: int = MEMBER) -> None:
        self.discord = discord
        self.number = number
        self.permissions = permissions
        self.guild: int | None = GUILD
        self.channel = CHANNEL
        self.roles: tuple[str, ...] = ()
        self.nsfw = False
        """Whether the channel is for adults."""
        self.invited = True
        """Whether the bot is on the server; otherwise the person has installed it for themselves."""

    async def command(self, name: str, options: list[dict[str, Any]], number: int | None = None) -> Asked:
        """Give a slash command."""
        data = {"id": "5", "name": name, "type": 1, "options": options}
        return await self._send(COMMAND, data, number)

    async def imagine(self, prompt: str, **options: Any) -> Asked:
        """Give `/imagine`."""
        picked = [{"name": name, "type": 3, "value": value} for name, value in options.items()]
        return await self.command("imagine", [{"name": "prompt", "type": 3, "value": prompt}, *picked])

    async def submit(
        self, custom_id: str, values: dict[str, str], number: int | None = None, files: dict[str, bytes] | None = None
    ) -> Asked:
        """Send a form, with files by their names."""
        components: list[dict[str, Any]] = [
            {"type": 18, "id": place, "component": {"type": 4, "id": 10 + place, "custom_id": name, "value": value}}
            for place, (name, value) in enumerate(values.items(), 1)
        ]
        resolved = self._attached(files or {})
        if resolved:
            upload = {"type": 19, "id": 90, "custom_id": "file", "values": list(resolved)}
            components.append({"type": 18, "id": 9, "component": upload})
        data = {"custom_id": custom_id, "components": components, "resolved": {"attachments": resolved}}
        return await self._send(FORM, data, number)

    def _attached(self, files: dict[str, bytes], claimed: int | None = None) -> dict[str, Any]:
        """Put files at the content network, and say what Discord says of them; one of a `claimed` size isn't there."""
        resolved: dict[str, Any] = {}
        for name, data in files.items():
            number = str(self.discord.snowflake())
            if claimed is None:
                self.discord.uploads[number] = data
            url = f"http://{self.discord.address}/files/{number}"
            shown = {"id": number, "filename": name, "size": claimed or len(data), "url": url, "proxy_url": url}
            resolved[number] = shown | {"content_type": "application/octet-stream"}
        return resolved

    async def attach(self, name: str, option: str, file: str, data: bytes, claimed: int | None = None) -> Asked:
        """Give a slash command with a file; one of a `claimed` size is gone when it is fetched."""
        resolved = self._attached({file: data}, claimed)
        picked = [{"name": option, "type": 11, "value": next(iter(resolved))}]
        if name == "imagine":
            picked.append({"name": "prompt", "type": 3, "value": "a red apple"})
        event = {"id": "5", "name": name, "type": 1, "options": picked, "resolved": {"attachments": resolved}}
        return await self._send(COMMAND, event)

    async def type(self, name: str, option: str, value: str) -> Asked:
        """Begin to type an option of a slash command."""
        options = [{"name": option, "type": 3, "value": value, "focused": True}]
        return await self._send(TYPING, {"id": "5", "name": name, "type": 1, "options": options})

    async def menu(self, message: Message, title: str) -> Asked:
        """Use a message's own menu."""
        data = {"id": "6", "name": title, "type": 3, "target_id": str(message.id)}
        return await self._send(COMMAND, data | {"resolved": {"messages": {str(message.id): message.shown()}}})

    async def press(self, message: Message, label: str) -> Asked:
        """Press a button under a message."""
        buttons = [button for row in message.components for button in row["components"]]
        custom_id = next(button["custom_id"] for button in buttons if button.get("label") == label)
        return await self._send(COMPONENT, {"custom_id": custom_id, "component_type": 2}, message=message)

    async def pick(self, message: Message, number: int) -> Asked:
        """Pick one of several pictures, from 1."""
        menu = message.components[0]["components"][0]
        value = menu["options"][number - 1]["value"]
        data = {"custom_id": menu["custom_id"], "component_type": 3, "values": [value]}
        return await self._send(COMPONENT, data, message=message)

    async def _send(
        self, kind: int, data: dict[str, Any], number: int | None = None, message: Message | None = None
    ) -> Asked:
        who = user(self.number, "ada")
        event: dict[str, Any] = {
            "id": str(number or self.discord.snowflake()),
            "type": kind,
            "data": data,
            "channel_id": str(self.channel),
            "channel": self._channel(),
            "locale": "en-US",
            "entitlements": [],
            "authorizing_integration_owners": {"0": str(self.guild or 0)} if self.invited else {"1": str(self.number)},
            "context": 0 if self.guild else 1,
            "attachment_size_limit": self.discord.claimed_limit,
            "app_permissions": "2147483647",
        }
        if message is not None:
            event["message"] = message.shown()
        if self.guild is None:
            event["user"] = who
        else:
            member = {
                "user": who,
                "roles": list(self.roles),
                "permissions": str(self.permissions),
                "flags": 0,
                "nick": None,
            }
            event |= {"guild_id": str(self.guild), "guild_locale": "en-US"}
            event["member"] = member | {"joined_at": "2026-01-01T00:00:00+00:00", "deaf": False, "mute": False}
        return await self.discord.interaction(event, self.channel, message)

    def _channel(self) -> dict[str, Any]:
        if self.guild is None:
            return {"id": str(self.channel), "type": 1, "recipients": [user(self.number, "ada")]}
        return {
            "id": str(self.channel),
            "type": 0,
            "guild_id": str(self.guild),
            "name": "pictures",
            "position": 0,
            "nsfw": self.nsfw,
        }


def seen(text: str) -> str:
    """What a message looks like: escapes hide their backslash, except in a block.

    Where a mention or a link would begin, the backslash stays, so that tests can look for it.
    """
    return text if text.startswith("```") else ESCAPED.sub(r"\1", text)
