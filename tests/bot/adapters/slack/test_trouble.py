"""What goes wrong at Slack: limits, lost answers, closed channels, strangers, hostile texts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.adapters import slack
from bot.adapters.slack import blocks
from bot.adapters.slack.address import Address
from bot.adapters.slack.surface import RESPONSES, ResponseUrl, Updates
from bot.adapters.slack.web import LASTING, content, refused
from bot.app import App
from bot.chat import Delivery, Picture
from bot.errors import DeliveryError, SettingsError
from bot.settings import Settings
from engine.types import Cached, Failed, Image
from tests.bot.adapters.slack.test_answers import finished, is_private, press, said
from tests.bot.workbench import ManualClock, resolved
from tests.contract.slack import SlackHarness
from tests.fakes import slack_blocks
from tests.fakes.engine_client import ScriptedEngine
from tests.fakes.slack import CHANNEL, Fault, member

SLOW = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
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


async def test_a_closed_channel_is_told_to_the_person(person: SlackHarness, app: App) -> None:
    person.slack.invited.clear()
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.until("invite it with /invite @easel")
    assert is_private(said(person, "/invite"))
    assert person.pictures() == []


@pytest.mark.parametrize("code", ["not_in_channel", "token_revoked", "is_archived", "missing_scope"])
async def test_a_refusal_for_good_is_told_and_not_repeated(person: SlackHarness, app: App, code: str) -> None:
    person.slack.faults["files.completeUploadExternal"].append(Fault(error=code))
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a red apple")
        await person.until(refused(code).sentence)
    assert [method for method, _ in person.slack.calls].count("files.completeUploadExternal") == 1


@pytest.mark.parametrize("code", [*LASTING, "ratelimited", "fatal_error", "something_new"])
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
        "callback_id": blocks.BATCH_VIEW,
        "state": {"values": {"prompts": {"prompts": {"value": "x"}}}},
    }
    address = Address(team="T1", channel=CHANNEL, user="UX").model_dump_json()
    async with person.running(app.dispatcher):
        await person.slash("imagine", "a cat", user="UX")
        await person.slash("batch", user="UX")
        await person.mention("a cat", user="UX")
        await person.interact(
            "message_action", user="UX", callback_id="easel_picture", message=origin, channel={"id": CHANNEL}
        )
        await person.interact("view_submission", user="UX", view=view | {"private_metadata": address})
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


def test_half_a_setup_is_one_sentence(tmp_path: Path) -> None:
    assert slack.make(Settings(home=tmp_path)) is None
    with pytest.raises(SettingsError, match="EASEL_SLACK_APP_TOKEN"):
        slack.make(Settings(home=tmp_path, slack_bot_token="xoxb-1"))
    with pytest.raises(SettingsError, match="EASEL_SLACK_BOT_TOKEN"):
        slack.make(Settings(home=tmp_path, slack_app_token="xapp-1"))
    made = slack.make(Settings(home=tmp_path, slack_bot_token="xoxb-1", slack_app_token="xapp-1"))
    assert made is not None
    assert made.name == "slack"


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
    for made in (blocks.answer(text * 50), blocks.under_pictures(delivery(text * 50, pictures), "en")):
        message = content(text, made)
        assert slack_blocks.problems(message["blocks"]) == []
        assert slack_blocks.live(message) == []
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in "".join(slack_blocks.words(made))


@SLOW
@given(HOSTILE)
def test_a_form_fits_whatever_it_is_opened_with(text: str) -> None:
    address = Address(team="T" * 12, channel="C" * 12, user="U" * 12).model_dump_json()
    assert slack_blocks.view_problems(blocks.batch_view(address, "en", text)) == []


def test_the_checks_themselves_find_what_slack_refuses() -> None:
    button = {"type": "button", "action_id": "a", "text": blocks.plain_text("x" * 76), "value": "v"}
    assert slack_blocks.problems([{"type": "actions", "elements": [button]}])[-1] == "text of 76 characters"
    assert slack_blocks.problems([{"type": "section", "text": blocks.plain_text("x")}] * 51) == ["51 blocks"]
    assert slack_blocks.problems([{"type": "nonsense"}]) == ["unknown block nonsense"]
    assert slack_blocks.live({"text": "<!channel>"}) == ["<!channel>"]
    assert slack_blocks.live({"text": "", "blocks": [{"type": "mrkdwn", "text": "*x*"}]}) == ["*x*"]
