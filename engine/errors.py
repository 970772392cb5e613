"""What can go wrong in the engine.

    EngineError
    ├── InputError             what was asked for can't be drawn; names the option, its bounds and what was given
    │   ├── UnknownModelError
    │   └── DeviceMissingError this machine has no such device
    ├── WeightsError           a model's files are missing, truncated or of the wrong shape
    ├── SafetyUnavailableError a checker can't load or crashed, so nothing may pass
    ├── CredentialsError       pictures can't be signed: no usable certificate, key or library
    ├── StorageError           the cache can't be read or written: full disk, read-only folder, damaged index
    ├── MemoryExhaustedError   the picture doesn't fit the device's memory, even after falling back
    ├── TookTooLongError       drawing passed its time limit
    ├── BudgetSpentError       the month's budget for GPUs is spent, and the cache doesn't hold the picture
    ├── UnreachableError       the service that draws doesn't answer
    │   └── BrokeOffError      it did, and was lost at work; maybe by what it was asked for
    ├── VersionMismatchError   the bot and the service that draws don't speak the same version
    ├── ExtraMissingError      an optional package is not installed
    ├── FetchError             a download failed or its content is not what was pinned
    └── GenerationCancelled    somebody asked to stop; raised between two steps

Every error's text is one sentence that the person who asked may read; details for the operator go to the log.
"""

from __future__ import annotations


class EngineError(Exception):
    """Root of the tree; its text is one sentence for the person."""

    code = "engine"

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class InputError(EngineError):
    """What was asked for can't be drawn."""

    code = "input"


class UnknownModelError(InputError):
    """No model of that name is known or allowed."""

    code = "model"


class DeviceMissingError(InputError):
    """This machine has no such device."""

    code = "device"


class WeightsError(EngineError):
    """A model's files are missing, truncated or of the wrong shape."""

    code = "weights"


class SafetyUnavailableError(EngineError):
    """A checker can't load or crashed, so nothing may pass."""

    code = "safety"


class CredentialsError(EngineError):
    """Pictures can't be signed, so none may be delivered as if they were."""

    code = "credentials"


class StorageError(EngineError):
    """The cache can't be read or written."""

    code = "storage"


class MemoryExhaustedError(EngineError):
    """The picture doesn't fit the device's memory."""

    code = "memory"


class TookTooLongError(EngineError):
    """Drawing passed its time limit."""

    code = "timeout"


class BudgetSpentError(EngineError):
    """The month's budget for GPUs is spent, and the cache doesn't hold the picture."""

    code = "budget"

    def __init__(
        self, sentence: str = "This month's budget for GPUs is spent, so only pictures from the cache can be had."
    ) -> None:
        super().__init__(sentence)


class UnreachableError(EngineError):
    """The service that draws doesn't answer."""

    code = "unreachable"


class BrokeOffError(UnreachableError):
    """A machine was lost while it drew."""

    code = "broke_off"


class VersionMismatchError(EngineError):
    """The bot and the service that draws don't speak the same version."""

    code = "version"


class ExtraMissingError(EngineError):
    """An optional package is not installed."""

    code = "extra"


class FetchError(EngineError):
    """A download failed or its content is not what was pinned."""

    code = "fetch"


class GenerationCancelled(EngineError):  # noqa: N818  (a request to stop, not a fault)
    """Somebody asked to stop; raised between two steps."""

    code = "cancelled"

    def __init__(self, sentence: str = "The picture was cancelled.") -> None:
        super().__init__(sentence)
