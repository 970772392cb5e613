from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from bot.adapters.web.desk import MAX_CARDS, MAX_FOLLOWERS, MAX_NOTICES, Desk, Desks, WebSurface
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


def test_progress_leaves_the_gallery_as_it_is() -> None:
    """Its many figures need not be written anew for every step."""
    desk = Desk()
    desk.put(queued("j0"))
    before, version = desk.gallery, desk.version
    desk.put(working("j0", 1))
    desk.put(queued("j0", 1))
    assert (desk.gallery, desk.version) == (before, version + 2)
    desk.deliver(delivery(picture()))
    assert desk.gallery > before
    after = desk.gallery
    desk.put(queued("another"))
    assert desk.gallery > after, "it may have pushed one out"


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
    follower = desk.follow("page")
    waiting = asyncio.create_task(follower.changed(desk.version))
    await asyncio.sleep(0)
    before = desk.stamp
    desk.put(queued("j0"))
    assert await waiting
    assert await follower.changed(0)
    assert desk.stamp != before
    desk.leave("page", follower)
    assert not await follower.changed(desk.version)


async def test_an_open_page_is_followed_once_and_not_too_many_are() -> None:
    desk = Desk()
    first = desk.follow("page")
    waiting = asyncio.create_task(first.changed(desk.version))
    await asyncio.sleep(0)
    second = desk.follow("page")
    assert not await waiting, "the later event shows the same"
    desk.leave("page", first)
    assert desk.is_followed_by(second), "the earlier one took only itself away"
    others = [desk.follow(f"page {number}") for number in range(MAX_FOLLOWERS)]
    assert not desk.is_followed_by(second)
    assert all(desk.is_followed_by(other) for other in others)


def test_two_processes_never_give_the_same_stamp() -> None:
    desks = Desks()
    assert desks.stamp("web:ada") == ""
    assert desks.of("web:ada").stamp == desks.stamp("web:ada")
    assert desks.stamp("web:ada") != Desks().of("web:ada").stamp


async def test_the_page_is_busy_until_the_answer_has_ended() -> None:
    desk = Desk()
    followed = desk.answering("imagine", updates(queued("j0"), Failure(job="j0", index=None, text="No.")))
    async for update in followed:
        desk.put(update)
    assert (desk.busy, desk.cards["j0"].active) == (False, False)


async def test_who_wants_to_be_forgotten_is_forgotten_here_too() -> None:
    desk = Desk()
    desk.deliver(delivery(picture()))
    for said, left in (
        (Reply(text="Really?", confirm="forget-me confirm"), 1),
        (Reply(text="Everything was deleted."), 0),
    ):
        async for update in desk.answering("Forget-Me", updates(said)):
            desk.put(update)
        assert len(desk.cards) == left


def test_who_has_a_name_after_somebody_else_has_another_page() -> None:
    desks = Desks()
    first = desks.of("web:ada")
    assert desks.of("web:ada", 1.0) is first, "what goes on after a restart is hers"
    assert desks.of("web:ada") is first
    second = desks.of("web:ada", 2.0)
    assert second is not first
    assert desks.of("web:ada", 2.0) is second
