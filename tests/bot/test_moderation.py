"""Roles, bans and the audit log, each by community."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.chat import Requester, Role
from bot.errors import BannedError, NotAllowedError, NotFoundError
from tests.bot.workbench import ANN, BEN, ELSEWHERE, HOME, MOD, NOON, OWNER, working


async def test_the_highest_role_of_platform_grant_and_settings_counts(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        role_of = bench.moderation.role_of
        assert await role_of(ANN, HOME) is Role.MEMBER
        assert await role_of(MOD, HOME) is Role.MODERATOR
        assert await role_of(OWNER, ELSEWHERE) is Role.OPERATOR
        await bench.moderation.grant(MOD, HOME, ANN.key)
        assert await role_of(ANN, HOME) is Role.MODERATOR
        assert await role_of(ANN, ELSEWHERE) is Role.MEMBER
        await bench.moderation.revoke(MOD, HOME, ANN.key)
        assert await role_of(ANN, HOME) is Role.MEMBER


async def test_roles_and_bans_survive_a_restart(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        await bench.moderation.grant(MOD, HOME, ANN.key)
        await bench.moderation.ban(MOD, HOME, BEN.key, reason="spam")
    async with working(tmp_path) as bench:
        assert await bench.moderation.role_of(ANN, HOME) is Role.MODERATOR
        with pytest.raises(BannedError):
            await bench.submit("a", who=BEN)


async def test_only_the_platforms_own_moderators_and_the_operator_appoint(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        await bench.moderation.grant(OWNER, HOME, ANN.key)
        for actor in (ANN, BEN):
            with pytest.raises(NotAllowedError):
                await bench.moderation.grant(actor, HOME, BEN.key)
            with pytest.raises(NotAllowedError):
                await bench.moderation.revoke(actor, HOME, ANN.key)
        with pytest.raises(NotFoundError):
            await bench.moderation.revoke(MOD, ELSEWHERE, ANN.key)


async def test_a_ban_holds_in_its_community_until_it_is_lifted(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        await bench.moderation.ban(MOD, HOME, ANN.key, reason="flooding")
        with pytest.raises(BannedError, match="flooding"):
            await bench.submit("a")
        assert await bench.used() == 0
        await bench.submit("a", place=ELSEWHERE)
        assert [ban.person for ban in await bench.moderation.bans(MOD, HOME)] == [ANN.key]
        assert await bench.moderation.bans(MOD, ELSEWHERE) == ()
        with pytest.raises(NotFoundError):
            await bench.moderation.unban(MOD, ELSEWHERE, ANN.key)
        await bench.moderation.unban(MOD, HOME, ANN.key)
        await bench.submit("a")


async def test_a_ban_ends_by_itself(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        ban = await bench.moderation.ban(MOD, HOME, ANN.key, seconds=3600)
        assert ban.until == NOON + 3600
        with pytest.raises(BannedError, match="60 minutes: no reason given"):
            await bench.submit("a")
        bench.clock.time += 3600
        await bench.submit("a")
        assert await bench.moderation.bans(MOD, HOME) == ()


async def test_only_the_operator_bans_everywhere(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        with pytest.raises(NotAllowedError):
            await bench.moderation.ban_everywhere(MOD, HOME, ANN.key)
        await bench.moderation.ban_everywhere(OWNER, HOME, ANN.key)
        for place in (HOME, ELSEWHERE):
            with pytest.raises(BannedError):
                await bench.submit("a", place=place)
        with pytest.raises(NotAllowedError):
            await bench.moderation.unban_everywhere(MOD, HOME, ANN.key)
        with pytest.raises(NotFoundError):
            await bench.moderation.unban(MOD, HOME, ANN.key)
        await bench.moderation.unban_everywhere(OWNER, HOME, ANN.key)
        await bench.submit("a")


async def test_moderators_and_operators_are_protected(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        await bench.moderation.grant(OWNER, HOME, ANN.key)
        for person in (ANN.key, OWNER.key):
            with pytest.raises(NotAllowedError):
                await bench.moderation.ban(MOD, HOME, person)
        with pytest.raises(NotAllowedError):
            await bench.moderation.ban_everywhere(OWNER, HOME, OWNER.key)
        await bench.moderation.ban(OWNER, HOME, ANN.key)


async def test_members_may_do_none_of_it(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        calls = (
            bench.moderation.ban(ANN, HOME, BEN.key),
            bench.moderation.unban(ANN, HOME, BEN.key),
            bench.moderation.bans(ANN, HOME),
            bench.moderation.audit(ANN, HOME),
            bench.moderation.grant(ANN, HOME, ANN.key),
        )
        for call in calls:
            with pytest.raises(NotAllowedError):
                await call
        assert await bench.moderation.audit(MOD, HOME) == ()


async def test_everything_is_written_down_where_it_was_done(tmp_path: Path) -> None:
    guest = Requester(platform="discord", id="guest", role=Role.MODERATOR)
    async with working(tmp_path, started=False) as bench:
        await bench.moderation.ban(MOD, HOME, ANN.key, reason="spam")
        bench.clock.time += 5
        await bench.moderation.unban(MOD, HOME, ANN.key)
        await bench.moderation.grant(MOD, HOME, BEN.key)
        await bench.moderation.revoke(MOD, HOME, BEN.key)
        await bench.moderation.record(MOD, "cache delete", "abc", HOME.scope, "2 files")
        job = (await bench.submit("a")).job
        await bench.jobs.cancel(job, MOD, HOME)
        entries = await bench.moderation.audit(MOD, HOME)
        assert [(entry.action, entry.target, entry.detail) for entry in reversed(entries)] == [
            ("ban", ANN.key, "spam"),
            ("unban", ANN.key, ""),
            ("grant", BEN.key, "moderator"),
            ("revoke", BEN.key, "moderator"),
            ("cache delete", "abc", "2 files"),
            ("cancel", ANN.key, job),
        ]
        assert {(entry.actor, entry.scope) for entry in entries} == {(MOD.key, HOME.scope)}
        assert (entries[-1].created, entries[0].created) == (NOON, NOON + 5)
        assert [entry.action for entry in await bench.moderation.audit(MOD, HOME, limit=1, offset=1)] == [
            "cache delete"
        ]
        assert await bench.moderation.audit(guest, ELSEWHERE) == ()
