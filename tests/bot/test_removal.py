from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from bot.app import App
from bot.chat import Delivery, Failure, Removed, Requester
from bot.settings import Settings
from engine.errors import StorageError
from engine.types import Layer, Refused
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
from tests.bot.workbench import MOD, Platform, working
from tests.fakes.engine_client import ScriptedEngine


async def removed(app: App, text: str, *, who: Requester = ADA, **more: Any) -> Removed:
    (update,) = await ask(app.dispatcher, invocation("delete", text, who=who, **more))
    assert isinstance(update, Removed), update
    return update


def rows(settings: Settings, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(settings.database)) as database:
        return database.execute(sql, parameters).fetchall()


async def test_deleting_takes_picture_file_and_message(app: App, engine: ScriptedEngine) -> None:
    delivery = await drawn(app, "a cat --seed 7")
    update = await removed(app, delivery.job)
    assert update.index is None
    assert update.text == "The picture was deleted, with 1 cached file."
    (message,) = update.messages
    assert (message.message, message.place, message.part, message.left) == (delivery.nonce, HERE, 1, ())
    assert engine.files == {}
    for command in ("vary", "upscale", "send", "reroll"):
        assert "was deleted" in (await complaint(app, command, delivery.job)).text


async def test_deleting_again_does_no_harm(app: App, settings: Settings) -> None:
    delivery = await drawn(app, "a cat --seed 7")
    first, when = await removed(app, delivery.job), rows(settings, "SELECT deleted FROM pictures")
    again = await removed(app, delivery.job)
    assert again.text == "The picture was deleted, with 0 cached files."
    assert again.messages == first.messages
    assert rows(settings, "SELECT deleted FROM pictures") == when


async def test_a_message_goes_while_the_cache_is_out_of_reach_and_its_files_go_later(
    app: App, engine: ScriptedEngine
) -> None:
    delivery = await made(app, "batch", "a cat --seed 7\na dog --seed 7")
    engine.cache_delete, reachable = out_of_reach, engine.cache_delete  # type: ignore[method-assign]
    with capture_logs() as logs:
        update = await removed(app, f"{delivery.job} 2", who=MODERATOR)
    assert update.messages[0].left == (0,)
    assert update.text == (
        "The picture was deleted, with 0 cached files. Cached files could not be removed yet: "
        f"/delete {delivery.job} 2 does so once the cache can be reached."
    )
    (line,) = [line for line in logs if line["event"] == "cached files left"]
    assert (line["job"], line["keys"]) == (delivery.job, (delivery.pictures[1].image.key,))
    engine.cache_delete = reachable  # type: ignore[method-assign]
    again = await removed(app, f"{delivery.job} 2", who=MODERATOR)
    assert again.text == "The picture was deleted, with 1 cached file."
    assert again.messages == update.messages
    assert list(engine.files) == [delivery.pictures[0].image.key]
    entries = (await reply(app, "moderation", "audit", who=MODERATOR)).data["entries"]
    assert [(entry["action"], entry["detail"]) for entry in entries] == [("delete", f"{delivery.job}: 2")]


async def out_of_reach(scope: str | None, key: str) -> int:
    """What a cache does whose disk or service is away."""
    raise StorageError("The cache can't be read.")


async def test_a_deletion_that_its_process_did_not_outlive_is_completed(tmp_path: Path) -> None:
    async with working(tmp_path) as bench:
        platform = Platform()
        job = (await bench.submit("a cat", "a dog")).job
        await bench.follow(job, platform)
        await bench.store.removal.delete_pictures(job, (0, 1), now=bench.clock.now())
        deleted = await bench.jobs.delete(await bench.row(job), (0, 1), MOD)
        assert (deleted.pictures, deleted.files) == ((0, 1), 2)
        assert [message.message for message in deleted.messages] == [f"message-{nonce}" for nonce in platform.messages]
        assert await bench.store.people.audit(None, limit=5, offset=0) == (), "who deleted them wrote down what was due"


async def test_one_of_several_leaves_the_others(app: App, engine: ScriptedEngine) -> None:
    delivery = await made(app, "batch", "a cat\na dog\na cow")
    update = await removed(app, f"{delivery.job} 2")
    assert (update.index, update.messages[0].left) == (1, (0, 2))
    assert len(engine.files) == 2
    shown = await reply(app, "show", delivery.job)
    assert f"Reason: Picture 2 of job {delivery.job} was deleted." in shown.text
    assert [command.split()[2] for command in shown.data["commands"]] == ["cat", "cow"]
    assert (await removed(app, delivery.job)).text == "2 pictures were deleted, with 2 cached files."


