from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.adapters.web.people import (
    GUESTS,
    MAX_PASSWORD,
    SESSION_SECONDS,
    TRIES,
    TRIES_FROM_ADDRESS,
    TRY_SECONDS,
    Failures,
    People,
    guest,
    member,
    network,
)
from bot.chat import Role
from bot.errors import BadInputError, LimitError, NotFoundError
from bot.store import Store
from bot.store.rows import AuditEntry
from tests.bot.test_store import allow, row
from tests.contract.web import QUICK

PASSWORD = "correct horse"
HERE = "192.0.2.7"
GRANTED = AuditEntry(created=1.0, actor="cli:operator", action="role", target="web:ada", scope="web:local", detail="")


class HandClock:
    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(tmp_path / "easel.db") as store:
        yield store


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def people(store: Store, clock: HandClock) -> People:
    return People(store.web_accounts, hasher=QUICK, clock=clock)


async def test_the_password_opens_the_account(people: People) -> None:
    await people.add("Ada", PASSWORD, Role.MODERATOR)
    account = await people.sign_in(" ADA ", PASSWORD, HERE, "en")
    assert (account.name, account.role) == ("ada", Role.MODERATOR)
    assert await people.of_session("ada", account.version, "s1") == account
    visitor = member(account, "de", HERE)
    assert visitor.requester.key == "web:ada"
    assert visitor.place.channel == "ada"
    assert not visitor.is_guest


async def test_passwords_are_kept_as_argon2_hashes(people: People, store: Store) -> None:
    await people.add("ada", PASSWORD, Role.MEMBER)
    account = await store.web_accounts.get("ada")
    assert account is not None
    assert account.password.startswith("$argon2id$")
    assert PASSWORD.encode() not in store.path.read_bytes()


@pytest.mark.parametrize("password", ["", "correct horsf", PASSWORD + " ", "x" * 10_000, "\0", "\udfff"])
async def test_no_other_password_does(people: People, password: str) -> None:
    await people.add("ada", PASSWORD, Role.MEMBER)
    with pytest.raises(BadInputError, match="Name or password is wrong"):
        await people.sign_in("ada", password, HERE, "en")


async def test_an_unknown_name_is_answered_alike(people: People) -> None:
    with pytest.raises(BadInputError, match="Name or password is wrong"):
        await people.sign_in("nobody", PASSWORD, HERE, "en")


async def test_too_many_failures_have_to_wait(people: People) -> None:
    await people.add("ada", PASSWORD, Role.MEMBER)
    for _ in range(TRIES):
        with pytest.raises(BadInputError):
            await people.sign_in("ada", "wrong password", HERE, "en")
    with pytest.raises(LimitError, match="wait 10 minutes"):
        await people.sign_in("ada", PASSWORD, HERE, "en")
    assert (await people.sign_in("ada", PASSWORD, "198.51.100.1", "en")).name == "ada", "nobody is kept out by others"


async def test_a_network_s_addresses_count_as_one(people: People) -> None:
    await people.add("ada", PASSWORD, Role.MEMBER)
    for number in range(TRIES):
        with pytest.raises(BadInputError):
            await people.sign_in("ada", "wrong password", f"2001:db8:1:2::{number + 1:x}", "en")
    with pytest.raises(LimitError):
        await people.sign_in("ada", PASSWORD, "2001:db8:1:2:ffff::", "en")
    assert await people.sign_in("ada", PASSWORD, "2001:db8:1:3::1", "en")


async def test_a_password_is_the_same_on_every_keyboard(people: People) -> None:
    await people.add(
        "ada", "caf\N{LATIN SMALL LETTER E WITH ACUTE} cr\N{LATIN SMALL LETTER E WITH GRAVE}me", Role.MEMBER
    )
    composed = "cafe\N{COMBINING ACUTE ACCENT} cre\N{COMBINING GRAVE ACCENT}me"
    assert await people.sign_in("ada", composed, HERE, "en")


async def test_a_session_that_was_signed_out_has_ended(people: People, store: Store, clock: HandClock) -> None:
    version = (await people.add("ada", PASSWORD, Role.MEMBER)).version
    for _ in range(2):
        await people.sign_out("s1")
    assert await people.of_session("ada", version, "s1") is None
    assert await people.of_session("ada", version, "s2") is not None
    clock.time += SESSION_SECONDS + 1
    await people.sign_out("s2")
    with closing(sqlite3.connect(store.path)) as database:
        kept = database.execute("SELECT session FROM web_sign_outs").fetchall()
    assert kept == [("s2",)], "what has expired by itself needn't be remembered"


def test_failures_are_forgiven_and_forgotten() -> None:
    clock = HandClock()
    failures = Failures(clock)
    for _ in range(TRIES):
        failures.note("ada", HERE)
    assert failures.wait("ada", HERE) == TRY_SECONDS
    assert failures.wait("bob", HERE) == 0.0
    clock.time += TRY_SECONDS
    assert failures.wait("ada", HERE) == 0.0
    for number in range(TRIES_FROM_ADDRESS):
        failures.note(f"name{number}", HERE)
    assert failures.wait("somebody", HERE) > 0
    failures.forget("name0", HERE)
    assert failures.wait("somebody", HERE) == 0.0


