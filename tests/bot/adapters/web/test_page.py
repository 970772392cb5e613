"""What the page's events do, as the wire shows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from starlette.testclient import TestClient

from bot.app import adapters, gradio_app, running
from bot.chat import Role
from bot.settings import Settings
from engine.types import Layer, Refused
from tests.contract.web import PASSWORD, add_account, served
from tests.fakes.engine_client import ScriptedEngine
from tests.fakes.web_person import WebPerson

pytestmark = pytest.mark.asyncio(loop_scope="module")
PEOPLE = 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory, engine: ScriptedEngine) -> AsyncIterator[str]:
    settings = Settings(
        home=tmp_path_factory.mktemp("home"),
        web_port=1,
        web_guests=True,
        web_guest_pictures=3,
        running_per_person=5,
    )
    for name, role in (("ada", Role.MEMBER), ("cleo", Role.MODERATOR)):
        await add_account(settings, name, role)
    for number in range(PEOPLE):
        await add_account(settings, f"person{number}")
    async with running(settings, engine) as app, served(settings, app.dispatcher) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="module")
async def guests(tmp_path: Path) -> AsyncIterator[str]:
    """A page on which nobody has drawn anything yet."""
    settings = Settings(home=tmp_path, web_port=1, web_guests=True, web_guest_pictures=3)
    async with running(settings, ScriptedEngine()) as app, served(settings, app.dispatcher) as address:
        yield address


@asynccontextmanager
async def visit(address: str, name: str = "", headers: dict[str, str] | None = None) -> AsyncIterator[WebPerson]:
    person = WebPerson(address, headers)
    try:
        await person.open(name, PASSWORD)
        yield person
    finally:
        await person.close()


async def moderate(person: WebPerson) -> None:
    await person.trigger(person.listener("select", "panel-moderation"), [""])


async def test_what_an_open_page_offers_is_taken_though_the_server_has_forgotten_that_it_did(address: str) -> None:
    """After a restart, say: the page still has a slider that was widened for another picture's settings."""
    async with visit(address, "person1") as person:
        await person.draw("a cow", steps=77, width=72)
        await person.until(lambda: len(person.pictures) == 1)
        await person.draw("a cow", steps=7777)
        await person.sees("notices", "--steps takes a whole number from 1 to 100, not 7777.")


async def test_guests_draw_as_much_as_they_may(address: str, engine: ScriptedEngine) -> None:
    async with visit(address) as guest, visit(address) as other:
        await guest.draw("", lines="a cow\na pig")
        await guest.until(lambda: len(guest.pictures) == 2)
        assert engine.orders[-1].scope == "web:guests"
        await other.draw("", lines="a fox\na yak")
        await other.sees("notices", "Guests may ask for 3 pictures a day here")
        await other.draw("/reroll nothing")
        await other.sees("notices", "There is no job")
        assert other.pictures == [], "guests don't see each other's pictures"
        await other.draw("a hen")
        await other.until(lambda: len(other.pictures) == 1)
        await other.draw("a duck")
        await other.sees("notices", "Guests may ask for 3 pictures a day here")


@pytest.mark.parametrize("command", ["/IMAGINE a hen", "/Batch a hen", "/imagine  a hen"])
async def test_no_spelling_of_a_command_is_free(guests: str, command: str) -> None:
    async with visit(guests) as guest:
        await guest.draw("", lines="a cow\na pig\na fox")
        await guest.draw(command)
        await guest.sees("notices", "Guests may ask for 3 pictures a day here")
        await guest.press("pictures", do="command", command="Imagine", text="a hen")
        await guest.press("pictures", do="command", command="IMAGINE", text="a hen")
        await guest.sees("notices", "Guests may ask for 3 pictures a day here")


async def test_what_no_job_came_of_costs_a_guest_nothing(guests: str) -> None:
    async with visit(guests) as guest:
        for option in ("--steps", "--width", "--height", "--seed"):
            await guest.draw(f"a cow {option} -9")
            await guest.sees("notices", f"{option} takes")
        await guest.draw("", lines="--steps 4\na cow\na pig\na fox")
        await guest.until(lambda: len(guest.pictures) == 3)
        await guest.draw("a hen")
        await guest.sees("notices", "Guests may ask for 3 pictures a day here")


