from __future__ import annotations

import pytest

from bot.app import App
from bot.chat import Delivery, Refusal
from bot.grammar import parse
from bot.handlers.table import COMMANDS
from bot.messages import catalogue
from engine.errors import WeightsError
from engine.types import CacheEntry, Layer, Refused
from tests.bot.talk import ADA, BOB, ELSEWHERE, HERE, MODERATOR, OPERATOR, ask, complaint, drawn, invocation, reply
from tests.fakes.engine_client import ScriptedEngine


def entry(key: str, scope: str = HERE.scope, owner: str = ADA.key, prompt: str = "a cat") -> CacheEntry:
    return CacheEntry(key=key * 64, tier="finished", scope=scope, owner=owner, prompt=prompt, model="emoji", seed=7,
                      width=64, height=64, bytes=2048, sha256="s", created=0.0, last_used=0.0, uses=3,
                      parameters={"prompt": prompt, "negative_prompt": "", "seed": 0, "sampler": "ddim",
                                  "strict": False})  # fmt: skip


async def test_a_picture_carries_what_people_need_beside_it(app: App) -> None:
    delivery = await drawn(app, "a cat --seed 7")
    (picture,) = delivery.pictures
    assert picture.file_name == f"{delivery.job}-1.png"
    assert picture.alt_text == "Generated picture: a cat"
    assert picture.caption.startswith("seed 7 · 64x64")


async def test_text_and_typed_options_give_the_same_job(app: App, engine: ScriptedEngine) -> None:
    await drawn(app, "a cat --seed 7 --size 64x128")
    options = {"prompt": "a cat", "seed": "7", "width": 64, "height": 128}
    await ask(app.dispatcher, invocation("imagine", options=options))
    assert engine.orders[0].requests == engine.orders[1].requests
    await ask(app.dispatcher, invocation("batch", options={"prompts": "a cat\na dog", "seed": 7}))
    assert [request.prompt for request in engine.orders[2].requests] == ["a cat", "a dog"]


async def test_only_drawn_seeds_are_free(app: App, engine: ScriptedEngine) -> None:
    await drawn(app, "a cat")
    await drawn(app, "a cat --seed 7")
    await ask(app.dispatcher, invocation("batch", "a cat\na dog --seed 7"))
    assert [order.seeds_free for order in engine.orders] == [True, False, False]
    assert 0 <= engine.orders[0].requests[0].seed < 2**32


async def test_a_batch_goes_on_after_a_refusal(app: App, engine: ScriptedEngine) -> None:
    engine.endings["a sin"] = lambda index: Refused(index=index, layer=Layer.KEYWORDS, categories=("gore",))
    updates = await ask(app.dispatcher, invocation("batch", "a cat\na sin\na dog"))
    (refusal,) = [update for update in updates if isinstance(update, Refusal)]
    assert (refusal.index, refusal.layer) == (1, Layer.KEYWORDS)
    (delivery,) = [update for update in updates if isinstance(update, Delivery)]
    assert [picture.image.index for picture in delivery.pictures] == [0, 2]


async def test_the_mark_may_be_left_off_by_moderators_only(app: App, engine: ScriptedEngine) -> None:
    assert isinstance(await complaint(app, "imagine", "a cat --no-watermark"), Refusal)
    await drawn(app, "a cat --no-watermark", who=MODERATOR)
    assert engine.orders[0].requests[0].watermark is False


async def test_history_is_ones_own_and_of_this_place(app: App) -> None:
    assert "no jobs" in (await reply(app, "history")).text
    first = await drawn(app, "a cat")
    await drawn(app, "a dog", who=BOB)
    await drawn(app, "a cow", place=ELSEWHERE)
    answer = await reply(app, "history")
    assert [job["job"] for job in answer.data["jobs"]] == [first.job]
    assert "a cat" in answer.text
    assert "delivered" in answer.text


