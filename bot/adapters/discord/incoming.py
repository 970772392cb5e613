"""An interaction of Discord as an Invocation. Roles are read off the permissions that came with this very event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import discord

from bot.chat import Invocation, Place, Requester, Role

PLATFORM = "discord"
PUBLIC = frozenset({"imagine", "batch", "reroll"})
"""Commands whose answer everybody sees; any other is answered to the person alone."""
BATCH_FORM = "v1:batch"
OPTIONS_FIELD = "options"
PROMPTS_FIELD = "prompts"


def requester(interaction: discord.Interaction) -> Requester:
    """Who asks; whoever manages the server is one of its moderators."""
    may = interaction.permissions
    manages = interaction.guild_id is not None and (may.administrator or may.manage_guild)
    return Requester(
        platform=PLATFORM,
        id=str(interaction.user.id),
        name=interaction.user.display_name,
        role=Role.MODERATOR if manages else Role.MEMBER,
        locale=interaction.locale.value,
    )


def place(interaction: discord.Interaction) -> Place:
    """Where they ask."""
    workspace = f"dm-{interaction.channel_id}" if interaction.guild_id is None else str(interaction.guild_id)
    return Place(platform=PLATFORM, workspace=workspace, channel=str(interaction.channel_id))


def command(interaction: discord.Interaction, reply_to: str) -> Invocation:
    """A slash command: the prompt is text, and may hold flags like everywhere; options that were picked go along."""
    data: Mapping[str, Any] = interaction.data or {}
    name, options = str(data["name"]), _values(data.get("options", ()))
    text = str(options.pop("prompt", ""))
    return invocation(interaction, name, text, options or None, reply_to)


def batch(interaction: discord.Interaction, reply_to: str) -> Invocation:
    """The form of `/batch`: a line of options for all, and a prompt on each line."""
    data: Mapping[str, Any] = interaction.data or {}
    fields = dict(_fields(data.get("components", ())))
    lines = (fields.get(OPTIONS_FIELD, "").strip(), fields.get(PROMPTS_FIELD, ""))
    return invocation(interaction, "batch", "\n".join(line for line in lines if line), None, reply_to)


def invocation(
    interaction: discord.Interaction,
    name: str,
    text: str,
    options: dict[str, str | int | float | bool] | None,
    reply_to: str,
) -> Invocation:
    """A command on behalf of whoever caused the interaction."""
    return Invocation(
        event=str(interaction.id),
        command=name,
        requester=requester(interaction),
        place=place(interaction),
        text=text,
        options=options,
        reply_to=reply_to,
    )


def _values(options: Any) -> dict[str, str | int | float | bool]:  # noqa: ANN401  (JSON)
    """Options by name; a subcommand is the option `action`."""
    values: dict[str, str | int | float | bool] = {}
    for option in options:
        if "options" in option or "value" not in option:
            values |= {"action": option["name"], **_values(option.get("options", ()))}
        else:
            values[option["name"]] = option["value"]
    return values


def _fields(components: Any) -> list[tuple[str, str]]:  # noqa: ANN401  (JSON)
    """What was written into a form: each field by its name, however they are nested."""
    found: list[tuple[str, str]] = []
    for component in components:
        if "value" in component:
            found.append((str(component.get("custom_id")), str(component["value"])))
        inner = [component["component"]] if "component" in component else component.get("components", ())
        found += _fields(inner)
    return found
