"""Between Slack's events and the dispatcher: takes what was asked once, finds out who asks, has it answered."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import structlog

from bot import messages
from bot.adapters.base import Answers
from bot.adapters.slack import forms, home
from bot.adapters.slack.address import PLATFORM, Address
from bot.adapters.slack.incoming import Asked, File, Form
from bot.adapters.slack.surface import ResponseUrl, SlackSurface, closing
from bot.adapters.slack.workspaces import Maker, Workspace, Workspaces
from bot.chat import Attachment, Failure, Refusal, Requester, Update
from bot.dispatch import Dispatcher
from bot.errors import BotError, DeliveryError
from bot.handlers.home import Home
from engine.errors import EngineError

REMEMBERED_EVENTS = 10_000
HOMES_AT_ONCE = 100
"""App Homes being drawn up; anybody may open theirs as often as they like."""

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
        self._homes: set[asyncio.Task[None]] = set()

    async def resume(self) -> None:
        """Go on with what an earlier process left unfinished; where the app was removed since, sending fails."""
        for job, updates in await self._dispatcher.recovered(PLATFORM):
            address = Address.read(job.reply_to, job.place, job.requester.id)
            workspace = await self._workspaces.find(address.team) or self._maker.made("", address.team, "", None)
            surface = self._surface(workspace, address, locale=job.requester.locale)
            self._answers.start(closing(updates, surface), surface)

    def take(self, asked: Asked, workspace: Workspace | None) -> None:
        """Have it answered, beside everything else; what Slack sends again is left to whoever took it first.

        Without a workspace it comes from people of another team, in a channel that is shared with them.
        """
        if not self._is_new(asked.event):
            return
        url = ResponseUrl(asked.response_url, self._clock) if asked.response_url else None
        served = workspace or self._maker.made("", asked.team, "", None)
        trigger = asked.trigger if asked.at_home and asked.form is None else None
        surface = self._surface(served, asked.address, url, pressed=asked.pressed, trigger=trigger)
        updates = self._updates(asked, workspace, surface)
        self._answers.start(closing(updates, surface), surface)

    def open_home(self, workspace: Workspace, user: str) -> None:
        """Draw up a person's App Home, beside everything else."""
        if len(self._homes) < HOMES_AT_ONCE:
            task = asyncio.create_task(self._home(workspace, user))
            self._homes.add(task)
            task.add_done_callback(self._homes.discard)

    async def close(self) -> None:
        """Stop drawing up App Homes."""
        left = list(self._homes)
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
        pressed: dict[str, Any] | None = None,
        trigger: str | None = None,
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
            pressed=pressed,
            trigger=trigger,
        )

    async def _updates(
        self, asked: Asked, workspace: Workspace | None, surface: SlackSurface
    ) -> AsyncGenerator[Update, None]:
        try:
            requester = await workspace.people.requester(asked.address.user, asked.home) if workspace else None
            if requester is None or workspace is None:
                yield Refusal(job=None, index=None, layer=None, text=messages.say("slack.stranger"))
                return
            surface.locale = requester.locale
            if asked.form is not None and asked.trigger:
                sentence = await self._opened(asked.form, asked.trigger, asked.address, workspace, requester)
                if sentence:
                    yield Failure(job=None, index=None, input=True, text=sentence)
                return
            if not surface.address.channel:
                channel = await workspace.web.direct(asked.address.user)
                surface.address = surface.address.model_copy(update={"channel": channel})
            attachments = await _fetched(workspace, asked.files)
        except BotError as error:
            yield Failure(job=None, index=None, text=error.sentence)
            return
        invocation = asked.invocation(requester, surface.address, attachments)
        async with aclosing(self._dispatcher.handle(invocation)) as updates:
            async for update in updates:
                yield update
        if asked.at_home:
            await self._home(workspace, asked.address.user)

    async def _opened(
        self, form: Form, trigger: str, address: Address, workspace: Workspace, requester: Requester
    ) -> str:
        """Open a modal; the sentence to say if there is nothing to open one on."""
        locale = requester.locale
        if form.kind == "batch":
            await workspace.web.open_view(trigger, forms.batch_view(forms.Opened(address=address), locale))
            return ""
        if form.kind == "settings":
            names = await self._dispatcher.suggest(requester, address.place, "setting", "")
            await workspace.web.open_view(trigger, forms.setting_view(forms.Opened(address=address), locale, names))
            return ""
        request = None
        if form.kind == "remix":
            request = await self._dispatcher.form(requester, address.place, form.job, form.number) if form.job else None
            if request is None:
                return messages.say("slack.no_picture", locale)
        fields = ("model", "style")
        offered = {field: await self._dispatcher.suggest(requester, address.place, field, "") for field in fields}
        started = request is not None and request.image is not None
        opened = forms.Opened(address=address, image_of=f"{form.job} {form.number}" if started else "")
        asks = self._image_input and not started
        view = forms.imagine_view(opened, locale, offered, request, asks_for_image=asks)
        await workspace.web.open_view(trigger, view)
        return ""

    async def _home(self, workspace: Workspace, user: str) -> None:
        """The page, or the reason why there is none."""
        try:
            requester = await workspace.people.requester(user)
            if requester is None:
                await workspace.web.publish_home(user, home.message(messages.say("slack.stranger")))
                return
            place = Address(team=workspace.team, channel="", user=user).place
            page = await self._dispatcher.home(requester, place)
            await _published(workspace, user, page, requester.locale)
        except (BotError, EngineError) as error:
            log.warning("app home not shown", reason=error.sentence)


async def _published(workspace: Workspace, user: str, page: Home, locale: str) -> None:
    """Slack takes no page with a file that is gone, so there is a second try without pictures."""
    try:
        await workspace.web.publish_home(user, home.view(page, locale))
    except DeliveryError:
        await workspace.web.publish_home(user, home.view(page, locale, thumbnails=False))


async def _fetched(workspace: Workspace, files: tuple[File, ...]) -> tuple[Attachment, ...]:
    """The files that came along, one after another: each may be ten megabytes."""
    return tuple([await workspace.web.fetch(file) for file in files])