async def test_members_get_nothing_from_the_moderators_events(address: str) -> None:
    async with visit(address, "ada") as ada:
        await moderate(ada)
        await ada.sees("moderation-said", "Only moderators may use")
        assert ada.views["figures"] == ada.views["entries"] == ada.views["audit"] == ""
        assert ada.views["doing"] == ""
        for do in ("ban", "purge"):
            await ada.press("doing", "web:cleo", "", "", "", do=do)
        await ada.press("bans", "", do="unban", target="web:cleo")
        await moderate(ada)
    async with visit(address, "cleo") as cleo:
        await moderate(cleo)
        await cleo.sees("bans", "Nobody is banned here.")


async def test_an_appeal_goes_to_the_moderators_tab_and_back(address: str, engine: ScriptedEngine) -> None:
    engine.endings["a sin"] = lambda index: Refused(index=index, layer=Layer.KEYWORDS, categories=("gluttony",))
    async with visit(address, "ada") as ada, visit(address, "cleo") as cleo:
        await ada.draw("a sin")
        await ada.sees("pictures", "Ask a moderator")
        job = engine.orders[-1].job
        await ada.press("pictures", do="appeal", job=job, number="1", reason="It is by Bosch.")
        await ada.sees("notices", job)
        await moderate(cleo)
        await cleo.sees("appeals", "It is by Bosch.")
        view = cleo.views["appeals"]
        appeal = view.partition('data-do="allow" data-target="')[2].partition('"')[0]
        await cleo.press("appeals", "", do="allow", target=appeal)
        await cleo.until(lambda: "It is by Bosch." not in cleo.views["appeals"])
        assert 'role="status"' in cleo.views["moderation-said"]


async def test_a_ban_holds_until_it_is_lifted(address: str) -> None:
    async with visit(address, "person1") as banned, visit(address, "cleo") as cleo:
        await cleo.press("doing", "person1", "7d", "spam", "", do="ban")
        await cleo.sees("bans", "web:person1")
        await banned.draw("a cat")
        await banned.sees("notices", "spam")
        await cleo.press("bans", "", do="unban", target="web:person1")
        await cleo.sees("bans", "Nobody is banned here.")
        await banned.draw("a cat")
        await banned.until(lambda: len(banned.pictures) == 1)


async def test_removing_all_of_a_person_s_pictures_asks_twice(address: str) -> None:
    async with visit(address, "person2") as person, visit(address, "cleo") as cleo:
        await person.draw("a cat")
        await person.until(lambda: len(person.pictures) == 1)
        await moderate(cleo)
        await cleo.sees("doing", "data-sure")
        await cleo.press("doing", "web:person2", "", "", "", do="nothing known")
        await cleo.press("doing", "web:person2", "", "", "", do="purge")
        await cleo.sees("moderation-said", "removed from the cache")
        await cleo.sees("audit", "cache.purge-user")


async def test_the_head_says_what_is_left(address: str) -> None:
    async with visit(address, "person3") as person:
        await person.sees("head", "0 of 100 pictures today")
        await person.draw("", lines="a cow\na pig")
        await person.sees("head", "2 of 100 pictures today")


async def test_a_covered_picture_is_covered_in_the_history(address: str) -> None:
    async with visit(address, "person4") as person:
        await person.draw("", lines="a moon --spoiler\na sun")
        await person.until(lambda: len(person.pictures) == 2)
        await person.trigger(person.listener("select", "panel-history"), [""])
        await person.sees("history", "+1")
        assert person.views["history"].count("ez-spoiler") == 1


async def test_twenty_people_at_once(address: str) -> None:
    async def one(number: int) -> None:
        async with visit(address, f"person{number}") as person:
            await person.draw(f"a garden of number {number}")
            await person.until(lambda: any(f"a garden of number {number}" in text for text in person.log))
            others = [f"number {other} " for other in range(PEOPLE) if other != number]
            assert not [text for text in person.log if any(other in text for other in others)]

    await asyncio.gather(*(one(number) for number in range(PEOPLE)))