async def test_files_stay_where_somebody_else_was_given_the_picture(app: App, engine: ScriptedEngine) -> None:
    first = await drawn(app, "a cat --seed 7")
    await drawn(app, "a cat --seed 7", who=BOB)
    assert (await removed(app, first.job)).text == "The picture was deleted, with 0 cached files."
    assert len(engine.files) == 1
    mine = await drawn(app, "a dog --seed 7")
    await drawn(app, "a dog --seed 7")
    await removed(app, mine.job)
    assert len(engine.files) == 1, "another job of one's own keeps no file"


async def test_a_moderator_takes_a_picture_from_the_whole_community(app: App, engine: ScriptedEngine) -> None:
    first = await drawn(app, "a cat --seed 7")
    await drawn(app, "a cat --seed 7", who=BOB)
    update = await removed(app, f"{first.job} 1", who=MODERATOR)
    assert engine.files == {}
    assert update.messages
    (entry,) = (await reply(app, "moderation", "audit", who=MODERATOR)).data["entries"]
    assert (entry["action"], entry["target"], entry["detail"]) == ("delete", ADA.key, f"{first.job}: 1")


async def test_a_moderator_who_deletes_again_takes_no_more_than_the_owner(app: App, engine: ScriptedEngine) -> None:
    first = await drawn(app, "a cat --seed 7")
    await drawn(app, "a cat --seed 7", who=BOB)
    await removed(app, first.job)
    update = await removed(app, first.job, who=MODERATOR)
    assert update.text == "The picture was deleted, with 0 cached files."
    assert len(engine.files) == 1
    assert (await reply(app, "moderation", "audit", who=MODERATOR)).data["entries"] == []


async def test_a_moderator_deletes_what_the_owner_has_left(app: App, engine: ScriptedEngine) -> None:
    first, _ = [await made(app, "batch", "a cat --seed 7\na dog --seed 7", who=who) for who in (ADA, BOB)]
    await removed(app, f"{first.job} 1")
    await removed(app, first.job, who=MODERATOR)
    assert list(engine.files) == [first.pictures[0].image.key], "what the owner deleted is nobody else's loss"
    (entry,) = (await reply(app, "moderation", "audit", who=MODERATOR)).data["entries"]
    assert entry["detail"] == f"{first.job}: 2"


async def test_the_owner_completes_what_a_moderator_deleted(app: App, engine: ScriptedEngine) -> None:
    first = await drawn(app, "a cat --seed 7")
    await drawn(app, "a cat --seed 7", who=BOB)
    engine.cache_delete, reachable = out_of_reach, engine.cache_delete  # type: ignore[method-assign]
    await removed(app, first.job, who=MODERATOR)
    engine.cache_delete = reachable  # type: ignore[method-assign]
    await removed(app, first.job)
    assert engine.files == {}


async def test_another_community_keeps_what_it_was_given(app: App, engine: ScriptedEngine) -> None:
    first = await drawn(app, "a cat --seed 7")
    await drawn(app, "a cat --seed 7", who=BOB, place=ELSEWHERE)
    await removed(app, first.job, who=MODERATOR)
    assert len(engine.files) == 1


async def test_strangers_delete_nothing(app: App, engine: ScriptedEngine) -> None:
    job = (await drawn(app, "a cat")).job
    assert "somebody else's" in (await complaint(app, "delete", job, who=BOB)).text
    assert "There is no job" in (await complaint(app, "delete", job, who=MODERATOR, place=ELSEWHERE)).text
    assert "/delete JOB [NUMBER]" in (await complaint(app, "delete", f"{job} 2")).text
    assert len(engine.files) == 1
    assert (await removed(app, job, who=OPERATOR, place=ELSEWHERE)).messages


