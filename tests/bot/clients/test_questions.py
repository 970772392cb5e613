"""Meeting the engine on Modal, and asking it what has one answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from modal import exception
from structlog.testing import capture_logs

from bot.clients.deployed import ASK_AT_ONCE
from engine import wire
from engine.errors import EngineError, InputError, UnreachableError, VersionMismatchError
from engine.types import Image, Stage
from tests.bot.clients.meeting import follow, meeting, stages
from tests.fakes.modal_handle import DOWN, Fault, ModalHandle
from tests.fakes.virtual_clock import VirtualClock


async def test_an_answer_within_the_patience_is_no_cold_start() -> None:
    async with meeting(ModalHandle(faults=[Fault(late=2.5)])) as client:
        assert Stage.WAKING not in stages(await follow(client, "apple"))


async def test_a_client_that_modal_no_longer_takes_is_said_so() -> None:
    async with meeting(ModalHandle(faults=[Fault(raising=exception.VersionError("old"))])) as client:
        with pytest.raises(EngineError, match="--upgrade modal"):
            await client.start()


async def test_what_modal_says_of_its_own_settings_is_for_the_operator_alone() -> None:
    wrong = exception.InvalidError("No profile in /home/ann/.modal.toml")
    async with meeting(ModalHandle(faults=[Fault(raising=wrong)])) as client:
        with capture_logs() as logs, pytest.raises(EngineError, match="operator's log") as caught:
            await client.start()
    assert "ann" not in caught.value.sentence
    assert "ann" in logs[0]["reason"]


async def test_another_version_is_refused_clearly_and_not_tried_again() -> None:
    handle = ModalHandle(faults=[Fault(version=1), Fault(version=1)])
    async with meeting(handle) as client:
        with pytest.raises(VersionMismatchError, match="deploy the engine again"):
            await client.start()
        with pytest.raises(VersionMismatchError, match="deploy the engine again"):
            await follow(client, "apple")
    assert handle.streams == 1


async def test_an_engine_that_is_not_deployed_is_said_so_at_the_start() -> None:
    handle = ModalHandle(faults=[Fault(raising=exception.NotFoundError("no app"))])
    async with meeting(handle) as client:
        with pytest.raises(EngineError, match=r"modal deploy modal_engine\.py"):
            await client.start()


async def test_a_wrong_token_is_said_so() -> None:
    async with meeting(ModalHandle(faults=[Fault(raising=exception.AuthError("bad"))])) as client:
        with pytest.raises(EngineError, match="modal token new"):
            await client.start()


async def test_the_bot_starts_without_the_engine_if_it_knew_it_before(tmp_path: Path) -> None:
    memory = tmp_path / "engine.json"
    async with meeting(ModalHandle(), memory=memory) as client:
        await client.start()
        known = await client.info()
    async with meeting(ModalHandle(weather=lambda _: DOWN), memory=memory) as client:
        await client.start()
        assert await client.info() == known
    memory.write_text("damaged")
    async with meeting(ModalHandle(weather=lambda _: DOWN), memory=memory) as client:
        await client.start()
        with pytest.raises(UnreachableError):
            await client.info()


async def test_an_engine_that_was_away_is_asked_again_on_a_machine_that_has_just_started(tmp_path: Path) -> None:
    """Its clock has not come as far as what is known may be old."""
    memory = tmp_path / "engine.json"
    async with meeting(ModalHandle(), memory=memory) as client:
        await client.start()
    handle = ModalHandle(faults=[DOWN] * 3)
    async with meeting(handle, clock=VirtualClock(10.0), memory=memory) as client:
        await client.start()
        asked = len(handle.questions)
        await client.info()
        await handle.clock.sleep(1)
        assert len(handle.questions) == asked + 1


async def test_a_bot_that_was_deployed_with_its_engine_doesn_t_wait_for_it_to_start(tmp_path: Path) -> None:
    """A command waits for the bot's machine already, and has three seconds."""
    memory = tmp_path / "engine.json"
    async with meeting(ModalHandle(), memory=memory) as client:
        await client.start()
    handle = ModalHandle(faults=[Fault(late=60.0)])
    async with meeting(handle, memory=memory, trusted=lambda info: info.default_model == "emoji") as client:
        before = handle.clock.monotonic()
        await client.start()
        await client.info()
        assert handle.clock.monotonic() == before
        await handle.clock.sleep(61)
        assert handle.questions == ["info"], "but its machine starts"


async def test_what_is_known_is_asked_anew_after_a_while_without_keeping_anybody() -> None:
    handle = ModalHandle()
    async with meeting(handle) as client:
        await client.start()
        for _ in range(5):
            await client.info()
        assert handle.questions == ["info"]
        await handle.clock.sleep(3600)
        handle.faults.append(Fault(late=50.0))
        before = handle.clock.monotonic()
        await client.info()
        assert handle.clock.monotonic() == before
        await handle.clock.sleep(100)
    assert handle.questions == ["info", "info"]


async def test_questions_are_asked_again_where_no_answer_comes() -> None:
    handle = ModalHandle(faults=[DOWN, Fault(silent=True)])
    async with meeting(handle) as client:
        assert (await client.cache_stats(None)).misses == 2
    assert handle.questions == ["cache_stats"] * 3


async def test_questions_find_out_soon_that_the_service_is_away() -> None:
    handle = ModalHandle(weather=lambda _: DOWN)
    async with meeting(handle) as client:
        for _ in range(4):
            with pytest.raises(UnreachableError):
                await client.cache_stats(None)
    assert len(handle.questions) == 5, "then the breaker is open"


async def test_a_cached_file_is_asked_for_by_a_whole_key_alone() -> None:
    handle = ModalHandle()
    async with meeting(handle) as client:
        for key in ("", "abc", "../" * 20, "A" * 64, "0" * 65, "0" * 63 + "\n"):
            assert await client.cache_read(None, key) is None
        assert handle.questions == []
        (image,) = [event for event in await follow(client, "apple") if isinstance(event, Image)]
        assert await client.cache_read(None, image.key) == image.data
        assert await client.cache_read(None, "0" * 64) is None


async def test_a_file_that_is_too_large_is_sent_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_BYTES", 100)
    handle = ModalHandle()
    async with meeting(handle) as client:
        with pytest.raises(InputError, match="too large"):
            await client.verify(b"x" * 101)
    assert handle.questions == []


async def test_a_page_full_of_pictures_is_asked_for_in_turns() -> None:
    handle = ModalHandle(weather=lambda _: Fault(late=5.0))
    async with meeting(handle) as client:
        asked = [asyncio.create_task(client.cache_read(None, f"{n:064x}")) for n in range(ASK_AT_ONCE + 4)]
        await handle.clock.sleep(1)
        assert len(handle.questions) == ASK_AT_ONCE
        await asyncio.gather(*asked)
    assert len(handle.questions) == ASK_AT_ONCE + 4