async def test_show_gives_the_command_that_repeats_the_picture(app: App, engine: ScriptedEngine) -> None:
    delivery = await drawn(app, 'a "big" cat --style photo --negative "--force"')
    answer = await reply(app, "show", delivery.job.upper())
    assert "delivered, 1 picture" in answer.text
    (command,) = answer.data["commands"]
    assert command in answer.text
    again = await drawn(app, command.removeprefix("/imagine "))
    assert again.pictures[0].image.request == delivery.pictures[0].image.request
    assert parse(command.removeprefix("/imagine ")).style == "photo"


async def test_show_says_why_a_job_failed(app: App, engine: ScriptedEngine) -> None:
    engine.faults["a bug"] = WeightsError("The weights are gone.")
    engine.endings["a sin"] = lambda index: Refused(index=index, layer=Layer.IMAGE, categories=("gore",))
    await ask(app.dispatcher, invocation("imagine", "a bug"))
    await ask(app.dispatcher, invocation("imagine", "a sin"))
    failed, refused = [await reply(app, "show", order.job) for order in engine.orders]
    assert "failed" in failed.text
    assert failed.text.count("Reason: The weights are gone.") == 1
    assert "refused" in refused.text
    assert "withheld it (gore)" in refused.text


async def test_show_tells_others_of_the_pictures_that_they_see(app: App, engine: ScriptedEngine) -> None:
    engine.endings["a sin"] = lambda index: Refused(index=index, layer=Layer.IMAGE, categories=("gore",))
    updates = await ask(app.dispatcher, invocation("batch", "a cat --seed 7\na sin\na dog --seed 8"))
    job = next(update.job for update in updates if isinstance(update, Delivery))
    shown = await reply(app, "show", job, who=BOB)
    assert shown.data["commands"] == ["/imagine a cat --seed 7", "/imagine a dog --seed 8"]
    assert "sin" not in shown.text
    assert "gore" not in shown.text
    assert "a sin" in (await reply(app, "show", job)).text


async def test_show_keeps_jobs_from_strangers(app: App, engine: ScriptedEngine) -> None:
    engine.endings["a sin"] = lambda index: Refused(index=index, layer=Layer.IMAGE, categories=("gore",))
    await ask(app.dispatcher, invocation("imagine", "a sin"))
    assert "somebody else's" in (await complaint(app, "show", engine.orders[0].job, who=BOB)).text
    job = (await drawn(app, "a cat --private")).job
    assert (await complaint(app, "show", job, who=BOB)).text == f"Job {job} is somebody else's."
    assert "no job" in (await complaint(app, "show", job, who=BOB, place=ELSEWHERE)).text
    assert "no job" in (await complaint(app, "show", job, who=MODERATOR, place=ELSEWHERE)).text
    assert (await reply(app, "show", job, who=MODERATOR)).data["job"] == job
    assert (await reply(app, "show", job, who=OPERATOR, place=ELSEWHERE)).data["job"] == job
    assert (await reply(app, "show", job, place=ELSEWHERE)).data["job"] == job


async def test_a_job_that_has_ended_cannot_be_cancelled(app: App) -> None:
    job = (await drawn(app, "a cat")).job
    answer = await reply(app, "cancel", job)
    assert answer.data == {"job": job, "cancelled": False}
    assert "already ended" in answer.text
    assert isinstance(await complaint(app, "cancel", job, who=BOB), Refusal)


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("show", "/show JOB"),
        ("cancel", "/cancel JOB"),
        ("cache", "/cache stats|list"),
        ("moderation", "/moderation ban"),
    ],
)
async def test_a_missing_word_is_answered_with_the_usage(app: App, command: str, usage: str) -> None:
    answer = await complaint(app, command, who=OPERATOR)
    assert f"Write it like this: {usage}" in answer.text


async def test_quota_counts_what_was_asked_today(app: App) -> None:
    await drawn(app, "a cat")
    answer = await reply(app, "quota")
    assert answer.text.startswith("1 picture today, of 10; it starts anew in ")
    assert (answer.data["used"], answer.data["limit"]) == (1, 10)
    assert (await reply(app, "quota", who=OPERATOR)).text == "0 pictures today, with no limit."


