"""An interaction of Discord as an Invocation. Roles are read off the permissions that came with this very event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import discord

from bot import grammar
from bot.chat import Invocation, Place, Requester, Role
from bot.grammar import OPTIONS
from bot.handlers.files import IMAGE_OF

PLATFORM = "discord"
PUBLIC = frozenset({"imagine", "batch", "reroll", "vary", "upscale"})
"""Commands whose answer everybody sees; any other is answered to the person alone."""
DIRECT = frozenset({"send"})
"""Those whose pictures go to the person's own messages."""
ATTACHMENT = 11
"""The type of an option that is a file."""
PRIVATE_FLAG = "--private"
STAND_IN = "picture"
"""A prompt for a line that holds flags alone, since the grammar wants one."""

Options = dict[str, str | int | float | bool]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A command, before anything was looked up or downloaded for it."""

    command: str
    text: str = ""
    options: Options | None = None

    @property
    def private(self) -> bool:
        """Whether the answer is to be begun where the person alone sees it."""
        wanted = bool((self.options or {}).get("private")) or PRIVATE_FLAG in self.text.casefold()
        return wanted or self.command not in PUBLIC

    def invocation(self, interaction: discord.Interaction, reply_to: str) -> Invocation:
        """The command on behalf of whoever caused the interaction."""
        return Invocation(
            event=str(interaction.id),
            command=self.command,
            requester=requester(interaction),
            place=place(interaction),
            text=self.text,
            options=self.options,
            reply_to=reply_to,
        )


def requester(interaction: discord.Interaction) -> Requester:
    """Who asks; whoever manages the server is one of its moderators."""
    may = interaction.permissions
    manages = interaction.guild_id is not None and (may.administrator or may.manage_guild)
    # As the event names them: `Member.roles` holds only those of servers that the gateway has told of.
    roles = interaction.user._roles if isinstance(interaction.user, discord.Member) else ()  # noqa: SLF001
    return Requester(
        platform=PLATFORM,
        id=str(interaction.user.id),
        name=interaction.user.display_name,
        role=Role.MODERATOR if manages else Role.MEMBER,
        roles=tuple(map(str, roles)),
        locale=interaction.locale.value,
    )


def place(interaction: discord.Interaction) -> Place:
    """Where they ask; a public thread belongs to its channel, a private one stands for itself."""
    workspace = f"dm-{interaction.channel_id}" if interaction.guild_id is None else str(interaction.guild_id)
    channel, thread = str(interaction.channel_id), None
    if isinstance(interaction.channel, discord.Thread) and not interaction.channel.is_private():
        channel, thread = str(interaction.channel.parent_id), str(interaction.channel_id)
    return Place(
        platform=PLATFORM, workspace=workspace, channel=channel, thread=thread, nsfw=is_nsfw(interaction.channel)
    )


def is_nsfw(channel: object) -> bool:
    """Whether Discord shows the channel to adults alone; direct messages know no such thing."""
    judge = getattr(channel, "is_nsfw", None)
    return bool(judge()) if callable(judge) else False


def command(interaction: discord.Interaction) -> Asked:
    """A slash command: the prompt is text, and may hold flags like everywhere; options that were picked go along."""
    data: Mapping[str, Any] = interaction.data or {}
    options = _values(data.get("options", ()))
    text = str(options.pop("prompt", ""))
    return Asked(command=str(data["name"]), text=text, options=options or None)


def focused(interaction: discord.Interaction) -> tuple[str, str]:
    """The option that is being typed, and what it holds so far."""
    data: Mapping[str, Any] = interaction.data or {}
    for option in _leaves(data.get("options", ())):
        if option.get("focused"):
            return str(option["name"]), str(option.get("value", ""))
    return "", ""


def fields(interaction: discord.Interaction) -> dict[str, str]:
    """What was written into a form, by the names of its fields."""
    data: Mapping[str, Any] = interaction.data or {}
    return dict(_fields(data.get("components", ())))


def batch(prompts: str, options: str) -> Asked:
    """The form of `/batch`: a line of options for all, and a prompt on each line."""
    lines = (options.strip(), prompts)
    return Asked(command="batch", text="\n".join(line for line in lines if line))


def remix(origin: str, prompt: str, negative: str, options: str, locale: str) -> Asked:
    """The form that changes a picture: its two texts as they are, and a line of flags; other words there are prompt.

    Args:
        origin: the picture, `JOB NUMBER`; if it started from an image, the new one starts from the same.
        prompt: what was written into the first field.
        negative: and into the second.
        options: and into the third.
        locale: language of the sentence on a mistake.

    Raises:
        BadInputError: the line of flags holds a mistake.
    """
    written = grammar.parse(f"{STAND_IN} {options}", locale)
    prompt = f"{prompt} {written.prompt.removeprefix(STAND_IN)}".strip()
    given = {
        name: value
        for name, value in written.model_dump(mode="json", exclude_unset=True).items()
        if name in OPTIONS and value is not None
    }
    texts = {"prompt": prompt, "negative_prompt": negative}
    return Asked(command="imagine", options={**given, **texts, IMAGE_OF: origin})


def _leaves(options: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401  (JSON)
    for option in options:
        if "options" in option:
            yield from _leaves(option["options"])
        else:
            yield option


def _values(options: Any) -> Options:  # noqa: ANN401  (JSON)
    """Options by name, files aside; a subcommand is the option `action`."""
    values: Options = {}
    for option in options:
        if "options" in option or "value" not in option:
            values |= {"action": option["name"], **_values(option.get("options", ()))}
        elif option.get("type") != ATTACHMENT:
            values[option["name"]] = option["value"]
    return values


def _fields(components: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401  (JSON)
    """Each field by its name, however they are nested."""
    for component in components:
        if "value" in component:
            yield str(component.get("custom_id")), str(component["value"])
        inner = [component["component"]] if "component" in component else component.get("components", ())
        yield from _fields(inner)
