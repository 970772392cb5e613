"""What can be pressed: everything is in the name of the button, so that it works after a restart and in a year.

`v1:<action>:<job>:<index>` under pictures, `v1:run:<command>:<text>` for a command that somebody else wrote down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, cast

import discord

from bot import messages
from bot.chat import Button, Delivery, Failure, Refusal, Reply

Options = dict[str, str | int | float | bool]
Style = discord.ButtonStyle

MAX_NAME = 100
"""Characters of a button's name, and of an entry's description (discord.com/developers/docs/components/reference)."""
MAX_LABEL = 80


@dataclass(frozen=True, kw_only=True)
class Action:
    """What a button under a picture stands for."""

    command: str
    """Empty for those that open a form."""
    options: tuple[tuple[str, str], ...] = ()
    row: int = 0
    style: Style = Style.secondary


PICTURE: dict[str, Action] = {
    "reroll": Action(command="reroll"),
    "subtle": Action(command="vary", options=(("strength", "subtle"),)),
    "strong": Action(command="vary", options=(("strength", "strong"),)),
    "upscale": Action(command="upscale"),
    "remix": Action(command=""),
    "show": Action(command="show", row=1),
    "send": Action(command="send", row=1),
    "delete": Action(command="delete", row=1, style=Style.danger),
}
"""Under one picture."""
WHOLE: dict[str, Action] = {
    "parameters": Action(command="show", row=1),
    "wipe": Action(command="delete", row=1, style=Style.danger),
}
"""Under several, for all of them; what is done with one of them comes after it was picked."""
OTHER: dict[str, Action] = {"appeal": Action(command="")}
ACTIONS = PICTURE | WHOLE | OTHER
TEMPLATE = rf"v1:(?P<action>{'|'.join(ACTIONS)}):(?P<job>[0-9a-z]{{1,32}}):(?P<index>[0-9]{{1,2}})"
RUN = r"v1:run:(?P<command>[a-z-]{1,32}):(?P<text>.{0,60})"
PICK = r"v1:pick:(?P<job>[0-9a-z]{1,32})"


class Pressable(Protocol):
    """The client, as far as what can be pressed is concerned."""

    async def pressed(self, interaction: discord.Interaction, action: str, job: str, index: int) -> None:
        """Do what an action stands for; pictures of a job are counted from 0."""

    async def give(self, interaction: discord.Interaction, command: str, text: str) -> None:
        """Give a command as if it had been typed."""

    async def picked(self, interaction: discord.Interaction, job: str, index: int) -> None:
        """Show what can be done with one of several pictures."""


class JobButton(discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=TEMPLATE):
    """One button; made anew from its name whenever it is pressed."""

    def __init__(self, action: str, job: str, index: int, label: str) -> None:
        """An action of `ACTIONS` on a picture."""
        known = ACTIONS[action]
        name = f"v1:{action}:{job}:{index}"
        super().__init__(discord.ui.Button(label=label, custom_id=name, style=known.style), row=known.row)
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
        """Do it."""
        await cast("Pressable", interaction.client).pressed(interaction, self._action, self._job, self._index)


class RunButton(discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=RUN):
    """A button that gives a command; together with it the name must keep to Discord's 100 characters."""

    def __init__(self, command: str, text: str, label: str, style: Style = Style.secondary) -> None:
        """The command `/command text`."""
        name = f"v1:run:{command}:{text}"
        super().__init__(discord.ui.Button(label=label[:MAX_LABEL], custom_id=name, style=style))
        self._command, self._text = command, text

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],  # noqa: ARG003
        item: discord.ui.Item[Any],
        match: re.Match[str],
        /,
    ) -> Self:
        """The button of this name."""
        return cls(match["command"], match["text"], getattr(item, "label", None) or match["command"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Give the command."""
        await cast("Pressable", interaction.client).give(interaction, self._command, self._text)


class PictureMenu(discord.ui.DynamicItem[discord.ui.Select[discord.ui.View]], template=PICK):
    """A list of pictures, of which one is picked."""

    def __init__(self, job: str, select: discord.ui.Select[discord.ui.View]) -> None:
        """The list of a job's pictures; each value is an index."""
        super().__init__(select)
        self._job = job

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],  # noqa: ARG003
        item: discord.ui.Item[Any],
        match: re.Match[str],
        /,
    ) -> Self:
        """The list of this name."""
        return cls(match["job"], cast("discord.ui.Select[discord.ui.View]", item))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Show the picture's buttons."""
        data: Mapping[str, Any] = interaction.data or {}
        chosen = data.get("values", ())
        if chosen and str(chosen[0]).isdecimal():
            await cast("Pressable", interaction.client).picked(interaction, self._job, int(chosen[0]))


ITEMS = (JobButton, RunButton, PictureMenu)


def finished(*items: discord.ui.Item[Any]) -> discord.ui.View:
    """A view that is ended from the start: a press finds its item by name, so discord.py need not remember any."""
    view = discord.ui.View(timeout=None)
    for item in items:
        view.add_item(item)
    view.stop()
    return view


def under(delivery: Delivery, locale: str) -> discord.ui.View:
    """What is under a message with pictures: all that can be done with one, or a list to pick one from."""
    if len(delivery.pictures) == 1:
        return for_picture(delivery.job, delivery.pictures[0].image.index, locale)
    select: discord.ui.Select[discord.ui.View] = discord.ui.Select(
        custom_id=f"v1:pick:{delivery.job}", placeholder=messages.say("discord.pick", locale), row=0
    )
    for picture in delivery.pictures:
        select.add_option(
            label=messages.say("discord.picture", locale, number=picture.image.index + 1),
            value=str(picture.image.index),
            description=messages.shorten(picture.image.request.prompt, MAX_NAME),
        )
    return finished(PictureMenu(delivery.job, select), *_labelled(WHOLE, delivery.job, 0, locale))


def remaining(message: discord.Message, job: str, left: Sequence[int], locale: str) -> discord.ui.View:
    """What is under a message after pictures were taken out of it; nothing tells of those any more."""
    if len(left) == 1:
        return for_picture(job, left[0], locale)
    view, stay = discord.ui.View.from_message(message, timeout=None), {str(index) for index in left}
    for item in view.children:
        if isinstance(item, discord.ui.Select):
            item.options = [option for option in item.options if option.value in stay]
    view.stop()
    return view


def for_picture(job: str, index: int, locale: str) -> discord.ui.View:
    """All that can be done with one picture, counted from 0."""
    return finished(*_labelled(PICTURE, job, index, locale))


def appeal(update: Refusal | Failure, locale: str) -> discord.ui.View | None:
    """What is under a refusal that a moderator may decide otherwise."""
    if isinstance(update, Failure) or not update.appealable or update.job is None:
        return None
    return finished(*_labelled(OTHER, update.job, update.index or 0, locale))


def confirm(reply: Reply, locale: str) -> discord.ui.View | None:
    """What is under a question."""
    if not reply.confirm:
        return None
    command, _, text = reply.confirm.partition(" ")
    return finished(RunButton(command, text, messages.say("discord.confirm", locale), Style.danger))


def offered(buttons: Iterable[Button]) -> discord.ui.View | None:
    """Commands that somebody else wrote down."""
    items = [RunButton(button.command, button.text, button.label) for button in buttons]
    return finished(*items) if items else None


def _labelled(actions: dict[str, Action], job: str, index: int, locale: str) -> list[JobButton]:
    return [JobButton(action, job, index, messages.say(f"discord.{action}", locale)) for action in actions]
