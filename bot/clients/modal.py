"""Modal's SDK, and nothing else: the network edge of the engine that `modal deploy modal_engine.py` put there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

from bot.clients.base import EngineClient
from bot.clients.deployed import DeployedEngine
from bot.settings import Settings
from engine.errors import EngineError, ExtraMissingError, UnreachableError

MEMORY = "modal-engine.json"
"""What is known of the deployed engine, in the home folder."""


def connect(settings: Settings) -> EngineClient:
    """The engine that was deployed under the name that the settings give; calls nobody yet.

    Raises:
        ExtraMissingError: the `modal` extra is not installed.
    """
    try:
        import modal
    except ModuleNotFoundError as error:
        raise ExtraMissingError(
            f"EASEL_ENGINE=modal needs the package {error.name}: run pip install '.[modal]' in Easel's folder."
        ) from error
    rental = settings.modal
    engine = modal.Cls.from_name(rental.app, "Engine", environment_name=rental.environment)()
    return DeployedEngine(
        Deployed(engine, "generate"),
        deadline=rental.deadline,
        startup=rental.startup_timeout,
        memory=settings.home / MEMORY,
    )


class Deployed:
    """An instance of a class on Modal, as `engine.line.Remote`, with questions.

    Args:
        handle: what calling a `modal.Cls` gives.
        stream: name of the generator method that is called for streams.
    """

    def __init__(self, handle: Any, stream: str) -> None:  # noqa: ANN401  (Modal's objects make their methods up)
        self._handle = handle
        self._stream = stream

    async def stream(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Call the generator method."""
        with translated():
            async for answer in getattr(self._handle, self._stream).remote_gen.aio(payload):
                yield answer

    async def ask(self, question: str, payload: bytes) -> bytes:
        """Call another method."""
        with translated():
            answer: bytes = await getattr(self._handle, question).remote.aio(payload)
            return answer

    async def cancel(self, call: str) -> None:
        """Cancel a call by its id on Modal."""
        import modal

        with translated():
            await modal.FunctionCall.from_id(call).cancel.aio()


@contextmanager
def translated() -> Iterator[None]:
    """Turn what Modal raises into what the rest knows; where trying again can't help, say what would."""
    from modal import exception

    try:
        yield
    except exception.AuthError as error:
        raise EngineError(
            "Modal does not know this machine: run modal token new, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET."
        ) from error
    except exception.NotFoundError as error:
        raise EngineError("The engine is not deployed on Modal: run modal deploy modal_engine.py.") from error
    except (exception.Error, OSError) as error:
        raise UnreachableError("The GPU service is not answering; try again in some minutes.") from error


class Mounted:
    """A volume of Modal's as the cache knows volumes; on a machine of one's own, nothing is mounted."""

    def __init__(self, volume: Any) -> None:  # noqa: ANN401
        self._volume = volume

    def commit(self) -> None:
        """Let others see what was written here."""
        self._do("commit")

    def reload(self) -> None:
        """See what others have committed."""
        self._do("reload")

    def _do(self, what: str) -> None:
        import modal
        from modal import exception

        if modal.is_local():
            return
        try:
            getattr(self._volume, what)()
        except (exception.Error, RuntimeError) as error:
            raise OSError(f"the volume can't {what}: {error}") from error
