"""The engine: prompt safety -> cache look-up -> pipeline -> image safety -> watermark + provenance -> cache store."""

from __future__ import annotations

import asyncio
import io
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from PIL import Image as Pillow
from PIL.Image import Image as Bitmap

from engine import provenance, watermark
from engine.batcher import Batcher
from engine.cache import Cache, CachedFile, EntryFacts, Tier, family_key, finished_key, generation_key
from engine.desk import CacheDesk
from engine.errors import BudgetSpentError, GenerationCancelled, StorageError, UnknownModelError
from engine.judging import Judge, check_size, refused, steered
from engine.marks import Marks
from engine.metrics import Metrics
from engine.models.recipes import DETOXIFY
from engine.models.registry import DETOXIFY_NAME, EMOJI, ModelSource, resolve
from engine.orders import Plan, Run, batches, effective_mark, parameters
from engine.pipelines.base import Drawing, Pipeline, Renderer
from engine.previews import Viewing
from engine.safety.policy import Decision, Safety, Verdict
from engine.settings import EngineSettings
from engine.types import (
    Cached,
    Cost,
    EngineInfo,
    Event,
    Image,
    Layer,
    Note,
    NoteCode,
    Order,
    Refused,
    ResolvedRequest,
    Stage,
)

EVERYONE = "everyone"
"""Scope of every entry where the operator lets all communities share one cache."""


