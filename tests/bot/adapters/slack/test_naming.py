"""People and channels that moderators name: they arrive as ids, and what is no id is refused."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from bot.adapters.slack.manifest import manifest
from bot.app import App
from bot.chat import Place
from bot.community import Community
from tests.bot.adapters.slack.test_answers import finished
from tests.bot.adapters.slack.test_forms import opened
from tests.bot.adapters.slack.test_home import at_home
from tests.contract.slack import SLASHES, SlackHarness
from tests.fakes.engine_client import ScriptedEngine
from tests.fakes.slack_api import BOT, CHANNEL, TEAM, member

SEEN = {"@ada": "<@UADA|ada>", "#pictures": f"<#{CHANNEL}|pictures>"}
"""What Slack makes of names that somebody picked."""
ADA = f"slack:{TEAM}/UADA"

TIMES = itertools.count(9)
Way = Callable[[SlackHarness, str, str], Awaitable[None]]


async def mention(person: SlackHarness, command: str, text: str) -> None:
    """Say it to the bot, with names that were picked."""
    for name, sent in SEEN.items():
        text = text.replace(name, sent)
    said = {"type": "app_mention", "user": "UBOSS", "team": TEAM, "channel": CHANNEL}
    ts = f"{next(TIMES)}.000200"
    await person.happens(said | {"ts": ts, "text": f"<@{BOT}> /{command} {text}"}, event_id=person.slack.trigger())


async def slash(person: SlackHarness, command: str, text: str) -> None:
    """Give it as a slash command; names that were picked arrive in the way that the manifest asks for."""
    declared = manifest()["features"]["slash_commands"]
    (entry,) = [entry for entry in declared if entry["command"] == SLASHES[command]]
    for name, sent in SEEN.items() if entry["should_escape"] else ():
        text = text.replace(name, sent)
    payload = {"command": entry["command"], "text": text, "team_id": TEAM, "channel_id": CHANNEL, "user_id": "UBOSS"}
    answered = {"trigger_id": person.slack.trigger(), "response_url": person.slack.response_url()}
    await person.slack.emit("slash_commands", payload | answered)


@pytest.fixture
async def boss(person: SlackHarness, app: App) -> AsyncIterator[SlackHarness]:
    """A workspace with an admin."""
    person.slack.users["UBOSS"] = member("UBOSS", is_admin=True)
    async with person.running(app.dispatcher):
        yield person


async def community(app: App) -> Community:
    return await app.dispatcher._communities.of(Place(platform="slack", workspace=TEAM, channel=CHANNEL).scope)


BOTH = pytest.mark.parametrize("way", [mention, slash])


@BOTH
async def test_a_mentioned_person_is_banned_and_let_in_again(boss: SlackHarness, way: Way) -> None:
    await way(boss, "moderation", "ban @ada 7d spam &amp; <https://example.org|worse>")
    await boss.until(ADA)
    await boss.slash("imagine", "a red apple")
    await boss.until("spam & worse")
    assert boss.pictures() == []
    await way(boss, "moderation", "unban @ada")
    await boss.until(ADA, times=2)
    await boss.slash("imagine", "a red apple")
    await finished(boss)


@BOTH
async def test_a_mentioned_person_is_made_a_moderator_for_a_while(boss: SlackHarness, way: Way) -> None:
    await way(boss, "moderation", "grant @ada")
    await boss.until(ADA)
    await boss.slash("cache", "stats")
    await boss.until("quarantined")
    await way(boss, "moderation", "revoke @ada")
    await boss.until(ADA, times=2)
    await boss.slash("cache", "stats")
    await boss.until("Only moderators")


@BOTH
async def test_a_mentioned_person_s_pictures_are_purged(boss: SlackHarness, engine: ScriptedEngine, way: Way) -> None:
    await way(boss, "cache", "purge-user @ada")
    await boss.slack.until(lambda: bool(engine.purged))
    assert [owner for _, owner in engine.purged] == [ADA]


@pytest.mark.parametrize("text", ["ban", "unban", "grant", "revoke"])
@pytest.mark.parametrize("name", ["@bob", "#art", "slack:@bob", "T1/@bob", "&lt;@UADA&gt;"])
async def test_a_name_is_no_person(boss: SlackHarness, text: str, name: str) -> None:
    """It arrives where nobody was picked, or where the app was made of an older manifest."""
    await slash(boss, "moderation", f"{text} {name}")
    await boss.until("is only a name")
    await boss.slash("moderation", "bans", user="UBOSS")
    await boss.until("Nobody is banned here")


async def test_mentions_in_a_prompt_stay_what_they_look_like(boss: SlackHarness, engine: ScriptedEngine) -> None:
    await mention(boss, "imagine", "@ada in #pictures")
    await finished(boss)
    assert engine.orders[0].requests[0].prompt == "@ada in #pictures"


async def test_mentioned_channels_are_where_people_may_draw(boss: SlackHarness, app: App) -> None:
    await mention(boss, "settings", "set channels #pictures, C9")
    await boss.until(f"channels: {CHANNEL}, C9")
    await mention(boss, "settings", "set log_channel #pictures")
    await boss.until(f"log_channel: {CHANNEL}")
    assert (await community(app)).channels == (CHANNEL, "C9")
    await boss.slash("imagine", "a red apple")
    await finished(boss)


@pytest.mark.parametrize(
    "setting", ["channels #art", f"channels {CHANNEL} #art", "log_channel #art", "log_channel @art"]
)
async def test_the_name_of_a_channel_locks_nobody_out(boss: SlackHarness, app: App, setting: str) -> None:
    await mention(boss, "settings", f"set {setting}")
    await boss.until("takes ids, or mentions picked from the list")
    assert await community(app) == Community()


async def test_the_form_of_a_setting_takes_channels_that_are_chosen(boss: SlackHarness, app: App) -> None:
    async def changed(setting: str, typed: str, *chosen: str) -> None:
        before = len(boss.slack.views)
        await at_home(boss, "command:settings ", user="UBOSS")
        await opened(boss, before + 1)
        fields: dict[str, Any] = {"setting": {"selected_option": {"value": setting}}}
        fields["channels"] = {"selected_conversations": list(chosen)}
        await boss.submit({"value": typed}, user="UBOSS", fields=fields)

    await changed("channels", "", CHANNEL, "C9")
    await boss.until(f"channels: {CHANNEL}, C9")
    await changed("log_channel", "#art")
    await boss.until("takes ids, or mentions picked from the list")
    await changed("strict", "on", CHANNEL)
    await boss.until("strict: on")
    assert await community(app) == Community(channels=(CHANNEL, "C9"), strict=True)


async def test_roles_are_no_setting_where_nobody_has_any(boss: SlackHarness, app: App) -> None:
    for text in ("set roles <!subteam^S1|@painters>", "SET Roles admins"):
        await mention(boss, "settings", text)
        await boss.until("Slack knows no roles")
        boss.slack.shown.clear()
    await mention(boss, "settings", "set NSFW only")
    await boss.until("no age-restricted channels")
    assert await community(app) == Community()
    await at_home(boss, "command:settings ", user="UBOSS")
    view = await opened(boss)
    assert "roles" not in [entry["value"] for entry in view["blocks"][0]["element"]["options"]]
