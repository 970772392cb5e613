"""How often something may be said: uses of a command's own address, and changes of messages."""

from __future__ import annotations

import math

from bot.clock import Clock

RESPONSES = 5
"""Uses of a response_url."""
RESPONSE_SECONDS = 29 * 60.0
"""It holds for 30 minutes."""
UPDATE_SECONDS = 1.2
"""Between two changes of messages: 50 a minute (docs.slack.dev/reference/methods/chat.update, tier 3)."""
PREVIEW_SECONDS = 5.0
"""Between two previews of a workspace: each is an upload, and a deletion (tier 3, too)."""


class ResponseUrl:
    """The address that Slack gives with a command: it reaches the person even where the bot is no member."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._left = RESPONSES
        self._until = clock.monotonic() + RESPONSE_SECONDS

    def take(self) -> str | None:
        """The address for one more use; None if there is none left."""
        if self._left == 0 or self._clock.monotonic() > self._until:
            return None
        self._left -= 1
        return self._url


class Updates:
    """Keeps the changes of a workspace's messages together within a method's rate tier.

    What is over is left out, not waited for: a later change says more.
    """

    def __init__(self, clock: Clock, seconds: float = UPDATE_SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._next = -math.inf

    def take(self) -> bool:
        """Whether one more is allowed now."""
        now = self._clock.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True

    def pause(self, seconds: float) -> None:
        """Allow none for a while: Slack has asked for that."""
        self._next = max(self._next, self._clock.monotonic() + seconds)
