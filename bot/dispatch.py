"""Invocation in, updates out: the one place that picks a handler, and the one that turns errors into sentences."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import structlog

from bot import messages
from bot.appeals import Appeals
from bot.chat import Delivery, Failure, Invocation, Place, Queued, Refusal, Requester, Stopped, Update, Working
from bot.clients.base import EngineClient
from bot.community import Communities
from bot.errors import BannedError, BotError, DeliveryError, LimitError, NotAllowedError, UserError
from bot.handlers import home as homes
from bot.handlers import rules
from bot.handlers import suggest as suggestions
from bot.handlers.base import Context, choose
from bot.handlers.gallery import Gallery
from bot.handlers.home import Home
from bot.handlers.pictures import form
from bot.handlers.table import COMMANDS
from bot.jobs import Arrivals, Jobs, Recovered
from bot.moderation import Moderation
from bot.quota import Quota
from bot.settings import Settings
from engine.errors import EngineError, InputError
from engine.types import ImageRequest, Rendition

log = structlog.get_logger("bot.dispatch")


def random_seed() -> int:
    """A seed that fits every tool people paste it into: 0 to 2**32 - 1."""
    return secrets.randbits(32)


def new_incident() -> str:
    """What a person may quote to the operator, who finds it in the log."""
    return secrets.token_hex(4)


class Dispatcher:
    """What adapters talk to. Its iterators never raise, and never end without an answer."""

    def __init__(  # noqa: PLR0913  (the composition root names each part)
        self,
        *,
        jobs: Jobs,
        client: EngineClient,
        moderation: Moderation,
        quota: Quota,
        communities: Communities,
        appeals: Appeals,
        settings: Settings,
        draw_seed: Callable[[], int] = random_seed,
        new_incident: Callable[[], str] = new_incident,
    ) -> None:
        self._jobs = jobs
        self._client = client
        self._moderation = moderation
        self._quota = quota
        self._communities = communities
        self._appeals = appeals
        self._settings = settings
        self._draw_seed = draw_seed
        self._new_incident = new_incident

    def handle(self, invocation: Invocation) -> AsyncGenerator[Update, None]:
        """Answer a command, until all that it makes has been sent.

        An event that was seen before yields nothing: whoever took it then gives the answer. Closing the iterator
        stops the watching, not the job.
        """
        return self._guarded(self._answer(invocation), invocation.command, invocation.requester.locale)

    @property
    def arrivals(self) -> Arrivals:
        """Where an adapter keeps a command safe while it acknowledges it."""
        return self._jobs.arrivals

    async def recovered(self, platform: str) -> tuple[tuple[Recovered, AsyncGenerator[Update, None]], ...]:
        """The jobs of this platform that an earlier process left unfinished, and the rest of their updates.

        Raises:
            BotError: the database can't be read.
        """
        jobs = await self._jobs.recover(platform)
        return tuple((job, self._guarded(self._resumed(job), "recover", job.requester.locale)) for job in jobs)

    async def _resumed(self, job: Recovered) -> AsyncGenerator[Update, None]:
        community = await self._communities.of(job.place.scope)
        async with aclosing(rules.shown(self._jobs.watch(job.job), community)) as updates:
            async for update in updates:
                yield update

    async def deliver(self, delivery: Delivery, send: Callable[[Delivery], Awaitable[str]]) -> Refusal | Failure | None:
        """Send pictures exactly once: written down before and after, repeated on failure.

        `send` raises DeliveryError when the platform refuses. Returns what the person is to be told if the pictures
        can't be sent.
        """
        try:
            await self._jobs.deliver(delivery, send)
        except Exception as error:  # noqa: BLE001  (the same boundary: a delivery that fails is answered, too)
            return self._explained(error, "deliver", delivery.job, messages.ENGLISH)
        return None

    async def smaller(self, data: bytes, limit: int) -> Rendition:
        """A finished picture for a platform that takes at most `limit` bytes, marked and signed like every other.

        It has as few bytes as it gets where none are few enough.

        Raises:
            EngineError: it can't be made.
        """
        return await self._client.smaller(data, limit)

    async def redirect(self, job: str, reply_to: str) -> None:
        """Change what the adapter needs to answer a job after a restart; does without where it can't be written."""
        try:
            await self._jobs.redirect(job, reply_to)
        except BotError as error:
            log.warning("address not written", job=job, reason=error.sentence)

    async def suggest(self, requester: Requester, place: Place, field: str, typed: str) -> tuple[str, ...]:
        """Up to 25 values of a field that fit what was typed so far; none where something goes wrong.

        Fields are `model`, `style`, `sampler` and other options with choices, `prompt` for the person's own recent
        prompts here, and `setting` for the names of a community's settings.
        """
        try:
            return await suggestions.suggest(requester, place, field, typed, await self._context(requester, place))
        except (BotError, EngineError) as error:
            log.warning("nothing suggested", field=field, reason=error.sentence)
            return ()

    async def form(self, requester: Requester, place: Place, job: str, number: int) -> ImageRequest | None:
        """What a form for changing a picture is filled with, number from 1; None where the person doesn't see it.

        Raises:
            BotError: the database can't be read.
        """
        return await form(requester, place, job, number, await self._context(requester, place))

    async def home(self, requester: Requester, place: Place) -> Home:
        """What the person's own page shows.

        Raises:
            BotError, EngineError: the database or the cache can't be read.
        """
        return await homes.home(requester, place, await self._context(requester, place))

    async def gallery(self, requester: Requester, place: Place) -> Gallery:
        """Files and figures as this person may see them.

        Raises:
            BotError: the database can't be read.
        """
        return Gallery(requester, place, await self._context(requester, place))

    async def _context(self, requester: Requester, place: Place) -> Context:
        role = await self._moderation.role_of(requester, place)
        return Context(
            jobs=self._jobs,
            client=self._client,
            moderation=self._moderation,
            quota=self._quota,
            communities=self._communities,
            appeals=self._appeals,
            community=await self._communities.of(place.scope),
            settings=self._settings,
            role=role,
            draw_seed=self._draw_seed,
        )

    async def _answer(self, invocation: Invocation) -> AsyncGenerator[Update, None]:
        context = await self._context(invocation.requester, invocation.place)
        command = choose(invocation.command, COMMANDS, context, "/", invocation.requester.locale)
        async with aclosing(command.handler(invocation, context)) as updates:
            async for update in updates:
                yield update

    async def _guarded(
        self, updates: AsyncGenerator[Update, None], command: str, locale: str
    ) -> AsyncGenerator[Update, None]:
        """The same updates, with whatever goes wrong as the last one."""
        job: str | None = None
        try:
            async with aclosing(updates):
                async for update in updates:
                    if isinstance(update, Queued | Working | Stopped | Delivery):
                        job = update.job
                    yield update
        except Exception as error:  # noqa: BLE001  (the boundary: the person gets a sentence, the log the traceback)
            yield self._explained(error, command, job, locale)

    def _explained(self, error: Exception, command: str, job: str | None, locale: str) -> Refusal | Failure:
        match error:
            case BannedError() | LimitError() | NotAllowedError():
                return Refusal(job=job, index=None, layer=None, text=error.sentence)
            case UserError() | InputError():
                return Failure(job=job, index=None, input=True, text=error.sentence)
            case DeliveryError():
                return Failure(job=job, index=None, text=error.sentence)
        incident = self._new_incident()
        log.error("command failed", incident=incident, command=command, job=job, exc_info=error)
        if isinstance(error, BotError | EngineError):
            text = messages.say("failure.incident_with", locale, sentence=error.sentence, incident=incident)
        else:
            text = messages.say("failure.incident", locale, incident=incident)
        return Failure(job=job, index=None, text=text)
