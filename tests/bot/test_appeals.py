from __future__ import annotations

import pytest

from bot.app import App
from bot.chat import Failure, Notice, Refusal, Reply, Requester
from bot.store.rows import AppealState
from engine.types import BLOCKED_WORD, CacheEntry, Event, Image, Layer, Refused, ResolvedRequest
from tests.bot.talk import (
    ADA,
    BOB,
    ELSEWHERE,
    HERE,
    MODERATOR,
    OPERATOR,
    ask,
    complaint,
    drawn,
    invocation,
    made,
    reply,
)
from tests.bot.test_handlers import entry
from tests.fakes.engine_client import ScriptedEngine


class Filter(ScriptedEngine):
    """Refuses prompts about sins by a layer, unless that layer is waived."""

    def __init__(self, layer: Layer = Layer.KEYWORDS) -> None:
        super().__init__()
        self.layer = layer

    def _end(self, index: int, request: ResolvedRequest) -> Event:
        if "sin" in request.prompt and self.layer not in request.waived:
            return Refused(index=index, layer=self.layer, categories=("gluttony",))
        return super()._end(index, request)


@pytest.fixture
def engine() -> ScriptedEngine:
    return Filter()


async def refused(app: App, prompt: str, *, who: Requester = ADA) -> Refusal:
    update = (await ask(app.dispatcher, invocation("imagine", prompt, who=who)))[-1]
    assert isinstance(update, Refusal)
    return update


async def appealed(app: App, prompt: str = "a sin", reason: str = "it is art") -> str:
    job = (await refused(app, prompt)).job
    appeal: str = (await reply(app, "appeal", f"{job} {reason}")).data["id"]
    return appeal


async def test_an_allowed_prompt_passes_for_the_person_and_the_place(app: App, engine: ScriptedEngine) -> None:
    appeal = await appealed(app)
    listed = await reply(app, "moderation", "appeals", who=MODERATOR)
    (waiting,) = listed.data["appeals"]
    assert (waiting["id"], waiting["person"], waiting["reason"]) == (appeal, ADA.key, "it is art")
    assert "gluttony" in listed.text
    done = await reply(app, "moderation", f"allow {appeal}", who=MODERATOR)
    assert done.text == 'test:ada may now have "a sin" drawn here.'
    assert "No appeals are waiting" in (await reply(app, "moderation", "appeals", who=MODERATOR)).text
    assert (await drawn(app, "a sin")).pictures
    assert engine.orders[-1].requests[0].waived == (Layer.KEYWORDS,)
    await refused(app, "a sin", who=BOB)
    await refused(app, "another sin")
    await refused(app, "a sin --negative light")
    assert (await ask(app.dispatcher, invocation("imagine", "a sin", place=ELSEWHERE)))[-1].kind == "refusal"
    (entry,) = (await reply(app, "moderation", "audit", who=MODERATOR)).data["entries"]
    assert (entry["action"], entry["target"], entry["detail"]) == ("appeal.allowed", ADA.key, appeal)


async def test_the_person_is_told_once_when_they_next_ask(app: App) -> None:
    allowed, denied = await appealed(app, "a sin"), await appealed(app, "a big sin")
    await reply(app, "moderation", f"allow {allowed}", who=MODERATOR)
    await reply(app, "moderation", f"deny {denied}", who=MODERATOR)
    updates = await ask(app.dispatcher, invocation("imagine", "a cat"))
    assert updates[0].kind == "queued"
    told = [update for update in updates if isinstance(update, Notice)]
    assert [notice.text for notice in told] == [
        'A moderator allowed your prompt "a sin": ask for it again.',
        'A moderator looked at your prompt "a big sin" and did not allow it.',
    ]
    assert {notice.channel for notice in told} == {None}
    assert not [u for u in await ask(app.dispatcher, invocation("imagine", "a cat")) if isinstance(u, Notice)]


async def test_a_decision_can_be_changed(app: App) -> None:
    appeal = await appealed(app)
    await reply(app, "moderation", f"allow {appeal}", who=MODERATOR)
    await drawn(app, "a sin")
    await reply(app, "moderation", f"deny {appeal.upper()}", who=MODERATOR)
    await refused(app, "a sin")


@pytest.mark.parametrize("layer", Layer)
async def test_only_two_layers_know_an_appeal(app: App, engine: Filter, layer: Layer) -> None:
    engine.layer = layer
    refusal = await refused(app, "a sin")
    assert refusal.appealable is layer.waivable
    (update,) = await ask(app.dispatcher, invocation("appeal", str(refusal.job)))
    assert isinstance(update, Reply if layer.waivable else Failure)
    if isinstance(update, Failure):
        assert "no moderator can allow it" in update.text


async def test_no_moderator_allows_a_word_that_the_operator_blocked(app: App, engine: ScriptedEngine) -> None:
    engine.endings["a word"] = lambda index: Refused(index=index, layer=Layer.KEYWORDS, categories=(BLOCKED_WORD,))
    refusal = await refused(app, "a word")
    assert not refusal.appealable
    assert "no moderator can allow it" in (await complaint(app, "appeal", str(refusal.job))).text


