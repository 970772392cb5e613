"""Many workspaces: installed through slack_bolt's own OAuth flow, kept apart, and forgotten when the app goes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from slack_bolt.error import BoltError
from slack_sdk.oauth.installation_store import Installation

from bot.adapters.slack.manifest import SCOPES
from bot.adapters.slack.oauth import STATE_SECONDS, Installations, States
from bot.app import App, running
from bot.settings import Settings
from bot.store import Store
from bot.store import slack as tables
from tests.bot.workbench import ManualClock
from tests.contract.slack import SlackHttpHarness
from tests.fakes.engine_client import ScriptedEngine
from tests.fakes.slack_api import member

# slack_sdk 3.47 still builds the header of oauth.v2.access with what aiohttp 3.14 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")


class Browser:
    """Somebody at a browser who installs the app; cookies are kept by hand, as they are for https alone."""

    def __init__(self, person: SlackHttpHarness) -> None:
        self.person = person
        self.base = str(person.slack.events_url).removesuffix("/slack/events")
        self.cookie = ""

    async def get(self, path: str, **query: str) -> tuple[int, str, str]:
        """Status, page and address to go on to."""
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(
                f"{self.base}{path}", params=query, headers={"Cookie": self.cookie}, allow_redirects=False
            ) as response,
        ):
            self.cookie = response.headers.get("Set-Cookie", "").partition(";")[0] or self.cookie
            return response.status, await response.text(), response.headers.get("Location", "")

    async def begin(self) -> dict[str, str]:
        """Start an installation; what Slack is asked."""
        status, _, location = await self.get("/slack/install")
        assert status == 302
        assert location.startswith("https://slack.com/oauth/v2/authorize?")
        return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}

    async def install(self, team: str) -> tuple[int, str]:
        """The whole way."""
        asked = await self.begin()
        self.person.slack.codes[f"code-{team}"] = team
        status, page, _ = await self.get("/slack/oauth_redirect", code=f"code-{team}", state=asked["state"])
        return status, page


@pytest.fixture
def person(tmp_path: Path) -> SlackHttpHarness:
    harness = SlackHttpHarness(tmp_path / "home")
    harness.settings = {"slack_client_id": "client", "slack_client_secret": "secret"}
    harness.slack.tokens.clear()
    return harness


@asynccontextmanager
async def browsing(person: SlackHttpHarness, app: App) -> AsyncIterator[Browser]:
    async with person.running(app.dispatcher):
        yield Browser(person)


async def test_a_workspace_installs_draws_and_stays_over_a_restart(
    person: SlackHttpHarness, settings: Settings, engine: ScriptedEngine
) -> None:
    async with running(settings, engine) as app, browsing(person, app) as browser:
        asked = await browser.begin()
        assert asked["client_id"] == "client"
        assert set(asked["scope"].split(",")) == set(SCOPES)
        status, page = await browser.install("T1")
        assert status == 200
        assert "Easel is installed in Team T1 &lt;b&gt;." in page
        await person.slash("imagine", "a red apple")
        await person.until_pictures(1)
        kept = list(person.folder.glob("easel.db*"))
        assert {file.name: file.stat().st_mode & 0o077 for file in kept if file.suffix != ".lock"} == {
            "easel.db": 0,
            "easel.db-shm": 0,
            "easel.db-wal": 0,
        }
    async with running(settings, engine) as app, browsing(person, app):
        await person.slash("imagine", "a green apple")
        await person.until_pictures(2)
    assert set(person.slack.callers) == {"T1"}


async def test_workspaces_are_kept_apart(person: SlackHttpHarness, app: App, engine: ScriptedEngine) -> None:
    person.slack.users["UTWO"] = member("UTWO", team_id="T2")
    async with browsing(person, app) as browser:
        await browser.install("T1")
        await browser.install("T2")
        await person.slash("imagine", "a red apple")
        await person.until_pictures(1)
        person.team = "T2"
        await person.slash("imagine", "a red apple", user="UTWO")
        await person.until_pictures(2)
        await person.slash("show", engine.orders[0].job, user="UTWO")
        await person.until("There is no job")
        await person.slash("imagine", "a red apple", user="UADA")
        await person.until("Only members of this workspace")
    assert [(order.scope, order.owner) for order in engine.orders] == [
        ("slack:T1", "slack:T1/UADA"),
        ("slack:T2", "slack:T2/UTWO"),
    ]
    by_team = {team for team, (method, _) in zip(person.slack.callers, person.slack.calls, strict=False)}
    assert by_team >= {"T1", "T2"}


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("app_uninstalled", {}),
        ("tokens_revoked", {"tokens": {"oauth": [], "bot": ["UBOTT1"]}}),
    ],
)
async def test_what_slack_takes_away_is_forgotten(
    person: SlackHttpHarness, app: App, kind: str, event: dict[str, object]
) -> None:
    async with browsing(person, app) as browser, Store.open(person.folder / "easel.db") as store:
        await browser.install("T1")
        await browser.install("T2")
        now = time.time() + 1
        own = {"type": "tokens_revoked", "tokens": {"oauth": ["UADA"], "bot": []}}
        await person.happens(own, event_id="Ev1", event_time=now)
        assert await store.slack.installation("T1") is not None
        await person.happens({"type": kind, **event}, event_id="Ev2", event_time=now)
        while await store.slack.installation("T1") is not None:
            await person.happens({"type": "app_home_opened", "user": "UADA", "tab": "messages"})
        assert await store.slack.installation("T2") is not None
        await person.slash("imagine", "a red apple")
        await person.until("Only members of this workspace")
    assert person.pictures() == []


async def test_an_installation_outlives_late_word_of_the_end_of_an_earlier_one(
    person: SlackHttpHarness, app: App
) -> None:
    async with browsing(person, app) as browser, Store.open(person.folder / "easel.db") as store:
        await browser.install("T1")
        first = await store.slack.installation("T1")
        assert first is not None
        await browser.install("T1")
        again = await store.slack.installation("T1")
        assert again is not None
        assert first.installed < again.installed
        revoked = {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": ["UBOTT1"]}}
        await person.happens({"type": "app_uninstalled"}, event_id="Ev1", event_time=first.installed)
        await person.happens(revoked, event_id="Ev2", event_time=first.installed)
        await person.slash("imagine", "a red apple")
        await person.until_pictures(1)
        assert await store.slack.installation("T1") == again


async def test_no_page_is_worth_anything_without_the_state_of_this_browser(person: SlackHttpHarness, app: App) -> None:
    async with browsing(person, app) as browser:
        asked = await browser.begin()
        person.slack.codes |= {"good": "T1", "again": "T1"}
        own, browser.cookie = browser.cookie, ""
        refused = [await browser.get("/slack/oauth_redirect", code="good", state=asked["state"])]
        browser.cookie = own
        refused.append(await browser.get("/slack/oauth_redirect", code="good", state="other"))
        browser.cookie = own
        refused.append(await browser.get("/slack/oauth_redirect", state=asked["state"]))
        browser.cookie = own
        refused.append(await browser.get("/slack/oauth_redirect", code="again", state=asked["state"]))
        refused.append(await browser.get("/slack/oauth_redirect", error="<script>alert(1)</script>"))
        refused.append(await browser.get("/slack/oauth_redirect"))
        fresh = await browser.begin()
        refused.append(await browser.get("/slack/oauth_redirect", code="unknown", state=fresh["state"]))
        declined = await browser.get("/slack/oauth_redirect", error="access_denied")
    assert all(status in (200, 400, 401) and "could not be installed" in page for status, page, _ in refused)
    assert "<script>" not in "".join(page for _, page, _ in refused)
    assert "was not installed" in declined[1]
    assert person.slack.tokens == {}


async def test_a_slack_that_answers_nothing_is_a_page(person: SlackHttpHarness, app: App) -> None:
    async with browsing(person, app) as browser:
        asked = await browser.begin()
        status, page, _ = await browser.get("/slack/oauth_redirect", code="x" * 5000, state=asked["state"])
        assert (status, "could not be installed" in page) == (401, True)


async def test_installations_under_way_end_and_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_STATES", 3)
    clock = ManualClock()
    async with Store.open(tmp_path / "easel.db") as store:
        states = States(store.slack, clock)
        first = await states.async_issue()
        clock.time += STATE_SECONDS
        assert not await states.async_consume(first)
        issued = []
        for _ in range(5):
            clock.time += 1
            issued.append(await states.async_issue())
        assert [await states.async_consume(state) for state in issued] == [False, False, True, True, True]
        assert not await states.async_consume(issued[-1])


async def test_an_organisation_s_installation_is_not_kept(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "easel.db") as store:
        changed: list[str] = []
        installations = Installations(store.slack, changed.append)
        org = Installation(user_id="U1", enterprise_id="E1", bot_token="xoxb-1", is_enterprise_install=True)
        with pytest.raises(BoltError):
            await installations.async_save(org)
        team = Installation(user_id="U1", team_id="T1", bot_token="xoxb-1", bot_user_id="UB", bot_id="B1")
        await installations.async_save(team)
        bot = await installations.async_find_bot(enterprise_id=None, team_id="T1")
        assert bot is not None
        assert (bot.bot_token, bot.bot_user_id) == ("xoxb-1", "UB")
        assert "xoxb" not in repr(await store.slack.installation("T1"))
        await installations.ended("T1", team.installed_at - 1)
        assert await installations.async_find_bot(enterprise_id=None, team_id="T1") is not None
        await installations.ended("T1", team.installed_at)
        assert await installations.async_find_bot(enterprise_id=None, team_id="T1") is None
    assert changed == ["T1", "T1", "T1"]
