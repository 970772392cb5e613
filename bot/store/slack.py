"""What only the Slack adapter keeps: installations, installations under way, and requests already taken."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from bot.store.database import Database
from engine.types import Value

MAX_STATES = 10_000
"""Installations under way at once; anybody may begin one, so the oldest give way."""
MAX_REQUESTS = 250_000
"""Requests remembered at once; only Slack's own get here."""


class SlackInstallation(Value):
    """A workspace that installed the app, and the token that it gave."""

    team: str
    name: str = ""
    enterprise: str | None = None
    bot_token: str = Field(repr=False)
    bot_user: str
    bot_id: str | None = None
    installer: str
    installed: float


class SlackTable:
    """Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def install(self, row: SlackInstallation) -> None:
        """Keep a workspace's installation in place of an earlier one."""
        values = row.model_dump()
        columns, holes = ", ".join(values), ", ".join("?" * len(values))
        async with self._database.transaction() as transaction:
            await transaction.run(
                f"INSERT OR REPLACE INTO slack_installations ({columns}) VALUES ({holes})",  # noqa: S608  (our own names)
                *values.values(),
            )

    async def installation(self, team: str) -> SlackInstallation | None:
        """The installation of a workspace."""
        async with self._database.snapshot() as transaction:
            row = await transaction.one("SELECT * FROM slack_installations WHERE team = ?", team)
            return None if row is None else SlackInstallation.model_validate(dict(row))

    async def uninstall(self, team: str, *, at: float) -> None:
        """Forget a workspace's installation and its token, unless it was installed again after that moment."""
        async with self._database.transaction() as transaction:
            await transaction.run("DELETE FROM slack_installations WHERE team = ? AND installed <= ?", team, at)

    async def begin(self, state: str, *, now: float, expires: float) -> None:
        """Remember an installation under way; those that ran out, and the oldest beyond a bound, are forgotten."""
        async with self._database.transaction() as transaction:
            await transaction.run("DELETE FROM slack_states WHERE expires <= ?", now)
            await transaction.run("INSERT INTO slack_states (state, expires) VALUES (?, ?)", state, expires)
            await transaction.run(
                """DELETE FROM slack_states WHERE state IN (
                       SELECT state FROM slack_states ORDER BY expires DESC LIMIT -1 OFFSET ?)""",
                MAX_STATES,
            )

    async def finish(self, state: str, *, now: float) -> bool:
        """End an installation under way; False if there is none, or not any more."""
        async with self._database.transaction() as transaction:
            rows = await transaction.run("DELETE FROM slack_states WHERE state = ? RETURNING expires", state)
            return bool(rows) and rows[0]["expires"] > now

    async def take(self, digests: Sequence[bytes], *, now: float) -> None:
        """Remember requests."""
        async with self._database.transaction() as transaction:
            for digest in digests:
                sql = "INSERT INTO slack_requests (digest, seen) VALUES (?, ?) ON CONFLICT DO NOTHING"
                await transaction.run(sql, digest, now)

    async def taken(self, *, since: float) -> dict[bytes, float]:
        """When requests were taken, the oldest first."""
        async with self._database.snapshot() as transaction:
            sql = "SELECT digest, seen FROM slack_requests WHERE seen >= ? ORDER BY seen"
            return {row["digest"]: row["seen"] for row in await transaction.run(sql, since)}

    async def remembered(self) -> int:
        """How many requests are remembered."""
        async with self._database.snapshot() as transaction:
            rows = await transaction.run("SELECT count(*) AS requests FROM slack_requests")
            return int(rows[0]["requests"])

    async def prune(self, *, before: float, limit: int = MAX_REQUESTS) -> None:
        """Forget requests that are too old to be repeated, and the oldest beyond a bound."""
        async with self._database.transaction() as transaction:
            await transaction.run("DELETE FROM slack_requests WHERE seen < ?", before)
            await transaction.run(
                """DELETE FROM slack_requests WHERE digest IN (
                       SELECT digest FROM slack_requests ORDER BY seen DESC LIMIT -1 OFFSET ?)""",
                limit,
            )