async def test_help_shows_what_this_person_may_use(app: App) -> None:
    member, operator = await reply(app, "help"), await reply(app, "help", who=OPERATOR)
    assert "/imagine PROMPT" in member.text
    assert "--steps N - Denoising steps: more are slower and finer. (1 to 100)" in member.text
    assert "--no-watermark - Leave the visible mark off" in member.text
    assert "--style photo|painting" in member.text
    assert "/cache" not in member.text
    assert "/cache" in operator.text
    assert operator.data["commands"].keys() == COMMANDS.keys()


def test_every_command_is_explained() -> None:
    assert {key.removeprefix("command.") for key in catalogue("en") if key.startswith("command.")} == COMMANDS.keys()


async def test_moderators_look_after_their_own_cache(app: App, engine: ScriptedEngine) -> None:
    engine.entries = [entry("a"), entry("b", prompt="a dog"), entry("c", scope=ELSEWHERE.scope)]
    assert "2 pictures" in (await reply(app, "cache", "stats", who=MODERATOR)).text
    assert (await reply(app, "cache", "stats", who=OPERATOR)).data["entries"] == 3
    listed = await reply(app, "cache", "list dog", who=MODERATOR)
    assert [found["key"] for found in listed.data["entries"]] == ["b" * 64]
    assert "a dog" in listed.text
    shown = await reply(app, "cache", "show aaaaaaaa", who=MODERATOR)
    assert shown.data["prompt"] == "a cat"
    assert "\nOptions: seed 0 · sampler ddim\n" in shown.text
    assert "holds no picture" in (await complaint(app, "cache", f"show {'c' * 8}", who=MODERATOR)).text
    removed = await reply(app, "cache", options={"action": "delete", "target": "a" * 64}, who=MODERATOR)
    assert removed.data == {"removed": 1}
    assert (await reply(app, "cache", "clear", who=MODERATOR)).text == "1 file was removed from the cache."
    assert [left.key[0] for left in engine.entries] == ["c"]
    assert "no pictures here" in (await reply(app, "cache", "list", who=MODERATOR)).text


async def test_a_person_can_be_purged_by_either_name(app: App, engine: ScriptedEngine) -> None:
    await reply(app, "cache", "purge-user ada", who=MODERATOR)
    await reply(app, "cache", "purge-user discord:12", who=OPERATOR)
    assert engine.purged == [(HERE.scope, "test:ada"), (None, "discord:12")]
    assert "no person's id" in (await complaint(app, "cache", "purge-user a b", who=MODERATOR)).text


async def test_changes_of_the_cache_are_written_down(app: App, engine: ScriptedEngine) -> None:
    engine.entries = [entry("a")]
    await reply(app, "cache", "delete aaaaaaaa", who=MODERATOR)
    await reply(app, "cache", "purge-user ada", who=OPERATOR)
    (purge, delete) = (await reply(app, "moderation", "audit", who=MODERATOR)).data["entries"]
    assert (delete["action"], delete["target"], delete["actor"]) == ("cache.delete", "a" * 64, MODERATOR.key)
    assert (purge["action"], purge["target"], purge["actor"]) == ("cache.purge-user", "test:ada", OPERATOR.key)


async def test_verifying_is_the_operators(app: App, engine: ScriptedEngine) -> None:
    assert "Only the operator" in (await complaint(app, "cache", "verify", who=MODERATOR)).text
    assert "all are intact" in (await reply(app, "cache", "verify", who=OPERATOR)).text
    engine.entries = [entry("a").model_copy(update={"sha256": ""})]
    answer = await reply(app, "cache", "verify", who=OPERATOR)
    assert answer.data == {"checked": 1, "damaged": ["a" * 64]}
    assert "1 is damaged" in answer.text


async def test_members_may_neither_look_nor_touch(app: App) -> None:
    for command in ("cache", "moderation"):
        answer = await complaint(app, command, "stats")
        assert isinstance(answer, Refusal)
        assert answer.text == f"Only moderators may use /{command}."


