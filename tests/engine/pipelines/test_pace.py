from __future__ import annotations

from PIL import Image

from engine.pipelines.base import Previews
from engine.pipelines.pace import FIRST_SECONDS, SECONDS, Pace

PICTURES: Previews = {0: Image.new("RGB", (8, 8))}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_looks_are_taken_when_they_are_due() -> None:
    clock = Clock()
    pace = Pace(monotonic=clock)
    taken = []
    for tenth in range(round(10 * (FIRST_SECONDS + 2 * SECONDS)) + 1):
        clock.now = 100 + tenth / 10
        if pace(lambda: PICTURES):
            taken.append(tenth / 10)
    assert taken == [FIRST_SECONDS, FIRST_SECONDS + SECONDS, FIRST_SECONDS + 2 * SECONDS]


def test_nobody_looks_where_nobody_wants_to_or_nothing_can_be_seen() -> None:
    clock = Clock()
    unwanted, wanted = Pace(wanted=False, monotonic=clock), Pace(monotonic=clock)
    clock.now += 60
    assert unwanted(lambda: PICTURES) is None
    assert wanted(None) is None
    assert wanted(lambda: PICTURES) is PICTURES
