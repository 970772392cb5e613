"""The connection to Discord: every event is acknowledged first, and answered beside everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import aiohttp
import discord
import structlog
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot import messages
from bot.adapters.base import Answers
from bot.adapters.discord import address, incoming
from bot.adapters.discord.buttons import JobButton
from bot.adapters.discord.commands import declared
from bot.adapters.discord.surface import SILENT, DiscordSurface
from bot.chat import Invocation
from bot.dispatch import Dispatcher
from bot.jobs import Recovered

FORM_SECONDS = 900.0
"""How long discord.py remembers a form that was opened; it is answered after that as well."""
MAX_PROMPTS = 4000
"""Characters of one field of a form."""
ALREADY_ACKNOWLEDGED = 40060
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

    def __init__(self, dispatcher: Dispatcher, answers: Answers, *, pace: float, styles: Iterable[str]) -> None:
        super().__init__(intents=INTENTS, allowed_mentions=SILENT, max_messages=None, member_cache_flags=NO_MEMBERS)
        self._dispatcher = dispatcher
        self._answers = answers
        self._pace = pace
        self._styles = tuple(styles)
        self.add_dynamic_items(JobButton)

    async def setup_hook(self) -> None:
        """Between logging in and the first event: register the commands, go on with unfinished jobs."""
        try:
            await self.http.bulk_upsert_global_commands(self.application_id or 0, declared(self._styles))
        except (discord.HTTPException, aiohttp.ClientError) as error:
            # What was registered before still works.
            log.warning("commands not registered", reason=str(error))
        await self._answers.resume(incoming.PLATFORM, self._resumed)

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """Any interaction but a pressed button, which discord.py takes to JobButton."""
        data: Mapping[str, Any] = interaction.data or {}
        if interaction.type is discord.InteractionType.application_command:
            name = str(data.get("name"))
            if name == "batch":
                await self._open_form(interaction)
            else:
                await self._answer(interaction, incoming.command, public=name in incoming.PUBLIC)
        elif interaction.type is discord.InteractionType.modal_submit and data.get("custom_id") == incoming.BATCH_FORM:
            await self._answer(interaction, incoming.batch, public=True)

    async def pressed(self, interaction: discord.Interaction, action: str, job: str, index: int) -> None:
        """Give the command that a button stands for."""

        def command(pressed: discord.Interaction, reply_to: str) -> Invocation:
            return incoming.invocation(pressed, action, "", {"job": job, "number": index + 1}, reply_to)

        await self._answer(interaction, command, public=action in incoming.PUBLIC)

    async def _answer(
        self,
        interaction: discord.Interaction,
        to_invocation: Callable[[discord.Interaction, str], Invocation],
        *,
        public: bool,
    ) -> None:
        """Acknowledge, then dispatch."""
        try:
            message = await acknowledge(interaction, public=public)
        except (discord.HTTPException, aiohttp.ClientError) as error:
            # The person sees that it failed and may ask again; going on would draw what nobody waits for.
            log.warning("not acknowledged", interaction=interaction.id, reason=str(error))
            return
        where = address.of(interaction, message, private=not public)
        invocation = to_invocation(interaction, where.model_dump_json())
        surface = DiscordSurface(self, where, invocation.requester.locale, pace=self._pace)
        self._answers.start(self._dispatcher.handle(invocation), surface)

    async def _open_form(self, interaction: discord.Interaction) -> None:
        try:
            await interaction.response.send_modal(batch_form(interaction.locale.value))
        except (discord.HTTPException, aiohttp.ClientError) as error:
            log.warning("form not opened", interaction=interaction.id, reason=str(error))

    def _resumed(self, job: Recovered) -> DiscordSurface:
        where = address.read(job.reply_to)
        return DiscordSurface(self, where, job.requester.locale, resumed=True, pace=self._pace)


async def acknowledge(interaction: discord.Interaction, *, public: bool) -> int | None:
    """Tell Discord that an answer follows; returns the id of the message that will hold it.

    An interaction that is acknowledged already is no error: either an earlier try got through though its answer was
    lost, or the event came twice, and dispatch knows it.
    """
    try:
        done = await interaction.response.defer(ephemeral=not public, thinking=True)
    except discord.HTTPException as error:
        if error.code != ALREADY_ACKNOWLEDGED:
            raise
        return None
    return done.message_id if done else None


def batch_form(locale: str) -> discord.ui.Modal:
    """What `/batch` opens."""
    form = discord.ui.Modal(
        title=messages.say("discord.batch_title", locale), custom_id=incoming.BATCH_FORM, timeout=FORM_SECONDS
    )
    prompts: discord.ui.TextInput[discord.ui.Modal] = discord.ui.TextInput(
        style=discord.TextStyle.paragraph, custom_id=incoming.PROMPTS_FIELD, max_length=MAX_PROMPTS
    )
    options: discord.ui.TextInput[discord.ui.Modal] = discord.ui.TextInput(
        custom_id=incoming.OPTIONS_FIELD, required=False, placeholder="--steps 20 --size 512x512"
    )
    form.add_item(discord.ui.Label(text=messages.say("discord.batch_prompts", locale), component=prompts))
    form.add_item(discord.ui.Label(text=messages.say("discord.batch_options", locale), component=options))
    return form