async def test_an_unknown_action_is_answered_with_the_nearest(app: App) -> None:
    assert "did you mean /cache stats?" in (await complaint(app, "cache", "stat", who=MODERATOR)).text
    assert "did you mean /moderation unban?" in (await complaint(app, "moderation", "unbann x", who=MODERATOR)).text


async def test_bans_come_into_force_and_can_be_lifted(app: App) -> None:
    done = await reply(app, "moderation", "ban ada 7d very rude", who=MODERATOR)
    assert done.text == "test:ada may not make pictures here for 7 days."
    refusal = await complaint(app, "imagine", "a cat")
    assert isinstance(refusal, Refusal)
    assert "very rude" in refusal.text
    listed = await reply(app, "moderation", "bans", who=MODERATOR)
    assert "very rude" in listed.text
    assert listed.data["bans"][0]["person"] == "test:ada"
    await reply(app, "moderation", "unban ada", who=MODERATOR)
    assert "Nobody is banned" in (await reply(app, "moderation", "bans", who=MODERATOR)).text
    await drawn(app, "a cat")
    assert "not banned" in (await complaint(app, "moderation", "unban ada", who=MODERATOR)).text
    actions = [line["action"] for line in (await reply(app, "moderation", "audit", who=MODERATOR)).data["entries"]]
    assert actions == ["unban", "ban"]


@pytest.mark.parametrize(
    ("options", "ends", "reason"),
    [
        ({"person": "ada"}, False, ""),
        ({"person": "ada", "reason": "so rude"}, False, "so rude"),
        ({"person": "ada", "reason": "3h rude"}, True, "rude"),
        ({"person": "ada", "duration": "3h", "reason": "5d is short"}, True, "5d is short"),
    ],
)
async def test_a_ban_may_have_a_length_and_a_reason(app: App, options: dict[str, str], ends: bool, reason: str) -> None:
    answer = await reply(app, "moderation", options={"action": "ban", **options}, who=MODERATOR)
    assert answer.data["reason"] == reason
    assert (answer.data["until"] is not None) is ends


async def test_a_length_that_is_none_is_bad_input(app: App) -> None:
    options = {"action": "ban", "person": "ada", "duration": "soon"}
    assert "Write it like this" in (await complaint(app, "moderation", options=options, who=MODERATOR)).text


async def test_only_the_operator_bans_everywhere(app: App) -> None:
    assert "Only the operator" in (await complaint(app, "moderation", "ban-everywhere ada", who=MODERATOR)).text
    await reply(app, "moderation", "ban-everywhere ada spam", who=OPERATOR)
    assert "spam" in (await complaint(app, "imagine", "a cat", place=ELSEWHERE)).text
    await reply(app, "moderation", "unban-everywhere ada", who=OPERATOR)
    await drawn(app, "a cat", place=ELSEWHERE)


async def test_moderators_are_appointed_and_dismissed(app: App) -> None:
    assert "is a moderator here now" in (await reply(app, "moderation", "grant bob", who=MODERATOR)).text
    assert "0 pictures" in (await reply(app, "cache", "stats", who=BOB)).text
    assert isinstance(await complaint(app, "cache", "stats", who=BOB, place=ELSEWHERE), Refusal)
    await reply(app, "moderation", "revoke bob", who=MODERATOR)
    assert isinstance(await complaint(app, "cache", "stats", who=BOB), Refusal)


async def test_the_audit_is_empty_at_first(app: App) -> None:
    assert "Nothing has been recorded" in (await reply(app, "moderation", "audit", who=MODERATOR)).text


async def test_reroll_draws_the_same_request_with_another_seed(app: App, engine: ScriptedEngine) -> None:
    job = (await drawn(app, "a cat --seed 7 --steps 3")).job
    update = (await ask(app.dispatcher, invocation("reroll", f"{job} 1", who=BOB)))[-1]
    assert isinstance(update, Delivery)
    first, second = (order.requests[0] for order in engine.orders)
    assert (first.prompt, first.steps) == (second.prompt, second.steps)
    assert first.seed != second.seed


