"""The buttons under a picture: `v1:<action>:<job>:<index>` and nothing else, so that they work for years."""

from __future__ import annotations

import re
from typing import Any, Protocol, Self, cast

import discord

from bot import messages
from bot.chat import Delivery

TEMPLATE = r"v1:(?P<action>reroll|show):(?P<job>[0-9a-z]{1,32}):(?P<index>[0-9]{1,2})"
LABELS = {"reroll": "discord.reroll", "show": "discord.show"}
"""The sentence on each button, by the command that it stands for."""


class Pressable(Protocol):
    """The client, as far as a button is concerned."""

    async def pressed(self, interaction: discord.Interaction, action: str, job: str, index: int) -> None:
        """Give the command that the button stands for; pictures of a job are counted from 0."""


class JobButton(discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=TEMPLATE):
    """One button; made anew from its name whenever it is pressed."""

    def __init__(self, action: str, job: str, index: int, label: str) -> None:
        super().__init__(discord.ui.Button(label=label, custom_id=f"v1:{action}:{job}:{index}"))
        self._action, self._job, self._index = action, job, index

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],  # noqa: ARG003  (discord.py gives it)
        item: discord.ui.Item[Any],
        match: re.Match[str],
        /,
    ) -> Self:
        """The button of this name."""
        label = getattr(item, "label", None) or match["action"]
        return cls(match["action"], match["job"], int(match["index"]), label)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Give the command."""
        await cast("Pressable", interaction.client).pressed(interaction, self._action, self._job, self._index)


def under(delivery: Delivery, locale: str) -> discord.ui.View:
    """The buttons for a message: one of each if it holds one picture, and for the whole job otherwise.

    The view is ended from the start: a press finds its button by name, and discord.py need not remember every message.
    """
    view = discord.ui.View(timeout=None)
    index = delivery.pictures[0].image.index
    for action in LABELS if len(delivery.pictures) == 1 else ("show",):
        view.add_item(JobButton(action, delivery.job, index, messages.say(LABELS[action], locale)))
    view.stop()
    return view
