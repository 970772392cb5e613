"""What Slack sends, in the bot's own terms."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.slack import buttons, incoming
from bot.adapters.slack.address import Address
from bot.adapters.slack.text import fallback, plain, shown
from bot.chat import Place, Requester
from bot.handlers.table import COMMANDS
from tests.contract.slack import escaped
from tests.fakes.slack_api import BOT, TEAM
from tests.fakes.slack_blocks import LIVE

SAID = {"type": "app_mention", "user": "UADA", "team": TEAM, "channel": "C1", "ts": "5.1", "text": f"<@{BOT}> a cat"}


def event(**changes: object) -> dict[str, object]:
    said = {name: value for name, value in (SAID | changes).items() if value is not None}
    return {"team_id": TEAM, "event_id": "Ev1", "event": said}


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        ("a &lt;b&gt; &amp; c", "a <b> & c"),
        ("&amp;lt;", "&lt;"),
        (f"<@{BOT}> a cat", "a cat"),
        (f"  <@{BOT}|easel>: a cat", "a cat"),
        (f"a cat <@{BOT}>", f"a cat @{BOT}"),
        ("<@U7|ada> and <#C7|general> and <#C8>", "@ada and #general and #C8"),
        ("<!here> <!channel> <!subteam^S1|@painters> <!date^1^{date}|today>", "@here @channel @painters today"),
        ("<https://example.org/a|a link> <https://example.org/b>", "a link https://example.org/b"),
        ("<mailto:a@example.org>", "a@example.org"),
        ("1 < 2 > 0", "1 < 2 > 0"),
    ],
)
def test_a_text_reads_as_the_person_saw_it(typed: str, seen: str) -> None:
    assert plain(typed, BOT) == seen


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("<@U7|ada> <@W8> <#C7|art> <#C8|> <!subteam^S1|@painters>", "U7 W8 C7 C8 S1"),
        ("<!here> &lt;@U7&gt; <https://example.org|a &amp; b>", "@here <@U7> a & b"),
    ],
)
def test_what_is_named_reads_as_its_id(typed: str, named: str) -> None:
    assert plain(f"<@{BOT}> {typed}", BOT, ids=True) == named


@pytest.mark.parametrize(
    ("text", "command", "rest"),
    [
        ("/moderation ban <@U7|ada> rude", "moderation", "ban U7 rude"),
        ("/imagine-moderation ban <@U7>", "moderation", "ban U7"),
        ("/Moderation  unban   <@U7> ", "Moderation", "unban   U7"),
        ("/moderation ban-everywhere <@U7|ada lovelace> for <#C7|art>", "moderation", "ban-everywhere U7 for #art"),
        (
            "/moderation ban <@U7|ada> 7d spam in <#C7|art> &amp; <@U8|bob>",
            "moderation",
            "ban U7 7d spam in #art & @bob",
        ),
        ("/moderation REVOKE <@U7|ada> <@U8|bob>", "moderation", "REVOKE U7 @bob"),
        ("/moderation audit <@U7|ada>", "moderation", "audit @ada"),
        ("/cache purge-user <@U7|ada> <@U8|bob>", "cache", "purge-user U7 @bob"),
        ("/cache list <@U7|ada> in <#C7|art>", "cache", "list @ada in #art"),
        ("/settings set channels <#C7|art>, <#C8>", "settings", "set channels C7, C8"),
        ("/settings set Log-Channel <#C7|art>", "settings", "set Log-Channel C7"),
        (
            "/settings set watermark_text art by <@U7|ada>, <#C7|art>",
            "settings",
            "set watermark_text art by @ada, #art",
        ),
        ("/report abc <@U7|ada> is rude", "report", "abc @ada is rude"),
        ("/cache", "cache", ""),
    ],
)
def test_commands_that_take_people_or_channels_get_ids(text: str, command: str, rest: str) -> None:
    asked = incoming.message(event(text=f"<@{BOT}> {text}"), TEAM, BOT)
    assert asked is not None
    assert (asked.command, asked.text) == (command, rest)


@pytest.mark.parametrize(
    ("command", "text", "read"),
    [
        ("/imagine-moderation", "ban <@U7|ada> spam in <#C7|art>", "ban U7 spam in #art"),
        ("/imagine-moderation", " grant  <@U7|ada>", " grant  U7"),
        ("/imagine-cache", "purge-user <@U7|ada>", "purge-user U7"),
        ("/imagine-cache", "list <@U7|ada>", "list @ada"),
        ("/imagine", "ban <@U7|ada>", "ban @ada"),
    ],
)
def test_a_slash_command_s_ids_are_where_it_takes_people(command: str, text: str, read: str) -> None:
    body = {"command": command, "text": text, "trigger_id": "1.2", "channel_id": "C1", "user_id": "UADA"}
    assert incoming.slash_command(body, TEAM).text == read


@given(st.text())
def test_typed_text_survives_slack_s_entities(text: str) -> None:
    assert plain(escaped(text)) == text


@given(st.text() | st.from_regex(r"<[@#!]?[a-z|^<>&;]*>|&[a-z]{0,4};?"))
def test_a_notification_has_no_live_markup(text: str) -> None:
    line = fallback(text)
    assert not LIVE.search(line)
    assert "\n" not in line
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in shown(text)


def test_reading_takes_linear_time() -> None:
    begun = time.perf_counter()
    for hostile in ("<" * 200_000, "<a" * 100_000, "<@" + "a" * 200_000, " " * 200_000, "<a|" * 70_000):
        plain(hostile, BOT)
        for command in incoming.NAMING:
            incoming.message(event(text=f"/{command} ban {hostile}"), TEAM, BOT)
    assert time.perf_counter() - begun < 2.0


def test_every_slash_command_gives_a_command_that_exists() -> None:
    assert set(incoming.SLASH_COMMANDS.values()) <= set(COMMANDS)


def test_a_mention_is_answered_in_its_thread() -> None:
    asked = incoming.message(event(), TEAM, BOT)
    assert asked is not None
    assert (asked.command, asked.text, asked.event) == ("imagine", "a cat", "C1/5.1")
    assert asked.address == Address(team=TEAM, channel="C1", user="UADA", thread="5.1", fresh=True)
    deeper = incoming.message(event(thread_ts="4.0"), TEAM, BOT)
    assert deeper is not None
    assert (deeper.address.thread, deeper.address.fresh) == ("4.0", False)


@pytest.mark.parametrize(
    ("text", "command", "rest"),
    [("/show abc", "show", "abc"), ("/imagine-show abc", "show", "abc"), ("/nonsense", "nonsense", ""), ("/", "", "")],
)
def test_commands_can_be_said(text: str, command: str, rest: str) -> None:
    asked = incoming.message(event(text=f"<@{BOT}> {text}"), TEAM, BOT)
    assert asked is not None
    assert (asked.command, asked.text) == (command, rest)


@pytest.mark.parametrize(
    "changes",
    [{"bot_id": "B2"}, {"subtype": "message_changed"}, {"user": None}, {"user": "USLACKBOT"}, {"type": "message"}],
)
def test_what_no_person_wrote_is_left_alone(changes: dict[str, object]) -> None:
    assert incoming.message(event(**changes), TEAM, BOT) is None


@pytest.mark.parametrize(
    "value",
    ["", "v2:reroll:abc:0", "v1:ban:abc:0", "v1:reroll:ABC:0", "v1:show:a:0\n", "v1:show::0", "command:", "x", None],
)
def test_strange_buttons_do_nothing(value: str | None) -> None:
    assert incoming.button({"actions": [{"value": value}]}, TEAM) is None


@pytest.mark.parametrize(
    ("value", "command", "text"),
    [
        ("v1:reroll:abc:1", "reroll", "abc 2"),
        ("v1:subtle:abc:0", "vary", "abc 1 subtle"),
        ("v1:strong:abc:0", "vary", "abc 1 strong"),
        ("v1:upscale:abc:0", "upscale", "abc 1"),
        ("v1:show:abc:3", "show", "abc"),
        ("v1:send:abc:0", "send", "abc 1"),
        ("v1:delete:abc:0", "delete", "abc 1"),
        ("v1:appeal:abc:0", "appeal", "abc 1"),
        ("v1:cancel:abc:0", "cancel", "abc"),
        ("command:forget-me confirm", "forget-me", "confirm"),
        ("command:moderation allow x7 now", "moderation", "allow x7 now"),
    ],
)
def test_a_button_gives_a_command_that_exists(value: str, command: str, text: str) -> None:
    pressed = buttons.read(value)
    assert pressed is not None
    assert (pressed.command, pressed.text) == (command, text)
    assert command in COMMANDS


def test_a_picture_of_ours_is_found_in_a_message() -> None:
    block = buttons.row([buttons.about("show", "abc", 2, "en")])
    assert buttons.picture_in({"files": [{"name": "cat.png"}, {"name": "abc-3.png"}]}) == ("abc", 3)
    assert buttons.picture_in({"blocks": [{"type": "section"}, block]}) == ("abc", 3)
    assert buttons.picture_in({"files": [{"name": "cat.png"}], "text": "abc-1.png"}) == ("", 1)


def test_an_address_survives_being_written_down() -> None:
    address = Address(team=TEAM, channel="D1", user="UADA", thread="1.2", status="3.4")
    assert Address.read(address.model_dump_json(), address.place, "UADA") == address
    assert address.direct


def test_an_unreadable_address_is_made_up_from_the_place() -> None:
    place = Place(platform="slack", workspace=TEAM, channel="C1", thread="1.2")
    assert Address.read("{", place, "T1/UADA") == Address(team=TEAM, channel="C1", user="UADA", thread="1.2")


def test_events_and_places_are_told_apart_by_team() -> None:
    asked = incoming.message(event(), TEAM, BOT)
    assert asked is not None
    invocation = asked.invocation(Requester(platform="slack", id="T1/UADA"), asked.address, ())
    assert invocation.event == f"{TEAM}:C1/5.1"
    assert invocation.place.scope == f"slack:{TEAM}"
    assert re.fullmatch(r"\{.*\}", invocation.reply_to)
