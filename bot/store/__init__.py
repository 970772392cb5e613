"""The bot's memory: the only SQL of the bot, on SQLite through aiosqlite. Typed rows in and out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bot.store.appeals import AppealTable
from bot.store.arrivals import ArrivalTable
from bot.store.communities import CommunityTable
from bot.store.costs import CostTable
from bot.store.database import Database
from bot.store.deliveries import DeliveryTable
from bot.store.figures import FigureTable
from bot.store.jobs import JobTable
from bot.store.people import PeopleTable
from bot.store.quarantine import QuarantineTable
from bot.store.recovery import RecoveryTable
from bot.store.removal import RemovalTable
from bot.store.slack import SlackTable
from bot.store.web_accounts import WebAccountTable


class Store:
    """The tables of one database, by what they are about."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.jobs = JobTable(database)
        self.arrivals = ArrivalTable(database)
        self.deliveries = DeliveryTable(database)
        self.recovery = RecoveryTable(database)
        self.people = PeopleTable(database)
        self.communities = CommunityTable(database)
        self.appeals = AppealTable(database)
        self.removal = RemovalTable(database)
        self.quarantine = QuarantineTable(database)
        self.figures = FigureTable(database)
        self.slack = SlackTable(database)
        self.web_accounts = WebAccountTable(database)
        self.costs = CostTable(database)

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[Store]:
        """Open the database for as long as the body runs, making or migrating it first.

        Raises:
            DatabaseError: it is damaged, newer than this program, or can't be written.
        """
        database = await Database.open(path)
        try:
            yield cls(database)
        finally:
            await database.close()

    @property
    def path(self) -> Path:
        """The database file."""
        return self._database.path

    async def check(self) -> None:
        """Read the whole file and compare its structure.

        Raises:
            DatabaseError: it is damaged.
        """
        await self._database.check()
