"""The connection to Discord: every event is acknowledged first, and answered beside everything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing, suppress
from typing import Any

import discord
import structlog
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot import messages
from bot.adapters.base import Answers, settled
from bot.adapters.discord import address, buttons, commands, forms, gallery, incoming
from bot.adapters.discord.acks import BROKEN, Ack, acknowledge, insisting, too_late
from bot.adapters.discord.address import Address
from bot.adapters.discord.arrival import Arrival, was_acknowledged
from bot.adapters.discord.incoming import Asked
from bot.adapters.discord.surface import DiscordSurface, Means
from bot.adapters.discord.uploads import Uploads
from bot.adapters.discord.wire import SILENT
from bot.chat import Failure, Update
from bot.dispatch import Dispatcher, new_incident
from bot.errors import BadInputError, BotError
from bot.jobs import Recovered

MAX_CHOICES, MAX_CHOICE = 25, 100
STATUSES = 32
"""Answers that say how far they are at one moment; while there are so many, others don't."""
FORM_SECONDS = 0.8
"""How long what a form is filled with may take: opening it is the acknowledgement, so nothing can come before."""
SUGGEST_SECONDS = 2.0
"""How long suggestions may take; Discord waits for three."""
NO_MEMBERS = discord.MemberCacheFlags.none()
INTENTS = discord.Intents(guilds=True)
"""What the gateway is asked for: the least that keeps permissions current, and nothing privileged."""

discord.VoiceClient.warn_nacl = False
discord.VoiceClient.warn_dave = False

log = structlog.get_logger("bot.adapters.discord")


def use_addresses(api: str, gateway: str) -> None:
    """Point discord.py at these addresses. It has no public way for that, so this is the one place that knows."""
    Route.BASE = api.rstrip("/")
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)


