"""How people are named in commands."""

from __future__ import annotations

import re

from bot import messages
from bot.chat import Invocation
from bot.errors import BadInputError

PERSON = re.compile(r"[^\s:]{1,32}:[^\s:]{1,64}")
NAME = re.compile(r"(?:.*[:/])?[@#<]")
"""How a name begins that a chat shows, and knows nobody by."""


def person_key(given: str, invocation: Invocation) -> str:
    """`platform:id` of a person named by that, or by an id of the platform where the command was given.

    Raises:
        BadInputError: it can't be anybody's.
    """
    platform, locale = invocation.requester.platform, invocation.requester.locale
    if NAME.match(given):
        raise BadInputError(messages.say("input.named_person", locale, given=messages.quote(given)))
    # Where ids are good within one community alone, as Slack's are, they are `community/id`.
    community, slash, _ = invocation.requester.id.rpartition("/")
    here = given if "/" in given else f"{community}{slash}{given}"
    key = given if ":" in given else f"{platform}:{here}"
    if not PERSON.fullmatch(key) or messages.printable(key) != key:
        values = {"given": messages.quote(given), "platform": platform}
        raise BadInputError(messages.say("input.unsuitable_person", locale, **values))
    return key
