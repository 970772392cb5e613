"""The Discord adapter: one client for all servers, sharded by discord.py as they grow."""

from __future__ import annotations

import aiohttp
import discord

from bot import messages
from bot.adapters.base import Answers
from bot.adapters.discord.client import EaselClient, use_addresses
from bot.adapters.discord.incoming import PLATFORM
from bot.adapters.discord.surface import PACE_SECONDS
from bot.dispatch import Dispatcher
from bot.errors import SettingsError
from bot.settings import Settings


class Discord:
    """Takes slash commands, forms and buttons, wherever the bot was invited."""

    name = PLATFORM

    def __init__(self, settings: Settings, *, pace: float = PACE_SECONDS) -> None:
        """Speak with this installation's token.

        Args:
            settings: token, addresses, and whether images may be sent.
            pace: least seconds between two edits of one message.
        """
        self._settings = settings
        self._pace = pace

    async def run(self, dispatcher: Dispatcher) -> None:
        """Take commands until cancelled.

        Raises:
            SettingsError: Discord refuses the token, or can't be reached at the start.
        """
        token = self._settings.discord_token
        if token is None:
            raise SettingsError(messages.say("discord.no_token"))
        use_addresses(self._settings.discord_api, self._settings.discord_gateway)
        answers = Answers(dispatcher)
        client = EaselClient(dispatcher, answers, pace=self._pace, images=self._settings.image_input)
        try:
            async with client, answers:
                await client.start(token.get_secret_value())
        except discord.LoginFailure as error:
            raise SettingsError(messages.say("discord.bad_token")) from error
        except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
            raise SettingsError(messages.say("discord.lost", reason=messages.shorten(str(error), 200))) from error