async def test_an_order_that_waives_zero_tolerance_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="waived"):
        ResolvedRequest.model_validate({"waived": ("zero-tolerance",)})


async def test_asking_twice_is_one_appeal(app: App) -> None:
    job = (await refused(app, "a sin")).job
    first = await reply(app, "appeal", f"{job} 1 please")
    again = await reply(app, "appeal", f"{job} please please")
    assert first.data["id"] == again.data["id"]
    assert again.data["reason"] == "please"


@pytest.mark.parametrize(
    ("text", "who", "sentence"),
    [
        ("nothing", ADA, "There is no job"),
        ("{job} 2", ADA, "/appeal JOB [NUMBER] [REASON]"),
        ("{job}", BOB, "somebody else's"),
        ("{drawn}", ADA, "was not refused"),
        ("", ADA, "/appeal JOB [NUMBER] [REASON]"),
    ],
)
async def test_what_cannot_be_appealed_is_said(app: App, text: str, who: Requester, sentence: str) -> None:
    jobs = {"job": (await refused(app, "a sin")).job, "drawn": (await drawn(app, "a cat")).job}
    assert sentence in (await complaint(app, "appeal", text.format(**jobs), who=who)).text


async def test_nobody_fills_the_moderators_desk(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.appeals.MAX_OPEN", 2)
    await appealed(app, "sin one")
    await appealed(app, "sin two", "x" * 5000)
    job = (await refused(app, "sin three")).job
    assert "2 appeals of yours wait" in (await complaint(app, "appeal", str(job))).text
    listed = await reply(app, "moderation", "appeals", who=OPERATOR)
    assert max(len(asked["reason"]) for asked in listed.data["appeals"]) == 500


async def test_decisions_are_the_communitys_own(app: App) -> None:
    appeal = await appealed(app)
    for action in ("allow", "deny"):
        text = f"{action} {appeal}"
        assert "no appeal" in (await complaint(app, "moderation", text, who=MODERATOR, place=ELSEWHERE)).text
        assert "Only moderators" in (await complaint(app, "moderation", text, who=BOB)).text
    assert "No appeals" in (await reply(app, "moderation", "appeals", who=MODERATOR, place=ELSEWHERE)).text
    assert (await reply(app, "moderation", f"allow {appeal}", who=OPERATOR, place=ELSEWHERE)).data["state"] == "allowed"
    assert "/moderation allow" in (await complaint(app, "moderation", "allow", who=MODERATOR)).text


async def test_the_moderators_are_told_of_an_appeal_once(app: App) -> None:
    await reply(app, "settings", "set log_channel <#99>", who=MODERATOR)
    job = (await refused(app, "a sin")).job
    answers = [await ask(app.dispatcher, invocation("appeal", f"{job} because")) for _ in range(3)]
    assert [[update.kind for update in updates] for updates in answers] == [["reply", "notice"], ["reply"], ["reply"]]
    (appeal,) = (await reply(app, "moderation", "appeals", who=MODERATOR)).data["appeals"]
    await reply(app, "moderation", f"deny {appeal['id']}", who=MODERATOR)
    assert "did not allow it" in (await reply(app, "appeal", f"{job} please")).text


async def test_the_log_channel_gets_buttons(app: App) -> None:
    await reply(app, "settings", "set log_channel <#99>", who=MODERATOR)
    job = (await refused(app, "a sin")).job
    answer, notice = await ask(app.dispatcher, invocation("appeal", f"{job} because"))
    assert isinstance(answer, Reply)
    assert isinstance(notice, Notice)
    assert (notice.channel, notice.job, notice.index) == ("99", job, 0)
    assert "a sin" in notice.text
    assert "because" in notice.text
    for button, state in zip(notice.buttons, AppealState, strict=False):
        assert button.command == "moderation"
        assert (await reply(app, button.command, button.text, who=MODERATOR)).data["state"] != "open", state
    assert not notice.buttons[0].label.startswith("appeal.")


async def test_a_report_reaches_the_moderators(app: App) -> None:
    await reply(app, "settings", "set log_channel 99", who=MODERATOR)
    job = (await drawn(app, "an ugly cat")).job
    answer, notice = await ask(app.dispatcher, invocation("report", f"{job} so ugly", who=BOB))
    assert isinstance(answer, Reply)
    assert isinstance(notice, Notice)
    assert "an ugly cat" in notice.text
    assert "so ugly" in notice.text
    (told,) = (await reply(app, "moderation", "reports", who=MODERATOR)).data["reports"]
    assert (told["job"], told["index"], told["person"], told["reason"]) == (job, 0, BOB.key, "so ugly")
    assert "before" in (await reply(app, "report", job, who=BOB)).text
    delete, show, quarantine = notice.buttons
    assert (quarantine.command, quarantine.text.partition(" ")[0]) == ("cache", "quarantine")
    assert (await reply(app, show.command, show.text, who=MODERATOR)).data["job"] == job
    (update,) = await ask(app.dispatcher, invocation(delete.command, delete.text, who=MODERATOR))
    assert update.kind == "removed"
    assert "No reports" in (await reply(app, "moderation", "reports", who=MODERATOR)).text


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_reported_picture_is_withheld_whatever_the_cache_holds(
    app: App, engine: ScriptedEngine, deleted: bool
) -> None:
    await reply(app, "settings", "set log_channel 99", who=MODERATOR)
    first = await drawn(app, "an ugly cat --seed 7")
    _, notice = await ask(app.dispatcher, invocation("report", first.job, who=BOB))
    assert isinstance(notice, Notice)
    delete, _, quarantine = notice.buttons
    if deleted:
        await ask(app.dispatcher, invocation(delete.command, delete.text, who=MODERATOR))
    else:
        engine.entries = [shared(first.pictures[0].image)]
    refused_there = await complaint(app, quarantine.command, quarantine.text, who=MODERATOR, place=ELSEWHERE)
    assert "holds no picture" in refused_there.text
    await reply(app, quarantine.command, quarantine.text, who=MODERATOR)
    (held,) = (await reply(app, "cache", "quarantine", who=MODERATOR)).data["quarantined"]
    assert held["key"] == first.pictures[0].image.generation_key
    assert (held["owner"], held["prompt"]) == (ADA.key, "an ugly cat")
    refusal = (await ask(app.dispatcher, invocation("imagine", "an ugly cat --seed 7")))[-1]
    assert isinstance(refusal, Refusal)
    assert refusal.categories == ("quarantined",)


async def test_the_operator_withholds_a_picture_of_any_community(app: App) -> None:
    key = (await drawn(app, "a cat --seed 7", place=ELSEWHERE)).pictures[0].image.key
    assert (await reply(app, "cache", f"quarantine {key[:8].upper()}", who=OPERATOR)).data["key"] == key
    (held,) = (await reply(app, "cache", "quarantine", who=MODERATOR)).data["quarantined"]
    assert held["owner"] == ADA.key


async def test_too_few_digits_of_a_key_withhold_nothing(app: App) -> None:
    key = (await drawn(app, "a cat --seed 7")).pictures[0].image.key
    assert "holds no picture" in (await complaint(app, "cache", f"quarantine {key[:7]}", who=MODERATOR)).text
    assert "holds no picture" in (await complaint(app, "cache", "quarantine 00000000", who=MODERATOR)).text


def shared(image: Image) -> CacheEntry:
    """The file of a picture in a cache that all communities share."""
    return entry("a", scope="*").model_copy(update={"key": image.generation_key})


async def test_only_its_own_community_is_told_of_an_appeal(app: App) -> None:
    for place in (HERE, ELSEWHERE):
        await reply(app, "settings", f"set log_channel {place.channel}", who=MODERATOR, place=place)
    job = (await refused(app, "a sin")).job
    answer = await reply(app, "appeal", f"{job} because", place=ELSEWHERE)
    assert "waits in the list of its own community's moderators" in answer.text
    (waiting,) = (await reply(app, "moderation", "appeals", who=MODERATOR)).data["appeals"]
    assert answer.data["id"] in answer.text
    assert waiting["id"] == answer.data["id"]


async def test_only_its_own_community_is_told_of_a_report(app: App) -> None:
    for place in (HERE, ELSEWHERE):
        await reply(app, "settings", f"set log_channel {place.channel}", who=MODERATOR, place=place)
    job = (await drawn(app, "an ugly cat")).job
    answer = await reply(app, "report", f"{job} so ugly", place=ELSEWHERE)
    assert answer.text == f"Picture 1 of job {job} waits in the list of its own community's moderators."
    assert (await reply(app, "moderation", "reports", who=MODERATOR)).data["reports"]
    assert "before" in (await reply(app, "report", job, place=ELSEWHERE)).text


async def test_the_operator_puts_a_report_aside_from_anywhere(app: App) -> None:
    await reply(app, "report", (await drawn(app, "a cat")).job, who=BOB)
    (told,) = (await reply(app, "moderation", "reports", who=OPERATOR, place=ELSEWHERE)).data["reports"]
    await reply(app, "moderation", f"dismiss {told['id']}", who=OPERATOR, place=ELSEWHERE)
    assert "No reports" in (await reply(app, "moderation", "reports", who=MODERATOR)).text
    (entry,) = (await reply(app, "moderation", "audit", who=MODERATOR)).data["entries"]
    assert (entry["action"], entry["target"], entry["actor"]) == ("report.dismissed", told["id"], OPERATOR.key)


async def test_a_report_can_be_put_aside(app: App) -> None:
    delivery = await made(app, "batch", "a cat\na dog")
    await reply(app, "report", f"{delivery.job} 2", who=BOB)
    (told,) = (await reply(app, "moderation", "reports", who=MODERATOR)).data["reports"]
    assert told["index"] == 1
    text = f"dismiss {told['id']}"
    assert "no open report" in (await complaint(app, "moderation", text, who=MODERATOR, place=ELSEWHERE)).text
    assert "put aside" in (await reply(app, "moderation", text, who=MODERATOR, place=HERE)).text
    assert "no open report" in (await complaint(app, "moderation", text, who=MODERATOR)).text
