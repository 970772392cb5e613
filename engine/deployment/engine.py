"""Everything but the pixels, without a GPU."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

from engine import marks, wire
from engine.cache import Cache
from engine.cache.volume import Volume, VolumeFiles
from engine.deployment.answers import answers, broken
from engine.deployment.fault import RETRY_SECONDS, Fault, reloaded
from engine.deployment.index import IndexCopy
from engine.engine import Engine
from engine.line import Remote
from engine.pipelines.remote import RemoteRenderer
from engine.rental import RentalSettings
from engine.settings import EngineSettings
from engine.types import Event, Progress


class EngineService:
    """The engine, with its cache on a volume and its pixels from elsewhere.

    Args:
        settings: of the engine.
        rental: how many containers there are, how long they take and stay.
        generator: the GPU class.
        volume: that the cache's folder lies on.
        index_folder: on this machine's own disk; the index is made anew from the volume's files.
        weights: the volume that the models lie on, if they do.
        monotonic: a clock.
    """

    def __init__(  # noqa: PLR0913  (the app names each part)
        self,
        settings: EngineSettings,
        rental: RentalSettings,
        *,
        generator: Remote,
        volume: Volume,
        index_folder: Path,
        weights: Volume | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._index_folder = index_folder
        self._weights = weights
        self._monotonic = monotonic
        self._files = VolumeFiles(settings.cache_folder, volume)
        # With several machines, each index lacks what the others store until somebody asks for it.
        self._copy = IndexCopy(settings.cache_folder, index_folder, volume) if rental.engine_containers == 1 else None
        self._engine = Engine(
            settings,
            renderer=RemoteRenderer(
                generator,
                at_once=rental.gpu_containers * rental.gpu_requests,
                timeout=settings.generation_timeout,
                startup=rental.startup_timeout + settings.generation_timeout,  # all GPUs may be busy with a batch
                warm_for=rental.scaledown_window,
            ),
            cache=Cache(
                settings.cache_folder, max_bytes=settings.cache_bytes, files=self._files, index_folder=index_folder
            ),
        )
        self._fault = Fault(monotonic)
        self._starting = asyncio.Lock()
        self._looked = monotonic()

    async def open(self) -> None:
        """Read the cache, and see that every check that is switched on can be made."""
        with self._fault.kept():
            await asyncio.to_thread(self._make_room)
            await self._engine.start()

    async def close(self) -> None:
        """Stop what runs, and commit what was stored."""
        await self._engine.close()
        await asyncio.to_thread(self._files.close)
        if self._copy is not None and self._fault.is_none:
            await asyncio.to_thread(self._copy.leave)

    async def generate(self, payload: bytes, call: str) -> AsyncGenerator[bytes, None]:
        """Draw the order that a call brings; answers with its events."""
        async with aclosing(answers(self._generate(payload), call)) as found:
            async for answer in found:
                yield answer

    async def generate_batch(self, payload: bytes) -> list[bytes]:
        """Draw an order and answer once, with how each of its pictures ended, in the order of asking."""
        endings: list[Event] = []
        try:
            async with aclosing(self._events(payload)) as events:
                endings += [event async for event in events if not isinstance(event, Progress)]
        except Exception as error:  # noqa: BLE001  (the boundary)
            return [broken(error)]
        return [wire.value(event) for event in sorted(endings, key=lambda event: event.index)]

    async def answer(self, question: str, payload: bytes) -> bytes:
        """Answer one of the questions of `wire.VALUES`, which are the engine's methods of the same names."""
        try:
            arguments = wire.arguments(payload)
            await self._be_ready()
            if "data" in arguments:
                arguments["data"] = wire.data(arguments["data"])
            return wire.value(wire.bounded(await getattr(self._engine, question)(**arguments)))
        except Exception as error:  # noqa: BLE001  (the boundary)
            return broken(error)

    def _make_room(self) -> None:
        """The index is on this machine; the certificate that signs pictures has to outlive it, on the volume."""
        self._index_folder.mkdir(parents=True, exist_ok=True)
        kept, wanted = self._settings.cache_folder / marks.FOLDER, self._settings.home / marks.FOLDER
        kept.mkdir(parents=True, exist_ok=True)
        if not wanted.exists():
            wanted.symlink_to(kept, target_is_directory=True)
        if self._copy is not None:
            self._copy.take()

    async def _be_ready(self) -> None:
        """Open once more what didn't open a while ago, and look for models that were not there.

        Raises:
            EngineError: it doesn't open.
        """
        async with self._starting:
            if self._fault.is_old:
                self._fault.forget()
                await self.open()
            self._fault.check()
            if self._monotonic() - self._looked >= RETRY_SECONDS:
                self._looked = self._monotonic()
                if not all(model.installed for model in (await self._engine.info()).models):
                    await asyncio.to_thread(reloaded, self._weights)

    async def _generate(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._events(payload)) as events:
            async for event in events:
                yield wire.value(event)

    async def _events(self, payload: bytes) -> AsyncGenerator[Event, None]:
        order = wire.understood(wire.ORDER, wire.arguments(payload).get("order"))
        await self._be_ready()
        async with aclosing(self._engine.generate(order)) as events:
            async for event in events:
                yield event
