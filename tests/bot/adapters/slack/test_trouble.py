"""What goes wrong at Slack: limits, lost answers, closed channels, strangers, hostile texts."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.adapters import slack
from bot.adapters.slack import blocks, forms, home
from bot.adapters.slack.address import Address, Posted
from bot.adapters.slack.limits import RESPONSES, ResponseUrl, Updates
from bot.adapters.slack.text import plain_text
from bot.adapters.slack.trouble import LASTING, refused
from bot.adapters.slack.web import content
from bot.app import App
from bot.chat import Button, Delivery, Picture, Requester, Role
from bot.community import Community
from bot.errors import DeliveryError, SettingsError
from bot.handlers.home import Desk as HomeDesk
from bot.handlers.home import Home
from bot.quota import Usage
from bot.settings import Settings
from bot.store.rows import Appeal, AuditEntry, Ban, DeliveryRow, JobRow, JobState, PictureRow, PictureState, Report
from engine.types import Cached, CacheStats, Failed, Image, ImageRequest, Layer
from tests.bot.adapters.slack.test_answers import finished, is_private, press, said
from tests.bot.workbench import ManualClock, resolved
from tests.contract.slack import SlackHarness
from tests.fakes import slack_blocks
from tests.fakes.engine_client import ScriptedEngine
from tests.fakes.slack_api import CHANNEL, DIRECT, Fault, member

SLOW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
HOSTILE = st.text() | st.text(st.sampled_from("<@!#UC7>|&lt;*_~`[]()http://x.y\n\u202e"), max_size=200)


@pytest.mark.parametrize(
    "method", ["chat.postMessage", "files.getUploadURLExternal", "files.completeUploadExternal", "files.info"]
)
async def test_a_rate_limit_is_waited_for_as_long_as_slack_says(person: SlackHarness, app: App, method: str) -> None:
    person.slack.faults[method].append(Fault(retry_after=17))
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await finished(person)
    assert person.clock.slept.count(17.0) == 1
    assert len(person.pictures()) == 1


async def test_an_upload_whose_answer_was_lost_is_found_again(person: SlackHarness, app: App) -> None:
    person.slack.faults["files.completeUploadExternal"].append(Fault(error="internal_error", after=True))
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        async with asyncio.timeout(8):
            await finished(person)
    assert len(person.pictures()) == 1


async def test_pictures_whose_buttons_failed_get_them_and_are_not_sent_again(person: SlackHarness, app: App) -> None:
    person.slack.faults["files.info"].append(Fault(error="internal_error"))
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await finished(person)
    assert len(person.pictures()) == 1


@pytest.mark.parametrize(
    ("method", "code"), [("files.info", "missing_scope"), ("chat.postMessage", "message_limit_exceeded")]
)
async def test_pictures_that_stand_there_are_delivered_whatever_is_wrong_with_their_buttons(
    person: SlackHarness, app: App, engine: ScriptedEngine, method: str, code: str
) -> None:
    async with person.running(app.dispatcher):
        engine.gate.clear()
        await person.slash("imagine", "a red apple")
        await person.slack.until(lambda: bool(person.slack.messages))
        person.slack.faults[method].append(Fault(error=code))
        engine.gate.set()
        await person.slack.until(lambda: len(person.pictures()) == 1 and not person.slack.messages)
        (file,) = person.slack.arrived
        await person.say("delete", file.name.partition("-")[0])
        await person.slack.until(lambda: file.deleted)


async def test_a_closed_channel_is_told_to_the_person(person: SlackHarness, app: App) -> None:
    person.slack.invited.clear()
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.until("invite it with /invite @easel")
    assert is_private(said(person, "/invite"))
    assert person.pictures() == []


@pytest.mark.parametrize("options", ["", " --spoiler"])
async def test_pictures_go_to_direct_messages_where_they_need_an_invitation(
    person: SlackHarness, app: App, options: str
) -> None:
    """In a public channel the bot may write without one, but bring no files."""
    person.slack.joined.discard(CHANNEL)
    async with person.running(app.dispatcher):
        await person.slash("imagine", f"a red apple{options}")
        await person.until("invite it with /invite @easel")
        await finished(person)
    standing = [message for message in person.slack.messages.values() if not is_private(message)]
    assert {message["channel"] for message in standing} == {DIRECT}
    assert [file.channel for file in person.slack.arrived] == [DIRECT]
    assert is_private(said(person, "in your direct messages"))


@pytest.mark.parametrize("options", ["", " --spoiler"])
@pytest.mark.parametrize("faults", [[], [Fault(error="internal_error")]])
async def test_pictures_of_a_private_channel_without_the_bot_go_to_direct_messages(
    person: SlackHarness, app: App, options: str, faults: list[Fault]
) -> None:
    person.slack.invited.discard(CHANNEL)
    person.slack.faults["conversations.open"] += faults
    async with person.running(app.dispatcher):
        await person.slash("imagine", f"a red apple{options}")
        await person.until("invite it with /invite @easel")
        await finished(person)
    assert [(file.channel, file.thread) for file in person.slack.arrived] == [(DIRECT, None)]


@pytest.mark.parametrize("code", ["token_revoked", "is_archived", "missing_scope"])
async def test_a_refusal_for_good_is_told_and_not_repeated(person: SlackHarness, app: App, code: str) -> None:
    person.slack.faults["files.completeUploadExternal"].append(Fault(error=code))
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.until(refused(code).sentence)
    assert [method for method, _ in person.slack.calls].count("files.completeUploadExternal") == 1


@pytest.mark.parametrize("code", [*sorted(LASTING), "ratelimited", "fatal_error", "something_new"])
def test_every_refusal_has_a_sentence(code: str) -> None:
    error = refused(code)
    assert error.permanent is (code in LASTING)
    assert error.sentence.endswith(".")


async def test_a_file_that_slack_is_slow_with_gets_no_buttons_before_it(person: SlackHarness, app: App) -> None:
    person.slack.looks = 1000
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.slack.until(lambda: len(person.pictures()) == 1 and not person.slack.messages)
    assert not any(slack_blocks.walk(person.slack.messages))


async def test_answers_through_a_used_up_response_url_go_another_way(
    person: SlackHarness, app: App, engine: ScriptedEngine
) -> None:
    prompts = [f"bug {number}" for number in range(RESPONSES + 2)]
    engine.endings |= {p: lambda i: Failed(index=i, code="weights", sentence="No weights.") for p in prompts}
    async with person.running(app.dispatcher):
        payload = "\n".join(prompts)
        await person.slash("batch", payload)
        await person.until("No weights.", times=len(prompts))
    methods = [method for method, _ in person.slack.calls]
    assert (methods.count("response_url"), methods.count("chat.postEphemeral")) == (RESPONSES, 2)


def test_a_response_url_ends_after_half_an_hour() -> None:
    clock = ManualClock()
    url = ResponseUrl("https://hooks", clock)
    assert url.take() == "https://hooks"
    clock.time += 1800.0
    assert url.take() is None


def test_all_status_messages_share_fifty_changes_a_minute() -> None:
    clock, taken = ManualClock(), 0
    updates = Updates(clock)
    for _ in range(600):
        taken += updates.take()
        clock.time += 0.1
    assert 45 <= taken <= 50


async def test_admins_are_moderators_and_that_is_asked_again_after_a_while(person: SlackHarness, app: App) -> None:
    person.slack.users["UBOSS"] = member("UBOSS", is_admin=True)
    async with person.running(app.dispatcher):
        await person.slash("cache", "stats")
        await person.until("Only moderators may use /cache.")
        await person.slash("cache", "stats", user="UBOSS")
        await person.until("quarantined")
        await person.slash("cache", "stats", user="UBOSS")
        await person.until("quarantined", times=2)
    asked = [given["user"] for method, given in person.slack.calls if method == "users.info"]
    assert asked.count("UBOSS") == 1


STRANGERS = {
    "connect": member("UX", is_stranger=True),
    "other team": member("UX", team_id="T9"),
    "bot": member("UX", is_bot=True),
    "gone": member("UX", deleted=True),
}


@pytest.mark.parametrize("kind", STRANGERS)
async def test_strangers_are_refused_on_every_surface(
    person: SlackHarness, app: App, engine: ScriptedEngine, kind: str
) -> None:
    person.slack.users["UX"] = STRANGERS[kind]
    origin = {"ts": "5.5", "text": "a cat"}
    view = {
        "id": "V9",
        "type": "modal",
        "callback_id": forms.BATCH_VIEW,
        "state": {"values": {"prompts": {"prompts": {"value": "x"}}}},
    }
    opened = forms.Opened(address=Address(team="T1", channel=CHANNEL, user="UX")).model_dump_json()
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a cat", user="UX")
        await person.slash("batch", user="UX")
        await person.mention("a cat", user="UX")
        await person.interact(
            "message_action", user="UX", callback_id="easel_picture", message=origin, channel={"id": CHANNEL}
        )
        await person.interact("view_submission", user="UX", view=view | {"private_metadata": opened})
        await press(person, "v1:reroll:abc:0", user="UX")
        await person.until("Only members of this workspace", times=6)
    assert engine.orders == []
    assert person.slack.views == []
    assert all(map(is_private, person.slack.messages.values()))


async def test_another_team_s_people_are_refused_by_their_team(person: SlackHarness, app: App) -> None:
    async with person.running(app.dispatcher):
        await person.mention("a cat", user_team="T9")
        await person.until("Only members of this workspace")


async def test_a_refused_token_ends_the_adapter_with_one_sentence(person: SlackHarness, app: App) -> None:
    person.slack.faults["apps.connections.open"].append(Fault(error="invalid_auth"))
    with pytest.raises(DeliveryError, match="Slack does not know one of the tokens"):
        async with person.running(app.dispatcher):
            raise AssertionError("it must not start")


MANY = {"slack_http": True, "slack_signing_secret": "s", "slack_client_id": "c", "slack_client_secret": "s"}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"slack_bot_token": "xoxb-1"}, "Slack needs EASEL_SLACK_APP_TOKEN, too."),
        ({"slack_app_token": "xapp-1"}, "Slack needs EASEL_SLACK_BOT_TOKEN, too."),
        ({"slack_http": True}, "needs EASEL_SLACK_SIGNING_SECRET, EASEL_SLACK_BOT_TOKEN, too"),
        ({"slack_http": True, "slack_bot_token": "xoxb-1"}, "EASEL_SLACK_SIGNING_SECRET"),
        ({"slack_client_id": "c", "slack_client_secret": "s"}, "--slack-http"),
        (MANY | {"slack_client_secret": None}, "EASEL_SLACK_CLIENT_SECRET"),
        (MANY | {"slack_bot_token": "xoxb-1"}, "not both"),
    ],
)
def test_half_a_setup_is_one_sentence(tmp_path: Path, given: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(named)):
        slack.make(Settings(home=tmp_path, **given))


@pytest.mark.parametrize(
    "given",
    [
        {"slack_bot_token": "xoxb-1", "slack_app_token": "xapp-1"},
        {"slack_bot_token": "xoxb-1", "slack_signing_secret": "s", "slack_http": True},
        MANY,
    ],
)
def test_a_whole_setup_makes_an_adapter(tmp_path: Path, given: dict[str, Any]) -> None:
    made = slack.make(Settings(home=tmp_path, **given))
    assert made is not None
    assert made.name == "slack"
    assert slack.make(Settings(home=tmp_path)) is None


def delivery(caption: str, pictures: int) -> Delivery:
    image = Image(index=0, data=b"", request=resolved("x"), key="0", generation_key="0", cached=Cached.NONE, seconds={})
    shown = [
        Picture(image=image.model_copy(update={"index": n}), file_name="x", alt_text="x", caption=caption, notes=("n",))
        for n in range(pictures)
    ]
    return Delivery(job="abcdefgh", part=1, parts=1, nonce="n", attempt=1, pictures=tuple(shown))


@SLOW
@given(HOSTILE, st.integers(1, 10))
def test_no_text_comes_alive_and_every_message_fits(text: str, pictures: int) -> None:
    for made in (blocks.answer(text * 50), blocks.under("abcdefgh", blocks.lines(delivery(text * 50, pictures)), "en")):
        message = content(text, made)
        assert slack_blocks.problems(message["blocks"]) == []
        assert slack_blocks.live(message) == []
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in "".join(slack_blocks.words(made))


@SLOW
@given(HOSTILE)
def test_a_form_fits_whatever_it_is_opened_with(text: str) -> None:
    address = Address(team="T" * 12, channel="C" * 12, user="U" * 12)
    opened = forms.Opened(address=address, image_of="abcdefgh 1")
    nowhere = forms.Opened(address=address.model_copy(update={"channel": ""}))
    prompt = "".join(c for c in text if c.isprintable()).strip()[:2000] or "x"
    request = ImageRequest(prompt=prompt, negative_prompt=prompt, model=prompt[:200], style=prompt[:50])
    offered = {"model": [text, "emoji"], "style": [prompt[:50], "photo"]}
    for view in (
        forms.batch_view(opened, "en", text),
        forms.imagine_view(nowhere, "en", offered, request, asks_for_image=True),
        forms.setting_view(opened, "en", ["strict", text]),
    ):
        assert slack_blocks.view_problems(view) == []
        assert slack_blocks.live(view) == []


@SLOW
@given(HOSTILE)
def test_a_refusal_a_notice_and_a_page_fit_and_show_nothing_alive(text: str) -> None:
    given = [Button(label=text, command="moderation", text=f"allow {text}") for _ in range(30)]
    for made in (
        blocks.refusal(text, "abcdefgh", 0, "en"),
        blocks.notice(text * 50, given),
        blocks.progress(text, "abcdefgh", "en", "F1"),
    ):
        message = content(text, made)
        assert slack_blocks.problems(message["blocks"]) == []
        assert slack_blocks.live(message) == []
    assert slack_blocks.view_problems(home.message(text)) == []


def test_the_checks_themselves_find_what_slack_refuses() -> None:
    button = {"type": "button", "action_id": "a", "text": plain_text("x" * 76), "value": "v"}
    assert slack_blocks.problems([{"type": "actions", "elements": [button]}])[-1] == "text of 76 characters"
    assert slack_blocks.problems([{"type": "section", "text": plain_text("x")}] * 51) == ["51 blocks"]
    assert "is not one of" in slack_blocks.problems([{"type": "nonsense"}])[0]
    assert '"elements" is a required' in slack_blocks.problems([{"type": "actions"}])[0]
    wrong = {"type": "actions", "elements": [{"type": "button", "text": plain_text("x"), "colour": "red"}]}
    assert '"colour"' in slack_blocks.problems([wrong])[0]
    assert slack_blocks.live({"text": "<!channel>"}) == ["<!channel>"]
    assert slack_blocks.live({"text": "", "blocks": [{"type": "mrkdwn", "text": "*x*"}]}) == ["*x*"]


PLACE = Address(team="T1", channel="C1", user="U1").place


def job_of(text: str, words: str) -> JobRow:
    """A job whose pictures stand in Slack."""
    posted = Posted(channel="C1", files={0: "F1", 1: "F2"}).model_dump_json()
    return JobRow(
        id="abcdefgh",
        event="e",
        place=PLACE,
        requester=Requester(platform="slack", id="T1/U1", name=text),
        reply_to="",
        command="imagine",
        asked=(ImageRequest(prompt=words),) * 3,
        requests=(resolved(words),) * 3,
        seeds_free=False,
        state=JobState.DELIVERED,
        runner="r",
        created=1e9,
        updated=1e9,
        pictures=tuple(PictureRow(index=index, state=PictureState.RENDERED) for index in range(3)),
        deliveries=(DeliveryRow(job="abcdefgh", part=1, nonce="n", delivered=True, message_id=posted, attempts=1),),
    )


def page_of(text: str) -> Home:
    """A moderator's page on which everything that somebody may have typed is this text."""
    words = "".join(c for c in text if c.isprintable()).strip()[:500] or "x"
    told = {"created": 1e9, "person": text, "scope": PLACE.scope}
    about = {**told, "id": "abc", "job": "abcdefgh", "index": 0, "reason": text}
    desk = HomeDesk(
        settings=Community(channels=(words[:200],), watermark_text=words[:100]),
        cache=CacheStats(entries=1, finished=1, unmarked=0, bytes=1, max_bytes=1, hits=1, misses=1, quarantined=0),
        appeals=(Appeal(**about, prompt=text, digest="d", layer=Layer.KEYWORDS, categories=(text,)),),
        reports=(Report(**about),),
        bans=(Ban(**told, reason=text, actor=text),) * 3,
        audit=(AuditEntry(created=1e9, actor=text, action=text, target=text, scope=text, detail=text),) * 30,
    )
    jobs = [job_of(text, words).model_copy(update={"id": f"job{number}"}) for number in range(11)]
    usage = Usage(used=1, limit=2, resets_in=3.0)
    return Home(role=Role.MODERATOR, usage=usage, running=tuple(jobs[:1]), recent=tuple(jobs[1:]), desk=desk)


@SLOW
@given(HOSTILE)
def test_the_app_home_fits_and_shows_nothing_alive(text: str) -> None:
    view = home.view(page_of(text), "en")
    assert slack_blocks.view_problems(view) == []
    assert slack_blocks.live(view) == []
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in "".join(slack_blocks.words(view["blocks"]))