@pytest.mark.parametrize(
    "name", ["", " ", "-ada", "a" * 33, "ada lovelace", "web:ada", "guest-1", "adä", "../x", "a\nb"]
)
async def test_unsuitable_names_are_refused(people: People, name: str) -> None:
    with pytest.raises(BadInputError, match="can't be an account's name"):
        await people.add(name, PASSWORD, Role.MEMBER)


@pytest.mark.parametrize("password", ["", "too short", "x" * (MAX_PASSWORD + 1)])
async def test_unsuitable_passwords_are_refused(people: People, password: str) -> None:
    with pytest.raises(BadInputError, match="10 to 200 characters"):
        await people.add("ada", password, Role.MEMBER)


async def test_a_name_is_taken_once(people: People) -> None:
    await people.add("ada", PASSWORD, Role.MEMBER)
    with pytest.raises(BadInputError, match="already"):
        await people.add("ADA", PASSWORD, Role.OPERATOR)
    assert [account.role for account in await people.all()] == [Role.MEMBER]


async def test_a_new_password_ends_the_sessions(people: People) -> None:
    version = (await people.add("ada", PASSWORD, Role.MEMBER)).version
    await people.set_password("ada", "another horse")
    assert await people.of_session("ada", version, "s1") is None
    with pytest.raises(BadInputError):
        await people.sign_in("ada", PASSWORD, HERE, "en")
    assert await people.sign_in("ada", "another horse", HERE, "en")


async def test_removing_an_account_ends_its_sessions(people: People) -> None:
    version = (await people.add("ada", PASSWORD, Role.MEMBER)).version
    await people.remove("Ada")
    assert await people.of_session("ada", version, "s1") is None
    for change in (people.remove("ada"), people.set_password("ada", PASSWORD)):
        with pytest.raises(NotFoundError, match="no account"):
            await change


async def test_who_has_a_name_after_somebody_else_has_none_of_their_roles(people: People, store: Store) -> None:
    await people.add("ada", PASSWORD, Role.MEMBER)
    await store.people.grant("web:ada", Role.MODERATOR, GRANTED)
    await people.remove("ada")
    assert await store.people.role("web:ada", GRANTED.scope) is Role.MEMBER
    await store.people.grant("web:ada", Role.MODERATOR, GRANTED)
    await people.add("ada", PASSWORD, Role.MEMBER)
    assert await store.people.role("web:ada", GRANTED.scope) is Role.MEMBER, "an earlier Easel left them"


async def test_a_name_is_free_once_nothing_is_kept_of_who_had_it(people: People, store: Store) -> None:
    await people.add("ada", PASSWORD, Role.MEMBER)
    visitor = member(await people.sign_in("ada", PASSWORD, HERE, "en"), "en")
    asked = row().model_copy(update={"requester": visitor.requester, "place": visitor.place})
    await store.jobs.accept(asked, new_id=lambda: "j1", judge=allow)
    with pytest.raises(BadInputError, match="There is an account ada already"):
        await people.add("ada", PASSWORD, Role.MEMBER)
    await people.remove("ada")
    with pytest.raises(
        BadInputError, match="take another name, or delete it first with `easel web user remove ada --f"
    ):
        await people.add("Ada", PASSWORD, Role.MEMBER)
    with pytest.raises(NotFoundError):
        await people.remove("ada")
    assert (await people.remove("Ada", or_left=True)).key == "web:ada"
    await store.removal.forget("web:ada", today="2026-01-01")
    with pytest.raises(NotFoundError):
        await people.remove("ada", or_left=True)
    assert await people.add("ada", PASSWORD, Role.MEMBER)


async def test_a_weak_hash_is_renewed_and_the_session_stays(people: People, store: Store) -> None:
    version = (await people.add("ada", PASSWORD, Role.MEMBER)).version
    stronger = People(store.web_accounts, hasher=PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    await stronger.sign_in("ada", PASSWORD, HERE, "en")
    account = await store.web_accounts.get("ada")
    assert account is not None
    assert "m=16,t=2" in account.password
    assert account.version == version


async def test_the_secret_outlives_the_process(people: People, store: Store) -> None:
    assert await people.secret() == await People(store.web_accounts).secret()
    assert len(await people.secret()) >= 32


async def test_guests_have_a_quota_by_address_and_day(people: People, clock: HandClock) -> None:
    await people.charge_guest(HERE, 3, 4, "en")
    with pytest.raises(LimitError, match="4 pictures a day"):
        await people.charge_guest(HERE, 2, 4, "en")
    await people.charge_guest(HERE, 1, 4, "en")
    await people.charge_guest("198.51.100.1", 4, 4, "en")
    await people.refund_guest(HERE, 1)
    await people.charge_guest(HERE, 1, 4, "en")
    clock.time += 86_400
    await people.charge_guest(HERE, 4, 4, "en")


def test_guests_are_a_community_of_their_own() -> None:
    one, other = guest("aa", "en"), guest("bb", "en")
    assert one.place.workspace == GUESTS
    assert one.place.channel != other.place.channel
    assert one.is_guest
    assert guest("aa", "en", HERE).payer == guest("bb", "en", HERE).payer != guest("aa", "en", "192.0.2.8").payer


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("", ""),
    ],
)
def test_an_address_stands_for_one_person(address: str, known: str) -> None:
    assert network(address) == known


@settings(deadline=None)
@given(st.text())
def test_any_address_is_taken(address: str) -> None:
    assert isinstance(network(address), str)