async def test_deleting_stops_what_is_being_drawn(app: App, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    drawing = asyncio.create_task(ask(app.dispatcher, invocation("imagine", "a cat")))
    await engine.begun.wait()
    assert "nothing left" in (await complaint(app, "delete", engine.orders[0].job)).text
    updates = await drawing
    assert updates[-1].kind == "stopped"


async def test_what_is_on_its_way_is_deleted_after_it_has_arrived(app: App, engine: ScriptedEngine) -> None:
    sending, go = asyncio.Event(), asyncio.Event()

    async def slow(delivery: Delivery) -> str:
        sending.set()
        await go.wait()
        return delivery.nonce

    async with aclosing(app.dispatcher.handle(invocation("imagine", "a cat"))) as updates:
        async for update in updates:
            if isinstance(update, Delivery):
                task = asyncio.create_task(app.dispatcher.deliver(update, slow))
                await sending.wait()
                assert "is being sent" in (await complaint(app, "delete", update.job)).text
                go.set()
                await task
                assert await removed(app, update.job)


async def test_forgetting_asks_first(app: App, engine: ScriptedEngine) -> None:
    await made(app, "batch", "a cat\na dog")
    answer = await reply(app, "forget-me")
    assert answer.confirm == "forget-me confirm"
    assert (answer.data["jobs"], answer.data["pictures"]) == (1, 2)
    assert "1 job of yours with 2 pictures" in answer.text
    assert (await reply(app, "history")).data["jobs"]
    assert engine.purged == []


async def test_forgetting_leaves_no_trace_of_the_person(app: App, settings: Settings, engine: ScriptedEngine) -> None:
    engine.endings["a secret sin"] = lambda index: Refused(index=index, layer=Layer.KEYWORDS)
    job = (await drawn(app, "a secret wish")).job
    await drawn(app, "a secret elsewhere", place=ELSEWHERE)
    await ask(app.dispatcher, invocation("imagine", "a secret sin"))
    appeal = await reply(app, "appeal", f"{engine.orders[2].job} my secret reason")
    await reply(app, "moderation", f"deny {appeal.data['id']}", who=MODERATOR)
    other = (await drawn(app, "a dog", who=BOB)).job
    await reply(app, "report", f"{other} secret dislike")
    await reply(app, "moderation", "grant ada", who=MODERATOR)
    await reply(app, "settings", "set strict on")
    answer = await reply(app, "forget-me", "confirm")
    assert answer.data == {"jobs": 3, "pictures": 2, "appeals": 1, "reports": 1, "files": 0}
    assert engine.purged == [(None, ADA.key)]
    assert (await reply(app, "history")).data["jobs"] == []
    assert "There is no job" in (await complaint(app, "show", job, who=MODERATOR)).text
    everything = [rows(settings, f"SELECT * FROM {table}") for (table,) in tables(settings)]  # noqa: S608
    dump = json.dumps(everything, default=str)
    assert ADA.key not in dump
    assert "secret" not in dump.replace('"secrets"', "")
    assert (await reply(app, "history", who=BOB)).data["jobs"][0]["job"] == other


def tables(settings: Settings) -> list[tuple[Any, ...]]:
    return rows(settings, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")


async def test_bans_and_todays_count_hold_for_who_was_forgotten(app: App) -> None:
    await made(app, "batch", "a cat\na dog\na cow")
    await reply(app, "moderation", "ban ada rude", who=MODERATOR)
    await reply(app, "forget-me", "confirm")
    assert "rude" in (await complaint(app, "imagine", "a cat")).text
    (ban,) = (await reply(app, "moderation", "bans", who=MODERATOR)).data["bans"]
    assert ban["person"].startswith("forgotten:")
    (entry,) = (await reply(app, "moderation", "audit", who=MODERATOR)).data["entries"]
    assert entry["target"] == ban["person"]
    assert (await reply(app, "quota")).data["used"] == 3
    await reply(app, "moderation", "unban ada", who=MODERATOR)
    await drawn(app, "a cat")
    assert (await reply(app, "quota")).data["used"] == 4
    await reply(app, "forget-me", "confirm")
    assert (await reply(app, "quota")).data["used"] == 4


async def test_forgetting_stops_what_is_in_flight(app: App, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    drawing = asyncio.create_task(ask(app.dispatcher, invocation("imagine", "a cat")))
    await engine.begun.wait()
    await reply(app, "forget-me", "confirm")
    assert (await drawing)[-1].kind == "stopped"
    assert engine.cancelled
    engine.gate.set()
    await drawn(app, "a dog")


async def test_a_cache_out_of_reach_is_said_and_nothing_is_lost(app: App, engine: ScriptedEngine) -> None:
    await drawn(app, "a cat")

    async def broken(scope: str | None, owner: str) -> int:
        raise StorageError("The cache can't be read.")

    engine.cache_purge = broken  # type: ignore[method-assign]
    (update,) = await ask(app.dispatcher, invocation("forget-me", "confirm"))
    assert isinstance(update, Failure)
    assert "The cache can't be read." in update.text
    assert (await reply(app, "history")).data["jobs"]
