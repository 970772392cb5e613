"""Modal's SDK, and nothing else: the network edge of the engine that `modal deploy modal_engine.py` put there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import structlog

from bot.clients.base import EngineClient
from bot.clients.deployed import DeployedEngine
from bot.settings import Settings
from engine.errors import EngineError, ExtraMissingError, UnreachableError
from engine.types import SCHEMA_VERSION, EngineInfo

LOOK_SECONDS = 15.0
"""How long looking the engine up may take; Modal's client would try for a minute."""
MEMORY = "modal-engine.json"
"""What is known of the deployed engine, in the home folder."""


_AWAY = "The GPU service is not answering; try again in some minutes."
_NOT_DEPLOYED = "The engine is not deployed on Modal: run modal deploy modal_engine.py."
_UNKNOWN = "Modal does not know this machine: run modal token new, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET."
_INVALID = "Modal can't be called from here as it is set up; the operator's log says why."
_OUTDATED = "Modal no longer takes this version of its client: run pip install --upgrade modal."

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class UnknownMachineError(EngineError):
    """Modal doesn't know this machine's token, or there is none."""


class NotDeployedError(EngineError):
    """What is called is not there, or not there any more."""


def connect(settings: Settings) -> EngineClient:
    """The engine that was deployed under the name that the settings give; calls nobody yet.

    Raises:
        ExtraMissingError: the `modal` extra is not installed.
    """
    modal, rental = _sdk(), settings.modal

    def find() -> Any:  # noqa: ANN401  (Modal's objects make their methods up)
        return _engine(settings)()

    return DeployedEngine(
        Deployed(find, "generate"),
        deadline=rental.deadline,
        startup=rental.startup_timeout,
        memory=settings.home / MEMORY,
        trusted=lambda info: not modal.is_local() and _is_of(settings, info),
    )


async def look_up(settings: Settings) -> None:
    """See, without starting a machine, that Modal knows this one, and that the engine is deployed.

    Raises:
        ExtraMissingError: the `modal` extra is not installed.
        UnknownMachineError, NotDeployedError: so it says.
        UnreachableError: nobody answers.
    """
    _sdk()
    with translated():
        async with asyncio.timeout(LOOK_SECONDS):
            await _engine(settings).hydrate.aio()


def _sdk() -> Any:  # noqa: ANN401  (an optional package)
    try:
        import modal
    except ModuleNotFoundError as error:
        raise ExtraMissingError(
            f"EASEL_ENGINE=modal needs the package {error.name}: run pip install '.[modal]' in Easel's folder."
        ) from error
    return modal


def _engine(settings: Settings) -> Any:  # noqa: ANN401  (Modal's objects make their methods up)
    """The class, not yet looked up."""
    rental = settings.modal
    return _sdk().Cls.from_name(rental.app, "Engine", environment_name=rental.environment)


def _is_of(settings: Settings, info: EngineInfo) -> bool:
    """Whether an engine with these settings would say so of itself."""
    offered = tuple(dict.fromkeys((settings.model, *settings.models)))
    return info.schema_version == SCHEMA_VERSION and tuple(model.name for model in info.models) == offered


class Deployed:
    """An instance of a class on Modal, as `engine.line.Remote`, with questions.

    Args:
        find: looks the class up and makes an instance. What it gives remembers ids of the deployment, so it is found
            anew after the app was gone.
        stream: name of the generator method that is called for streams.
    """

    def __init__(self, find: Callable[[], Any], stream: str) -> None:
        self._find = find
        self._stream = stream
        self._found: Any = None

    async def stream(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Call the generator method. An app that is gone comes back when it is deployed again."""
        try:
            with self._reached() as found:
                async with aclosing(getattr(found, self._stream).remote_gen.aio(payload)) as answers:
                    async for answer in answers:
                        yield answer
        except NotDeployedError as error:
            raise UnreachableError(error.sentence) from error

    async def ask(self, question: str, payload: bytes) -> bytes:
        """Call another method."""
        with self._reached() as found:
            answer: bytes = await getattr(found, question).remote.aio(payload)
            return answer

    async def cancel(self, call: str) -> None:
        """Cancel a call by its id on Modal."""
        import modal

        with translated():
            await modal.FunctionCall.from_id(call).cancel.aio()

    @contextmanager
    def _reached(self) -> Iterator[Any]:
        try:
            with translated():
                if self._found is None:
                    self._found = self._find()
                yield self._found
        except NotDeployedError:
            self._found = None
            raise


@contextmanager
def translated() -> Iterator[None]:
    """Turn what Modal raises into what the rest knows; where trying again can't help, say what would.

    An error of the code over there comes as itself, of whatever kind; it is no reason to fall over here.
    """
    from modal import exception

    try:
        yield
    except EngineError:
        raise
    except (exception.AuthError, exception.PermissionDeniedError) as error:
        raise UnknownMachineError(_UNKNOWN) from error
    except exception.NotFoundError as error:
        raise NotDeployedError(_NOT_DEPLOYED) from error
    except exception.VersionError as error:
        raise EngineError(_OUTDATED) from error
    except exception.ConflictError as error:
        raise UnreachableError(_AWAY) from error
    except exception.InvalidError as error:
        log.warning("modal can't be called", reason=str(error))
        raise EngineError(_INVALID) from error
    except (exception.Error, OSError) as error:
        raise UnreachableError(_AWAY) from error
    except (Exception, exception.InputCancellation) as error:
        log.exception("fault of the engine")
        raise UnreachableError(_AWAY) from error


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
