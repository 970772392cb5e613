"""When to leave a service alone that doesn't answer, and when to try it again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from engine.errors import UnreachableError

FAILURES = 5
WINDOW = 30.0
"""Seconds within which that many failures open the breaker."""
REST = 15.0
"""Seconds for which nobody calls then."""
PROBE = 1.0
"""Seconds after which whoever waits for somebody else's probe asks again."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Breaker:
    """Closed: everybody may call. Open: nobody. Then one call at a time probes, until one succeeds.

    Args:
        monotonic: a clock.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._opened: float | None = None
        self._probe: Attempt | None = None

    @property
    def is_open(self) -> bool:
        """Whether the service is being left alone."""
        return self._opened is not None

    def pause(self) -> float:
        """Seconds to wait before asking again; 0 means that `attempt` may be called now."""
        if self._opened is None:
            return 0.0
        left = self._opened + REST - self._monotonic()
        return left if left > 0 else PROBE if self._probe is not None else 0.0

    def attempt(self) -> Attempt:
        """A call that is about to be made; while the service is left alone, it is the probe."""
        attempt = Attempt(self)
        if self.is_open:
            self._probe = attempt
        return attempt

    def succeeded(self) -> None:
        """The service answered."""
        self._failures.clear()
        self._opened = self._probe = None

    def failed(self, attempt: Attempt) -> None:
        """The service did not answer; while it is left alone, only the probe's word counts."""
        now = self._monotonic()
        if not self.is_open:
            self._failures.append(now)
            if len(self._failures) == FAILURES and now - self._failures[0] <= WINDOW:
                self._opened = now
        elif attempt is self._probe:
            self._opened = now

    def ended(self, attempt: Attempt) -> None:
        """A call is over; if it was the probe, another one may be made."""
        if attempt is self._probe:
            self._probe = None


class Attempt:
    """Around a call: the breaker learns how it went, and where the service didn't answer, the body just ends."""

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self.answered = False

    def succeeded(self) -> None:
        """The service answered, if only by an error. To be said as soon as it is known: others wait for it."""
        self.answered = True
        self._breaker.succeeded()

    def __enter__(self) -> Self:
        """Nothing is known yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Being given up says nothing of the service."""
        passing = isinstance(error, UnreachableError)
        if isinstance(error, UnreachableError):
            self._breaker.failed(self)
            log.warning("the engine is not answering", reason=error.sentence)
        self._breaker.ended(self)
        return passing