async def test_reroll_keeps_to_what_the_person_sees(app: App) -> None:
    job = (await drawn(app, "a cat")).job
    other_channel = HERE.model_copy(update={"channel": "c2"})
    for who, place in ((BOB, ELSEWHERE), (BOB, other_channel), (MODERATOR, ELSEWHERE)):
        assert "There is no job" in (await complaint(app, "reroll", job, who=who, place=place)).text
    assert "/reroll JOB [NUMBER]" in (await complaint(app, "reroll", f"{job} 2")).text
    assert (await ask(app.dispatcher, invocation("reroll", job, who=MODERATOR, place=other_channel)))[-1]


async def test_flags_in_a_prompt_give_way_to_options_beside_it(app: App, engine: ScriptedEngine) -> None:
    await ask(app.dispatcher, invocation("imagine", "a cat --steps 9 --seed 7", options={"steps": 3}))
    (request,) = engine.orders[0].requests
    assert (request.prompt, request.steps, request.seed) == ("a cat", 3, 7)


async def test_a_picture_in_quarantine_reaches_nobody(app: App, engine: ScriptedEngine) -> None:
    delivery = await drawn(app, "a cat --seed 7")
    key = delivery.pictures[0].image.key
    engine.entries = [entry("a").model_copy(update={"key": key, "prompt": "a cat"})]
    assert "No picture is in quarantine" in (await reply(app, "cache", "quarantine", who=MODERATOR)).text
    await reply(app, "cache", f"quarantine {key[:16]}", who=MODERATOR)
    (held,) = (await reply(app, "cache", "quarantine", who=MODERATOR)).data["quarantined"]
    assert (held["key"], held["prompt"], held["actor"]) == (key, "a cat", MODERATOR.key)
    refused = (await ask(app.dispatcher, invocation("imagine", "a cat --seed 7", who=BOB)))[-1]
    assert isinstance(refused, Refusal)
    assert (refused.categories, refused.appealable) == (("quarantined",), False)
    assert "A moderator withholds this picture" in refused.text
    assert (await ask(app.dispatcher, invocation("send", delivery.job)))[-1].kind == "refusal"
    await drawn(app, "a cat --seed 8")
    await drawn(app, "a cat --seed 7", place=ELSEWHERE)
    gallery = await app.dispatcher.gallery(ADA, HERE)
    assert await gallery.picture(delivery.job, 1) is None
    assert "/cache release KEY" in (await complaint(app, "cache", "release abc", who=MODERATOR)).text
    text = f"release {key[:8].upper()}"
    assert "in quarantine here" in (await complaint(app, "cache", text, who=MODERATOR, place=ELSEWHERE)).text
    assert "is released" in (await reply(app, "cache", text, who=MODERATOR)).text
    await drawn(app, "a cat --seed 7")
    actions = [line["action"] for line in (await reply(app, "moderation", "audit", who=MODERATOR)).data["entries"]]
    assert actions == ["release", "quarantine"]


async def test_the_operator_quarantines_everywhere(app: App, engine: ScriptedEngine) -> None:
    key = (await drawn(app, "a cat --seed 7")).pictures[0].image.key
    engine.entries = [entry("a").model_copy(update={"key": key})]
    await reply(app, "cache", f"quarantine {key}", who=OPERATOR)
    for place in (HERE, ELSEWHERE):
        assert (await ask(app.dispatcher, invocation("imagine", "a cat --seed 7", place=place)))[-1].kind == "refusal"
    assert len((await reply(app, "cache", "quarantine", who=MODERATOR)).data["quarantined"]) == 1
    assert "in quarantine here" in (await complaint(app, "cache", f"release {key}", who=MODERATOR)).text
    await reply(app, "cache", f"release {key}", who=OPERATOR)
    await drawn(app, "a cat --seed 7")
