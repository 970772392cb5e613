"""When to leave a service alone that doesn't answer, and when to try it again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType

import structlog

from engine.errors import EngineError, UnreachableError

FAILURES = 5
WINDOW = 30.0
"""Seconds within which that many failures open the breaker."""
REST = 15.0
"""Seconds for which nobody calls then."""
PROBE = 1.0
"""Seconds after which whoever waits for somebody else's probe asks again."""


class Breaker:
    """Closed: everybody may call. Open: nobody. Then one call at a time probes, until one succeeds.

    Args:
        monotonic: a clock.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._opened: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether the service is being left alone."""
        return self._opened is not None

    def pause(self) -> float:
        """Seconds to wait before asking again; 0 means to call now, and to report by one of the methods below."""
        if self._opened is None:
            return 0.0
        left = self._opened + REST - self._monotonic()
        if left > 0:
            return left
        if self._probing:
            return PROBE
        self._probing = True
        return 0.0

    def succeeded(self) -> None:
        """The service answered."""
        self._failures.clear()
        self._opened, self._probing = None, False

    def failed(self) -> None:
        """The service did not answer."""
        now = self._monotonic()
        self._failures.append(now)
        if self._probing or (len(self._failures) == FAILURES and now - self._failures[0] <= WINDOW):
            self._opened = now
        self._probing = False

    def abandoned(self) -> None:
        """The call was given up before anything could be said of the service."""
        self._probing = False


class Attempt:
    """Around a call: the breaker learns how it went, and where the service didn't answer, the body just ends."""

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    def __enter__(self) -> None:
        """Nothing is known yet."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """An answer, if only an error, is an answer; being given up says nothing."""
        if isinstance(error, UnreachableError):
            self._breaker.failed()
            structlog.get_logger(__name__).warning("the engine is not answering", reason=error.sentence)
            return True
        if isinstance(error, EngineError):
            self._breaker.succeeded()
        self._breaker.abandoned()
        return False