class EaselClient(discord.AutoShardedClient):
    """Takes interactions and passes them on; asks for no privileged intent, and mentions nobody."""

    def __init__(self, dispatcher: Dispatcher, answers: Answers, *, pace: float, images: bool = False) -> None:
        super().__init__(intents=INTENTS, allowed_mentions=SILENT, max_messages=None, member_cache_flags=NO_MEMBERS)
        self._dispatcher = dispatcher
        self._answers = answers
        self._means = Means(
            client=self,
            shrink=dispatcher.smaller,
            keep=dispatcher.redirect,
            pace=pace,
            statuses=asyncio.Semaphore(STATUSES),
        )
        self._images = images
        self._uploads = Uploads(self)
        self._registering: asyncio.Task[None] | None = None
        self.add_dynamic_items(*buttons.ITEMS)

    async def setup_hook(self) -> None:
        """Between logging in and the first event: go on with unfinished jobs, register the commands beside them."""
        self._registering = asyncio.create_task(self._register())
        await self._resume()

    async def close(self) -> None:
        """Leave Discord."""
        if self._registering is not None:
            self._registering.cancel()
        await super().close()

    async def _register(self) -> None:
        """Register the commands; nobody waits for it, since Discord may ask for a pause of minutes."""
        try:
            await self.http.bulk_upsert_global_commands(
                self.application_id or 0, commands.declared(images=self._images)
            )
        except (discord.HTTPException, *BROKEN) as error:
            # What was registered before still works.
            log.warning("commands not registered", reason=repr(error))

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """Any interaction but a press, which discord.py takes to the items of `buttons`."""
        await self._guarded(interaction, self._taken(interaction))

    async def _taken(self, interaction: discord.Interaction) -> None:
        data: Mapping[str, Any] = interaction.data or {}
        match interaction.type:
            case discord.InteractionType.application_command if data.get("type") == commands.MESSAGE_MENU:
                await self._menu(interaction)
            case discord.InteractionType.application_command if data.get("name") == "batch":
                await self._open(interaction, forms.batch(interaction.locale.value))
            case discord.InteractionType.application_command:
                await self._answer(interaction, incoming.command(interaction))
            case discord.InteractionType.autocomplete:
                await self._complete(interaction)
            case discord.InteractionType.modal_submit:
                await self._submitted(interaction)

    # What was pressed.

    async def pressed(self, interaction: discord.Interaction, action: str, job: str, index: int) -> None:
        """Do what a button under a picture stands for."""
        await self._guarded(interaction, self._pressed(interaction, action, job, index))

    async def _pressed(self, interaction: discord.Interaction, action: str, job: str, index: int) -> None:
        if action == forms.REMIX:
            await self._remix(interaction, job, index)
        elif action == forms.APPEAL:
            await self._open(interaction, forms.appeal(job, index, interaction.locale.value))
        else:
            known = buttons.ACTIONS[action]
            number = {} if action in buttons.WHOLE else {"number": index + 1}
            asked = Asked(command=known.command, options={"job": job, **number, **dict(known.options)})
            ack = Ack.SILENT if known.command == "delete" else self._ack(interaction, asked)
            await self._answer(interaction, asked, ack=ack)

    async def give(self, interaction: discord.Interaction, command: str, text: str) -> None:
        """Give a command as if it had been typed."""
        await self._guarded(interaction, self._answer(interaction, Asked(command=command, text=text)))

    async def picked(self, interaction: discord.Interaction, job: str, index: int) -> None:
        """Show what can be done with one of several pictures."""
        locale = interaction.locale.value
        text = messages.say("discord.picked", locale, number=index + 1)
        view = buttons.for_picture(job, index, locale)
        with too_late(interaction):
            await insisting(
                lambda: interaction.response.send_message(text, view=view, ephemeral=True, allowed_mentions=SILENT)
            )

    async def _guarded(self, interaction: discord.Interaction, work: Awaitable[None]) -> None:
        """The boundary to discord.py, which lets a fault of ours end without a word to the person."""
        try:
            await work
        except Exception:  # what is acknowledged is answered by others; here is only what comes before that
            if self.is_closed():
                return  # with the bot stopping, there is nobody to answer through
            incident = new_incident()
            log.exception("fault in an interaction", incident=incident, interaction=interaction.id)
            if not interaction.response.is_done():
                sentence = messages.say("failure.incident", interaction.locale.value, incident=incident)
                await self._refuse(interaction, sentence)

    # What opens a form, and what comes of it.

    async def _menu(self, interaction: discord.Interaction) -> None:
        """A message's own menu, on one that may hold pictures of ours."""
        data: Any = interaction.data or {}
        menu = commands.menu_of(str(data.get("name")))
        found = gallery.target(data, self.user.id if self.user else 0)
        if found is None:
            await self._refuse(interaction, messages.say("discord.no_pictures", interaction.locale.value))
            return
        job, numbers = found
        match menu:
            case "remix":
                await self._remix(interaction, job, numbers[0] - 1)
            case "report":
                await self._open(interaction, forms.report(job, numbers, interaction.locale.value))
            case _:
                await self._answer(interaction, Asked(command="show", options={"job": job}))

    async def _remix(self, interaction: discord.Interaction, job: str, index: int) -> None:
        locale = interaction.locale.value
        who, where = incoming.requester(interaction), incoming.place(interaction)
        try:
            async with asyncio.timeout(FORM_SECONDS):
                request = await self._dispatcher.form(who, where, job, index + 1)
        except TimeoutError:
            await self._refuse(interaction, messages.say("discord.busy", locale))
            return
        except BotError as error:
            await self._refuse(interaction, error.sentence)
            return
        if request is None:
            await self._refuse(interaction, messages.say("input.unknown_job", locale, given=messages.quote(job)))
        else:
            await self._open(interaction, forms.remix(job, index, request, locale))

    async def _open(self, interaction: discord.Interaction, form: discord.ui.Modal) -> None:
        with too_late(interaction):
            await insisting(lambda: interaction.response.send_modal(form))

    async def _submitted(self, interaction: discord.Interaction) -> None:
        data: Mapping[str, Any] = interaction.data or {}
        name = forms.NAME.fullmatch(str(data.get("custom_id")))
        if name is None:
            return
        written, job, index = incoming.fields(interaction), name["job"] or "", name["index"]
        options = written.get(forms.OPTIONS, "")
        match name["form"]:
            case forms.BATCH:
                await self._answer(interaction, incoming.batch(written.get(forms.PROMPTS, ""), options))
            case forms.REMIX:
                await self._remixed(interaction, f"{job} {int(index or 0) + 1}", written)
            case form:
                number = str(int(index) + 1) if index else written.get(forms.NUMBER, "").strip()
                reason = {name: text for name, text in written.items() if name == forms.REASON and text}
                await self._answer(interaction, Asked(command=form, options={"job": job, "number": number, **reason}))

    async def _remixed(self, interaction: discord.Interaction, origin: str, written: Mapping[str, str]) -> None:
        prompt, negative = written.get(forms.PROMPT, ""), written.get(forms.NEGATIVE, "")
        try:
            flags = written.get(forms.OPTIONS, "")
            asked = incoming.remix(origin, prompt, negative, flags, interaction.locale.value)
        except BadInputError as error:
            await self._refuse(interaction, error.sentence)
        else:
            await self._answer(interaction, asked)

    async def _complete(self, interaction: discord.Interaction) -> None:
        """Offer what may be meant; what is too long for Discord can't be offered."""
        data: Mapping[str, Any] = interaction.data or {}
        name, typed = incoming.focused(interaction)
        field = "setting" if data.get("name") == "settings" else name
        who, where = incoming.requester(interaction), incoming.place(interaction)
        found: tuple[str, ...] = ()
        with suppress(TimeoutError):
            async with asyncio.timeout(SUGGEST_SECONDS):
                found = await self._dispatcher.suggest(who, where, field, typed)
        fitting = [value for value in found if 0 < len(value) <= MAX_CHOICE][:MAX_CHOICES]
        choices = [discord.app_commands.Choice(name=value, value=value) for value in fitting]
        with too_late(interaction):
            await insisting(lambda: interaction.response.autocomplete(choices))

    # Answers.

    def _ack(self, interaction: discord.Interaction, asked: Asked) -> Ack:
        """A press under a picture that one person alone sees is answered in the same way."""
        pressed = interaction.message
        hidden = pressed is not None and pressed.flags.ephemeral and gallery.has_pictures(pressed)
        return Ack.PRIVATE if hidden or asked.private else Ack.PUBLIC

    async def _answer(self, interaction: discord.Interaction, asked: Asked, *, ack: Ack | None = None) -> None:
        """Write the command down and acknowledge it; then fetch what came along, and dispatch it."""
        ack = ack or (Ack.PRIVATE if asked.private else Ack.PUBLIC)
        where = address.of(interaction, ack, direct=asked.command in incoming.DIRECT)
        arrival = Arrival.of(interaction, asked, where)
        event = arrival.invocation.event
        await self._dispatcher.arrivals.keep(incoming.PLATFORM, event, arrival.model_dump_json())
        begun = None
        try:
            begun = await self._begun(interaction, ack, where)
        finally:
            if begun is None and not self.is_closed():
                await self._dispatcher.arrivals.settle(incoming.PLATFORM, event)
        if begun is not None:
            self._start(interaction, begun, self._updates(arrival, begun.model_dump_json()))

    async def _refuse(self, interaction: discord.Interaction, sentence: str) -> None:
        """Say that it can't be done, to the person alone."""
        where = await self._begun(interaction, Ack.PRIVATE, address.of(interaction, Ack.PRIVATE))
        if where is not None:
            self._start(interaction, where, _refusal(sentence))

    async def _begun(self, interaction: discord.Interaction, ack: Ack, where: Address) -> Address | None:
        """Acknowledge, and learn the name of the first answer; None if it is too late for that."""
        try:
            message = await acknowledge(interaction, ack)
        except (discord.HTTPException, *BROKEN) as error:
            # The person sees that it failed and may ask again; going on would draw what nobody waits for.
            log.warning("not acknowledged", interaction=interaction.id, reason=str(error))
            return None
        return where.model_copy(update={"message": message})

    def _start(self, interaction: discord.Interaction, where: Address, updates: AsyncGenerator[Update, None]) -> None:
        self._answers.start(updates, DiscordSurface(self._means, where, interaction.locale.value))

    def _updates(self, arrival: Arrival, reply_to: str) -> AsyncGenerator[Update, None]:
        """What comes of a command, which is safe until then."""
        updates = self._dispatched(arrival, reply_to)
        return settled(updates, self._dispatcher.arrivals, incoming.PLATFORM, arrival.invocation.event)

    async def _dispatched(self, arrival: Arrival, reply_to: str) -> AsyncGenerator[Update, None]:
        locale = arrival.invocation.requester.locale
        try:
            files = await self._uploads.read(arrival.files, locale)
        except BadInputError as error:
            yield Failure(job=None, index=None, input=True, text=error.sentence)
            return
        invocation = arrival.invocation.model_copy(update={"attachments": files, "reply_to": reply_to})
        async with aclosing(self._dispatcher.handle(invocation)) as updates:
            async for update in updates:
                yield update

    # What an earlier process left.

    async def _resume(self) -> None:
        await self._answers.resume(incoming.PLATFORM, self._resumed)
        for left in await self._dispatcher.arrivals.left(incoming.PLATFORM):
            arrival = Arrival.read(left.asked)
            if arrival is None:
                await self._dispatcher.arrivals.settle(incoming.PLATFORM, left.event)
            else:
                surface = self._surface(arrival.where, arrival.invocation.requester.locale)
                self._answers.start(self._taken_up(arrival), surface)

    def _resumed(self, job: Recovered) -> DiscordSurface:
        return self._surface(address.read(job.reply_to), job.requester.locale)

    def _surface(self, where: Address, locale: str) -> DiscordSurface:
        return DiscordSurface(self._means, where, locale, resumed=True)

    async def _taken_up(self, arrival: Arrival) -> AsyncGenerator[Update, None]:
        if not await was_acknowledged(self, arrival.where):
            await self._dispatcher.arrivals.settle(incoming.PLATFORM, arrival.invocation.event)
            return
        async with aclosing(self._updates(arrival, arrival.invocation.reply_to)) as updates:
            async for update in updates:
                yield update


async def _refusal(sentence: str) -> AsyncGenerator[Update, None]:
    yield Failure(job=None, index=None, input=True, text=sentence)
