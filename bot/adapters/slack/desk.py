"""Between Slack's events and the dispatcher: takes what was asked once, finds out who asks, has it answered."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from bot import messages
from bot.adapters.base import Answers, settled
from bot.adapters.slack import forms, home
from bot.adapters.slack.address import PLATFORM, Address
from bot.adapters.slack.incoming import ROLES, Asked, File, Form, check_setting
from bot.adapters.slack.limits import ResponseUrl
from bot.adapters.slack.surface import SlackSurface, closing
from bot.adapters.slack.trouble import told
from bot.adapters.slack.workspaces import Maker, Workspace, Workspaces
from bot.chat import Attachment, Failure, Invocation, Refusal, Requester, Update
from bot.dispatch import Dispatcher
from bot.errors import BotError, DeliveryError
from bot.handlers.home import Home
from engine.errors import EngineError

REMEMBERED_EVENTS = 10_000
HOMES_AT_ONCE = 16
"""App Homes being drawn up; the others wait, one for each person."""

LOOKING_SECONDS = 120.0
"""For how long whoever has asked is taken to look at the channel still."""
ARRIVAL_SECONDS = 2.0
"""How long a process that stops waits for requests that were acknowledged and are not on disk yet."""

ASKED = TypeAdapter(Asked)
"""Writes down a command, and reads it again."""

log = structlog.get_logger("bot.adapters.slack")


class Desk:
    """Answers what is asked in the workspaces that the bot is in."""

    def __init__(
        self,
        workspaces: Workspaces,
        maker: Maker,
        dispatcher: Dispatcher,
        answers: Answers,
        *,
        pace: float,
        image_input: bool = False,
    ) -> None:
        """`image_input` lets forms ask for an image to start from."""
        self._workspaces = workspaces
        self._maker = maker
        self._dispatcher = dispatcher
        self._answers = answers
        self._clock = maker.clock
        self._pace = pace
        self._image_input = image_input
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._homes: dict[tuple[str, str], asyncio.Task[None]] = {}
        """Being drawn up, by team and person."""
        self._drawing_up = asyncio.Semaphore(HOMES_AT_ONCE)
        self._arriving: set[asyncio.Future[None]] = set()

    async def resume(self) -> None:
        """Go on with what an earlier process left unfinished; where the app was removed since, sending fails."""
        for job, updates in await self._dispatcher.recovered(PLATFORM):
            address = Address.read(job.reply_to, job.place, job.requester.id)
            workspace = await self._workspaces.find(address.team) or self._maker.made("", address.team, "", None)
            surface = self._surface(workspace, address, locale=job.requester.locale, looking=lambda: False)
            self._answers.start(closing(updates, surface), surface)
        for arrival in await self._dispatcher.arrivals.left(PLATFORM):
            try:
                asked = ASKED.validate_json(arrival.asked)
            except ValidationError:
                log.warning("what an earlier version kept can't be read")
                await self._dispatcher.arrivals.settle(PLATFORM, arrival.event)
            else:
                self._is_new(asked.event)
                self.take(asked, await self._workspaces.find(asked.team))

    async def keep(self, asked: Asked) -> bool:
        """Keep it safe before it is acknowledged; False for what Slack sends again, which whoever took it answers."""
        if not self._is_new(asked.event):
            return False
        try:
            text = ASKED.dump_json(asked).decode()
        except ValueError:  # half a character, say: whoever reads the command has a sentence on it
            log.warning("what can't be written down is taken all the same")
        else:
            await self._dispatcher.arrivals.keep(PLATFORM, asked.key, text)
        return True

    def take(self, asked: Asked, workspace: Workspace | None) -> None:
        """Have it answered, beside everything else.

        Without a workspace it comes from people of another team, in a channel that is shared with them.
        """
        url = ResponseUrl(asked.response_url, self._clock) if asked.response_url else None
        served = workspace or self._maker.made("", asked.team, "", None)
        trigger = asked.trigger if asked.at_home and asked.form is None else None
        until = self._clock.monotonic() + LOOKING_SECONDS
        surface = self._surface(
            served, asked.address, url, trigger=trigger, looking=lambda: self._clock.monotonic() < until
        )
        answer = self._updates(asked, workspace, surface)
        updates = self._arrived(settled(answer, self._dispatcher.arrivals, PLATFORM, asked.key))
        self._answers.start(closing(updates, surface), surface)

    def open_home(self, workspace: Workspace, user: str) -> None:
        """Draw up a person's App Home, beside everything else; they may open it as often as they like."""
        key = (workspace.team, user)
        if key not in self._homes:
            task = asyncio.create_task(self._home(workspace, user))
            self._homes[key] = task
            task.add_done_callback(lambda _: self._homes.pop(key, None))

    async def close(self) -> None:
        """Let what was acknowledged arrive on disk, and stop drawing up App Homes."""
        if self._arriving:
            await asyncio.wait(self._arriving, timeout=ARRIVAL_SECONDS)
        left = list(self._homes.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _is_new(self, event: str) -> bool:
        if event in self._seen:
            return False
        self._seen[event] = None
        if len(self._seen) > REMEMBERED_EVENTS:
            self._seen.popitem(last=False)
        return True

    def _surface(
        self,
        workspace: Workspace,
        address: Address,
        url: ResponseUrl | None = None,
        *,
        locale: str = messages.ENGLISH,
        trigger: str | None = None,
        looking: Callable[[], bool],
    ) -> SlackSurface:
        return SlackSurface(
            workspace.web,
            address,
            pace=self._pace,
            updates=workspace.updates,
            previews=workspace.previews,
            keep=self._dispatcher.redirect,
            response_url=url,
            locale=locale,
            trigger=trigger,
            looking=looking,
        )

    def _arrived(self, updates: AsyncGenerator[Update, None]) -> AsyncGenerator[Update, None]:
        """The same updates; once the first was shown, a job is on disk, and anything else has been answered."""
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arriving.add(arrived)
        arrived.add_done_callback(self._arriving.discard)

        async def watched() -> AsyncGenerator[Update, None]:
            try:
                async with aclosing(updates):
                    async for update in updates:
                        yield update
                        if not arrived.done():
                            arrived.set_result(None)
            finally:
                arrived.cancel()

        return watched()

    async def _updates(
        self, asked: Asked, workspace: Workspace | None, surface: SlackSurface
    ) -> AsyncGenerator[Update, None]:
        answer = await self._understood(asked, workspace, surface)
        if not isinstance(answer, Invocation):
            if answer is not None:
                yield answer
            return
        async with aclosing(self._dispatcher.handle(answer)) as updates:
            async for update in updates:
                yield update
        if asked.at_home and workspace is not None:
            await self._home(workspace, asked.address.user)

    async def _understood(
        self, asked: Asked, workspace: Workspace | None, surface: SlackSurface
    ) -> Invocation | Update | None:
        """The command; or what is to be said instead, if anything: whatever goes wrong here is answered, too."""
        try:
            return await self._invocation(asked, workspace, surface)
        except BotError as error:
            return Failure(job=None, index=None, text=told(error, surface.locale))
        except Exception:  # Slack has had its acknowledgement, so the person must hear of it in another way
            log.exception("fault of the adapter")
            return Failure(job=None, index=None, text=messages.say("failure.platform", surface.locale))

    async def _invocation(
        self, asked: Asked, workspace: Workspace | None, surface: SlackSurface
    ) -> Invocation | Update | None:
        user = asked.address.user
        requester = await workspace.people.requester(user, asked.home) if workspace else None
        if requester is None or workspace is None:
            locale = workspace.people.locale(user) if workspace else messages.ENGLISH
            return Refusal(job=None, index=None, layer=None, text=messages.say("slack.stranger", locale))
        surface.locale = requester.locale
        if asked.form is not None and asked.trigger:
            sentence = await self._opened(asked.form, asked.trigger, asked.address, workspace, requester)
            return Failure(job=None, index=None, input=True, text=sentence) if sentence else None
        await _settled(asked, workspace, surface)
        check_setting(asked, requester.locale)
        attachments = await _fetched(workspace, asked.files)
        return asked.invocation(requester, surface.address, attachments)

    async def _opened(
        self, form: Form, trigger: str, address: Address, workspace: Workspace, requester: Requester
    ) -> str:
        """Open a modal; the sentence to say if there is nothing to open one on."""
        view = await self._view(form, address, requester)
        if isinstance(view, str):
            return view
        await workspace.web.open_view(trigger, view)
        return ""

    async def _view(self, form: Form, address: Address, requester: Requester) -> dict[str, Any] | str:
        locale, place = requester.locale, address.place
        if form.kind == "batch":
            return forms.batch_view(forms.Opened(address=address), locale)
        if form.kind == "settings":
            names = await self._dispatcher.suggest(requester, place, "setting", "")
            if not names:
                return messages.say("role.moderator", locale, command="/settings")
            known = [name for name in names if name != ROLES]
            return forms.setting_view(forms.Opened(address=address), locale, known)
        request = None
        if form.kind == "remix":
            request = await self._dispatcher.form(requester, place, form.job, form.number) if form.job else None
            if request is None:
                return messages.say("slack.no_picture", locale)
        offered = {field: await self._dispatcher.suggest(requester, place, field, "") for field in ("model", "style")}
        started = request is not None and request.image is not None
        opened = forms.Opened(address=address, image_of=f"{form.job} {form.number}" if started else "")
        asks = self._image_input and not started
        return forms.imagine_view(opened, locale, offered, request, asks_for_image=asks)

    async def _home(self, workspace: Workspace, user: str) -> None:
        """The page, or the reason why there is none."""
        try:
            async with self._drawing_up:
                await self._published(workspace, user)
        except DeliveryError as error:
            log.warning("app home not shown", reason=error.sentence)
        except Exception:  # a task of its own, in which nobody else would hear of it
            log.exception("fault of the adapter")

    async def _published(self, workspace: Workspace, user: str) -> None:
        requester = await workspace.people.requester(user)
        if requester is None:
            text = messages.say("slack.stranger", workspace.people.locale(user))
            await workspace.web.publish_home(user, home.message(text))
            return
        try:
            place = Address(team=workspace.team, channel="", user=user).place
            page = await self._dispatcher.home(requester, place)
        except (BotError, EngineError) as error:
            await workspace.web.publish_home(user, home.message(error.sentence))
            raise DeliveryError(error.sentence) from error
        await _put_up(workspace, user, page, requester.locale)


async def _put_up(workspace: Workspace, user: str, page: Home, locale: str) -> None:
    """Slack takes no page with a file that is gone, so there is a second try without pictures."""
    try:
        await workspace.web.publish_home(user, home.view(page, locale))
    except DeliveryError:
        await workspace.web.publish_home(user, home.view(page, locale, thumbnails=False))


async def _settled(asked: Asked, workspace: Workspace, surface: SlackSurface) -> None:
    """Decide where the answer goes: to direct messages, where it comes from no channel or from other people's own."""
    channel = asked.address.channel
    if channel and not channel.startswith("D"):
        return
    own = await workspace.web.direct(asked.address.user)
    if channel == own:
        return
    surface.elsewhere = bool(channel)
    surface.address = surface.address.model_copy(update={"channel": own, "thread": None, "fresh": False})


async def _fetched(workspace: Workspace, files: tuple[File, ...]) -> tuple[Attachment, ...]:
    """The files that came along, one after another: each may be ten megabytes."""
    return tuple([await workspace.web.fetch(file) for file in files])
