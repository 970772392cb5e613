"""What can go wrong on the chat side.

    BotError
    ├── UserError          the person can do something about it; its sentence says what
    │   ├── BadInputError     an option out of bounds, an unknown flag, an empty prompt
    │   ├── NotAllowedError   the person's role doesn't reach
    │   ├── NotFoundError     no such job, picture or person here
    │   ├── BannedError       a moderator has banned the person
    │   └── LimitError        a quota, a cooldown or a waiting limit is reached
    ├── SettingsError      the operator's settings are wrong
    ├── DatabaseError      the database is damaged, locked, full or read-only
    └── DeliveryError      the platform did not take the message; says whether trying again can help

Every error carries the one sentence that the person sees. `bot.dispatch` is the one place that catches them.
"""

from __future__ import annotations


class BotError(Exception):
    """Root of the tree."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class UserError(BotError):
    """The person can do something about it."""


class BadInputError(UserError):
    """An option out of bounds, an unknown flag, an empty prompt."""


class NotAllowedError(UserError):
    """The person's role doesn't reach."""


class NotFoundError(UserError):
    """No such job, picture or person here."""


class BannedError(UserError):
    """A moderator has banned the person."""


class LimitError(UserError):
    """A quota, a cooldown or a waiting limit is reached."""


class SettingsError(BotError):
    """The operator's settings are wrong."""


class DatabaseError(BotError):
    """The database is damaged, locked, full or read-only."""


class DeliveryError(BotError):
    """The platform did not take the message.

    Args:
        sentence: what the person sees.
        permanent: it takes it neither now nor later.
        away: it is down or can't be reached, so that nothing can be said to the person now, either.
    """

    def __init__(self, sentence: str, *, permanent: bool = False, away: bool = False) -> None:
        super().__init__(sentence)
        self.permanent = permanent
        self.away = away
