"""What every handler gets, and how it reads the words after its command."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from bot import messages
from bot.appeals import Appeals
from bot.chat import Invocation, Role, Update
from bot.clients.base import EngineClient
from bot.community import Communities, Community
from bot.errors import BadInputError, NotAllowedError
from bot.grammar import nearest
from bot.jobs import Jobs
from bot.moderation import Moderation
from bot.quota import Quota
from bot.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Context:
    """What handlers work with."""

    jobs: Jobs
    client: EngineClient
    moderation: Moderation
    quota: Quota
    settings: Settings
    communities: Communities
    appeals: Appeals
    community: Community
    """The settings of the community where they ask."""
    role: Role
    """The requester's, in the place where they ask."""
    draw_seed: Callable[[], int]
    """Gives seeds, 0 to 2**32 - 1."""

    def within(self, community: Community) -> Context:
        """The same, as if the community had these settings."""
        return replace(self, community=community)

    def scope(self, invocation: Invocation) -> str | None:
        """The community that a moderator acts on; None, all of them, for the operator."""
        return None if self.role.reaches(Role.OPERATOR) else invocation.place.scope


class Handler(Protocol):
    """Answers one kind of command."""

    def __call__(self, invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
        """Yield what the person is to see; errors are raised."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One row of a table of commands."""

    handler: Handler
    role: Role
    usage: str
    """What is typed, with placeholders in capitals."""


def choose(given: str, table: Mapping[str, Command], context: Context, prefix: str, locale: str) -> Command:
    """The row for a name that a person typed after `prefix`.

    Raises:
        BadInputError: there is no such command.
        NotAllowedError: it is for moderators or the operator, and the person is neither.
    """
    name = given.casefold()
    if name not in table:
        near = nearest(name, table)
        shown = messages.quote(prefix + given)
        if near is None:
            raise BadInputError(messages.say("input.unknown_command", locale, given=shown, help="/help"))
        raise BadInputError(messages.say("input.unknown_command_near", locale, given=shown, near=prefix + near))
    command = table[name]
    if not context.role.reaches(command.role):
        raise NotAllowedError(messages.say(f"role.{command.role}", locale, command=prefix + name))
    return command


def arguments(invocation: Invocation, *names: str) -> dict[str, str]:
    """Values by name: typed options as they are, or the words of the text in this order; the last takes the rest."""
    if invocation.options is not None:
        return {name: str(value).strip() for name, value in invocation.options.items()}
    return dict(zip(names, invocation.text.split(maxsplit=len(names) - 1), strict=False))


def required(values: Mapping[str, str], name: str, usage: str, locale: str) -> str:
    """The value of an argument that can't be left out.

    Raises:
        BadInputError: it was; the sentence shows how the command is written.
    """
    if not values.get(name):
        raise BadInputError(messages.say("input.usage", locale, usage=usage))
    return values[name]