class Engine(CacheDesk):
    """Draws orders and looks after the cache.

    Everything slow runs in threads; a cache hit or a refusal loads no model, and importing this module no torch.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        metrics: Metrics | None = None,
        make_pipeline: Callable[[ModelSource, EngineSettings], Pipeline] | None = None,
        renderer: Renderer | None = None,
        cache: Cache | None = None,
    ) -> None:
        """`make_pipeline` draws in another way than the model's own, `renderer` in another place than this process."""
        self._make = make_pipeline or _pipeline
        self._settings = settings
        self._allowed = tuple(dict.fromkeys((settings.model, *settings.models)))
        self._metrics = metrics or Metrics()
        cache = cache or Cache(settings.cache_folder, max_bytes=settings.cache_bytes)
        super().__init__(cache, Marks(settings))
        self._safety = Safety(
            settings,
            bundled=set(self._allowed) == {EMOJI},
            toxicity_folder=settings.toxicity_folder or settings.models_folder / DETOXIFY_NAME,
            toxicity_sha256=DETOXIFY.extra[0].sha256,
        )
        self._judge = Judge(self._safety, self._cache, settings)
        self._renderer = renderer or Batcher(
            lambda model: self._make(self._sources[model], settings),
            timeout=settings.generation_timeout,
            previews=settings.previews,
            most=settings.max_batch,
        )
        self._sources: dict[str, ModelSource] = {}
        self._running: defaultdict[str, set[Run]] = defaultdict(set)

    async def start(self) -> None:
        """Open the cache and see that every check that is switched on can be made.

        Raises:
            UnknownModelError: the operator named a model that doesn't exist.
            SafetyUnavailableError: a checker is missing.
            CredentialsError: pictures can't be signed.
            StorageError: the cache can't be opened.
        """
        self._safety.ready()
        self._marks.check()
        await asyncio.to_thread(lambda: self._safety.version)  # reads the word lists, once
        await self._cache.open()

    async def close(self) -> None:
        """Stop what runs between two steps and let go of everything."""
        for run in [run for runs in self._running.values() for run in runs]:
            run.stop.set()
        await self._renderer.close()
        self._safety.close()
        await self._cache.close()

    async def info(self) -> EngineInfo:
        """Models, defaults and warnings."""
        infos = tuple([(await self._source(name)).info for name in self._allowed])
        return EngineInfo(models=infos, default_model=infos[0].name, warnings=self._safety.warnings())

    async def generate(self, order: Order) -> AsyncGenerator[Event, None]:
        """Draw an order; every index of it ends in exactly one Image, Refused, Failed or Cancelled."""
        run = Run(order)
        self._running[order.job].add(run)
        task = asyncio.create_task(self._fulfil(run))
        try:
            async for event in run.events():
                yield event
        finally:
            run.stop.set()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._forget(run)

    async def cancel(self, job: str) -> None:
        """Stop a job's order between two steps."""
        for run in self._running.get(job, ()):
            run.stop.set()

    def _forget(self, run: Run) -> None:
        runs = self._running[run.order.job]
        runs.discard(run)
        if not runs:
            del self._running[run.order.job]

    # The line: check -> look up -> draw -> check -> mark -> store.

    async def _fulfil(self, run: Run) -> None:
        try:
            missing: list[Plan] = []
            for index, request in enumerate(run.order.requests):
                with run.answering([index]):
                    plan = await self._plan(run, index, request)
                    if plan and not await self._serve_cached(run, plan):
                        missing.append(plan)
            turns = asyncio.Semaphore(self._renderer.at_once)
            serving = [self._serve_batch(run, batch, turns) for batch in batches(missing, self._renderer.together)]
            await asyncio.gather(*serving)
        finally:
            run.finish()

    async def _serve_batch(self, run: Run, batch: Sequence[Plan], turns: asyncio.Semaphore) -> None:
        async with turns:
            with run.answering([plan.index for plan in batch]):
                await self._serve_drawn(run, batch)

    async def _plan(self, run: Run, index: int, request: ResolvedRequest) -> Plan | None:
        """Check the prompt and settle what will be drawn; None when it was refused."""
        if run.stop.is_set():
            raise GenerationCancelled
        seconds: dict[str, float] = {}
        source = await self._source(request.model)
        check_size(request, source.info)
        mark = effective_mark(request, self._settings)
        if mark:
            await asyncio.to_thread(watermark.check, mark, *request.output_size)
        strict = request.strict or self._settings.strict
        with _timing(seconds, "check"):
            verdict = await self._judge(request, strict=strict)
        if refused(request, verdict):
            self._refuse(run, index, verdict)
            return None
        request, notes = steered(request, verdict)
        scope = run.order.scope if self._settings.cache_scope == "workspace" else EVERYONE
        family = self._key(family_key, request, source, strict=strict, scope=scope)
        if run.order.seeds_free and not request.force and not request.variations:
            found = await self._cache.reusable(family, scope, run.order.owner)
            if found and run.claim(found.key):
                request = request.model_copy(update={"seed": found.seed})
                notes += (Note(code=NoteCode.REUSED),)
        key = self._key(generation_key, request, source, strict=strict, scope=scope)
        return Plan(
            index=index,
            request=request,
            model=source.info,
            mark=mark,
            scope=scope,
            generation_key=key,
            finished_key=finished_key(key, mark, provenance=self._marks.version),
            family=family,
            notes=notes + self._standing_notes(source),
            previewed=self._settings.previews and not strict and verdict.decision == Decision.ALLOW,
            seconds=seconds,
        )

    def _key(
        self, make: Callable[..., str], request: ResolvedRequest, source: ModelSource, *, strict: bool, scope: str
    ) -> str:
        """A key of the cache under this engine's present circumstances."""
        settings = self._settings
        return make(
            request,
            revision=source.info.revision,
            fingerprint=":".join(
                filter(None, (source.kind, settings.precision, "int8" * settings.int8, source.reading))
            ),
            filter_version=self._safety.version,
            strict=strict,
            scope=scope,
        )

    def _refuse(self, run: Run, index: int, verdict: Verdict, cost: Cost | None = None) -> None:
        layer = verdict.layer or Layer.KEYWORDS
        self._metrics.refused(layer)
        run.log.info("refused", layer=layer, categories=verdict.categories)
        run.emit(Refused(index=index, layer=layer, categories=verdict.categories, cost=cost))

    async def _serve_cached(self, run: Run, plan: Plan) -> bool:
        """Answer from the finished or the unmarked tier; False when it must be drawn."""
        if plan.request.force:
            return False
        owner = run.order.owner
        with _timing(plan.seconds, "lookup"):
            finished = await self._cache.get(plan.finished_key, "finished", owner=owner)
            unmarked = None if finished else await self._cache.get(plan.generation_key, "unmarked", owner=owner)
        if finished:
            self._metrics.cache_hit(Cached.FINISHED)
            await self._deliver(run, plan, finished.data, Cached.FINISHED)
        elif unmarked:
            self._metrics.cache_hit(Cached.UNMARKED)
            bitmap = await asyncio.to_thread(_decode, unmarked)
            await self._finish(run, plan, Drawing(image=bitmap, seconds={}), Cached.UNMARKED)
        return bool(finished or unmarked)

    async def _serve_drawn(self, run: Run, batch: Sequence[Plan]) -> None:
        """Draw what is still missing once nobody else is drawing the same; one generation per key at a time."""
        async with self._cache.flights([plan.generation_key for plan in batch]):
            missing: dict[str, list[Plan]] = defaultdict(list)
            for plan in batch:
                if not await self._serve_cached(run, plan):
                    missing[plan.generation_key].append(plan)
            if not missing:
                return
            if run.order.hits_only:
                raise BudgetSpentError
            firsts = [plans[0] for plans in missing.values()]
            for _ in firsts:
                self._metrics.cache_miss()
            for first, drawing in zip(firsts, await self._draw(run, firsts), strict=True):
                with run.answering([plan.index for plan in missing[first.generation_key]], drawing.cost):
                    await self._serve_drawing(run, missing[first.generation_key], drawing)

    async def _draw(self, run: Run, plans: Sequence[Plan]) -> list[Drawing]:
        requests = [plan.request for plan in plans]
        run.report(plans, self._renderer.outlook(requests[0].model))
        viewing = Viewing(run, plans, self._safety)
        try:
            return await self._renderer.draw(requests, viewing.report, run.stop)
        finally:
            await viewing.close()

    async def _serve_drawing(self, run: Run, plans: Sequence[Plan], drawing: Drawing) -> None:
        """Check a new picture, keep it unmarked, and finish it for everyone in the order who asked for it."""
        first = plans[0]
        run.report(plans, Stage.FINISHING)
        with _timing(drawing.seconds, "image_check"):
            verdict = await self._safety.check_image(drawing.image)
        if verdict.decision == Decision.REFUSE:
            for plan in plans:
                self._refuse(run, plan.index, verdict, drawing.cost if plan is first else None)
            return
        await self._store(run, first, "unmarked", await asyncio.to_thread(provenance.encode, drawing.image, None))
        for stage, seconds in drawing.seconds.items():
            self._metrics.stage(stage, seconds)
        for plan in plans:
            plan.seconds.update(drawing.seconds)
            await self._finish(run, plan, drawing, Cached.NONE)
            drawing = replace(drawing, cost=None)  # it is paid once, however many asked for it

    async def _finish(self, run: Run, plan: Plan, drawing: Drawing, cached: Cached) -> None:
        """Mark, encode, store and deliver."""
        with _timing(plan.seconds, "mark"):
            data, missing_letters = await asyncio.to_thread(
                self._marks.finish, drawing.image, plan.mark, parameters(plan)
            )
        if missing_letters:
            note = Note(code=NoteCode.MARK_FALLBACK, detail=missing_letters)
            drawing = replace(drawing, notes=(*drawing.notes, note))
        if run.order.keep:
            await self._store(run, plan, "finished", data)
        await self._deliver(run, plan, data, cached, drawing)

    async def _store(self, run: Run, plan: Plan, tier: Tier, data: bytes) -> None:
        """Keep a file; a cache that can't be written costs a generation later, never the picture now."""
        key = plan.finished_key if tier == "finished" else plan.generation_key
        facts = EntryFacts(
            scope=plan.scope,
            owner=run.order.owner,
            family=plan.family,
            generation_key=plan.generation_key,
            prompt=plan.request.prompt,
            model=plan.request.model,
            seed=plan.request.seed,
            width=plan.request.output_size[0],
            height=plan.request.output_size[1],
            parameters=parameters(plan),
        )
        try:
            await self._cache.put(key, tier, data, facts=facts)
        except StorageError as error:
            run.log.warning("picture not cached", reason=error.sentence, cause=repr(error.__cause__))

    async def _deliver(self, run: Run, plan: Plan, data: bytes, cached: Cached, drawing: Drawing | None = None) -> None:
        await self._cache.served(plan.generation_key, run.order.owner)
        plan.seconds["total"] = time.perf_counter() - run.started
        run.log.info("picture", cached=cached, seconds=plan.seconds, key=plan.finished_key)
        run.emit(
            Image(
                index=plan.index,
                data=data,
                request=plan.request,
                key=plan.finished_key,
                generation_key=plan.generation_key,
                cached=cached,
                seconds=plan.seconds,
                notes=plan.notes + (drawing.notes if drawing else ()),
                cost=drawing.cost if drawing else None,
            )
        )

    # What the line stands on.

    def _standing_notes(self, source: ModelSource) -> tuple[Note, ...]:
        """What is true of every picture of a model."""
        notes = [Note(code=NoteCode.TINY_MODEL)] if source.info.name == EMOJI else []
        if not self._safety.toxicity_used and self._settings.toxicity_check == "auto":
            notes.append(Note(code=NoteCode.TOXICITY_ABSENT))
        return tuple(notes)

    async def _source(self, name: str) -> ModelSource:
        """Where a model comes from; only those that the operator named may draw."""
        if name not in self._allowed:
            raise UnknownModelError(f"The model {name[:100]!r} is not offered here.")
        source = self._sources.get(name)
        if source is None or not source.info.installed:  # it may have been fetched since
            source = self._sources[name] = await asyncio.to_thread(resolve, name, self._settings)
        return source


def _pipeline(source: ModelSource, settings: EngineSettings) -> Pipeline:
    from engine.pipelines.factory import make  # and with it torch, once something must be drawn

    return make(source, settings)


def _decode(file: CachedFile) -> Bitmap:
    with Pillow.open(io.BytesIO(file.data)) as picture:
        return picture.convert("RGB")


@contextmanager
def _timing(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = time.perf_counter() - started
