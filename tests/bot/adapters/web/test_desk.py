from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from bot.adapters.web.desk import MAX_CARDS, MAX_NOTICES, Desk, Desks, WebSurface
from bot.chat import Failure, Queued, Removed, Reply, Stopped, Update, Working
from engine.types import Progress, Stage
from tests.bot.adapters.web.test_html import delivery, picture


def queued(job: str, position: int = 0) -> Queued:
    return Queued(job=job, pictures=1, position=position, eta_seconds=None, text=f"Accepted {job}")


def working(job: str, step: int) -> Working:
    progress = Progress(index=0, stage=Stage.DRAWING, step=step, steps=4)
    return Working(job=job, pictures=1, progress=progress, eta_seconds=None, text="")


async def updates(*given: Update) -> AsyncGenerator[Update, None]:
    for update in given:
        yield update


def test_a_job_goes_from_the_queue_to_its_picture() -> None:
    desk = Desk()
    desk.put(queued("j0"))
    assert desk.cards["j0"].active
    desk.put(working("j0", 1))
    assert desk.cards["j0"].queued is None
    desk.deliver(delivery(picture()))
    card = desk.cards["j0"]
    assert not card.active
    assert card.working == {}
    assert card.shown[0].image.data == b"", "the page holds no files"


async def test_a_picture_that_comes_twice_is_there_once() -> None:
    desks = Desks()
    surface = WebSurface(desks.of("web:ada"))
    for _ in range(2):
        assert await surface.send(delivery(picture())) == "n"
    assert len(desks.of("web:ada").cards["j0"].shown) == 1
    assert desks.of("web:bob").cards == {}


def test_what_is_deleted_leaves_the_page() -> None:
    desk = Desk()
    desk.deliver(delivery(picture()))
    desk.put(Removed(job="j0", index=0, text="It was deleted."))
    assert desk.cards["j0"].shown == {}
    desk.put(Removed(job="elsewhere", index=None, text="It was deleted."))
    assert [said.text for _, said in desk.notices] == ["It was deleted."]


def test_a_page_never_grows_beyond_its_bounds() -> None:
    desk = Desk()
    for number in range(MAX_CARDS + 10):
        desk.put(Stopped(job=f"j{number}", text=""))
        desk.put(Reply(text=str(number)))
    assert len(desk.cards) == MAX_CARDS
    assert len(desk.notices) == MAX_NOTICES
    assert len({number for number, _ in desk.notices}) == MAX_NOTICES
    desk.clear_notices()
    assert desk.notices == []


async def test_whoever_looks_is_told_of_every_change() -> None:
    desk = Desk()
    waiting = asyncio.create_task(desk.changed(desk.version))
    await asyncio.sleep(0)
    desk.put(queued("j0"))
    assert await waiting == desk.version
    assert await desk.changed(0) == desk.version


async def test_the_page_is_busy_until_the_answer_has_ended() -> None:
    desk = Desk()
    followed = desk.following(updates(queued("j0"), Failure(job="j0", index=None, text="No.")))
    async for update in followed:
        desk.put(update)
    assert (desk.busy, desk.cards["j0"].active) == (False, False)