async def test_what_goes_on_after_a_restart_is_followed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, web_port=1)
    await add_account(settings, "ada")
    engine = ScriptedEngine()
    engine.gate.clear()
    async with (
        running(settings, engine) as app,
        served(settings, app.dispatcher) as address,
        visit(address, "ada") as ada,
    ):
        await ada.draw("a snail")
        await engine.begun.wait()
    again = ScriptedEngine()
    again.gate.clear()
    async with (
        running(settings, again) as app,
        served(settings, app.dispatcher) as address,
        visit(address, "ada") as ada,
    ):
        await ada.sees("progress", "Step 1 of 2")
        again.gate.set()
        await ada.until(lambda: len(ada.pictures) == 1)
        assert ada.views["progress"] == ""


async def test_what_was_deleted_of_earlier_visits_is_not_shown_again(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, web_port=1)
    await add_account(settings, "ada")
    async with running(settings, ScriptedEngine()) as app:
        async with served(settings, app.dispatcher) as address, visit(address, "ada") as ada:
            await ada.draw("", lines="a cow\na pig")
            await ada.until(lambda: len(ada.pictures) == 2)
        # A page that was opened later knows these from the database alone.
        async with served(settings, app.dispatcher) as address, visit(address, "ada") as ada:
            job = ada.views["pictures"].partition('data-job="')[2].partition('"')[0]
            await ada.press("pictures", do="delete", job=job, number="1")
            await ada.sees("notices", "deleted")
            assert "a cow" not in ada.views["pictures"]
            assert "a pig" in ada.views["pictures"]
            await ada.draw("/forget-me confirm")
            await ada.sees("notices", "Deleted: 1 job")
            assert "a pig" not in ada.views["pictures"]
            assert "ez-empty" in ada.views["pictures"]


async def test_only_a_person_s_own_choice_of_a_model_brings_its_own_values(address: str) -> None:
    """`fill` chooses one as well, beside the values that a picture had."""
    async with visit(address, "ada") as ada:
        model = ada.component("field-model")
        kinds = {kind for listener in ada.config["dependencies"] for at, kind in listener["targets"] if at == model}
        assert kinds == {"input"}


@pytest.mark.parametrize(("url", "known"), [("https://easel.example", True), (None, False)])
async def test_a_proxy_is_believed_where_there_is_one(tmp_path: Path, url: str | None, known: bool) -> None:
    settings = Settings(home=tmp_path, web_port=1, web_url=url, web_guests=True, web_guest_pictures=1)
    async with running(settings, ScriptedEngine()) as app, served(settings, app.dispatcher) as address:
        for number in (1, 2):
            async with visit(address, headers={"X-Forwarded-For": f"192.0.2.{number}"}) as guest:
                await guest.draw("a cat")
                if number == 1 or known:
                    await guest.sees("pictures", "a cat")
                else:
                    await guest.sees("notices", "Guests may ask for 1 picture a day here")


async def test_odd_presses_are_answered(address: str) -> None:
    async with visit(address, "ada") as ada:
        for do in ("", "no such thing", "cancel", "vary", "command", "<script>", "x" * 5000):
            await ada.press("pictures", do=do, job="\x00'", number="-1", command=do, text="\x1b")
        await ada.draw("/quota")
        await ada.sees("notices", "today")


async def test_another_server_can_mount_the_page(tmp_path: Path) -> None:
    await asyncio.to_thread(mounted, tmp_path)


def mounted(home: Path) -> None:
    settings = Settings(home=home, web_port=1)
    with TestClient(gradio_app(settings, ScriptedEngine()), base_url="http://127.0.0.1") as client:
        assert client.get("/sign-in").status_code == 200
        assert client.get("/", follow_redirects=False).status_code == 303


async def test_the_adapter_is_made_where_a_port_is_set(tmp_path: Path) -> None:
    assert adapters(Settings(home=tmp_path)) == ()
    assert [adapter.name for adapter in adapters(Settings(home=tmp_path, web_port=1))] == ["web"]
