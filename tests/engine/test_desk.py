from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from engine.cache import Cache
from engine.desk import EXAMINED_AT_ONCE, CacheDesk
from engine.marks import Marks
from engine.settings import EngineSettings
from engine.types import Verification


class SlowMarks(Marks):
    """Counts who reads a file at the same time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(EngineSettings(home=folder))
        self.lock = threading.Lock()
        self.full = threading.Barrier(EXAMINED_AT_ONCE)
        self.now = 0
        self.most = 0

    def examine(self, data: bytes) -> Verification:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.full.wait(20)
        with self.lock:
            self.now -= 1
        return super().examine(data)


async def test_only_so_many_strangers_files_are_decoded_at_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", max_bytes=2**20)
    await cache.open()
    marks = SlowMarks(tmp_path)
    desk = CacheDesk(cache, marks)
    await asyncio.gather(*(desk.verify(b"no picture") for _ in range(3 * EXAMINED_AT_ONCE)))
    assert marks.most == EXAMINED_AT_ONCE
    await cache.close()
