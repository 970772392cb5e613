"""What keeps a service from starting, and for how long that is taken for granted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy

import structlog

from engine.cache.volume import Volume
from engine.errors import DeviceMissingError, EngineError, UnreachableError

RETRY_SECONDS = 30.0
"""How long a service that didn't start, or a model that wasn't there, is taken for granted."""
NOT_READY = "A machine of the GPU service could not start; the operator's log says why."

log: structlog.stdlib.BoundLogger = structlog.get_logger("engine.deployment")


class Fault:
    """What kept a service from starting, if anything did: every call is answered by it, until starting is tried again.

    A container with a fault answers fast, so it is given more calls than the others: it must not stay like that.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._error: EngineError | None = None
        self._since = 0.0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what goes wrong inside."""
        try:
            yield
        except DeviceMissingError as error:  # another machine may have the GPU that this one was to have
            log.error("service not ready", code=error.code, reason=error.sentence)  # noqa: TRY400
            self._keep(UnreachableError(NOT_READY))
        except EngineError as error:
            log.error("service not ready", code=error.code, reason=error.sentence)  # noqa: TRY400  (it says everything)
            self._keep(error)
        except Exception:  # the boundary: a container that doesn't start is started again, for ever and for money
            log.exception("service not ready")
            self._keep(UnreachableError(NOT_READY))

    @property
    def is_none(self) -> bool:
        """Whether nothing is wrong."""
        return self._error is None

    @property
    def is_of_the_machine(self) -> bool:
        """Whether there is one that nobody foresaw, so that another machine may do better."""
        return isinstance(self._error, UnreachableError)

    @property
    def is_old(self) -> bool:
        """Whether there is one, and it is time to try again."""
        return self._error is not None and self._monotonic() - self._since >= RETRY_SECONDS

    def forget(self) -> None:
        """Whoever calls this tries again."""
        self._error = None

    def check(self) -> None:
        """Raise what was kept; a copy, for what is raised often grows by its traceback each time."""
        if self._error is not None:
            raise copy(self._error)

    def _keep(self, error: EngineError) -> None:
        self._error, self._since = error, self._monotonic()


def reloaded(volume: Volume | None) -> bool:
    """See what others have put onto a volume; blocks. False where that can't be had."""
    if volume is None:
        return False
    try:
        volume.reload()
    except OSError as error:
        log.warning("weights volume not reloaded", cause=repr(error))
        return False
    return True
