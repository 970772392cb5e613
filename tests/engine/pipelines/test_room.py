from __future__ import annotations

from engine.pipelines.room import ENOUGH, FRESH_SECONDS, Room

SIZE = (4, 32, 32)


def measured(room: Room, seconds: dict[int, float], times: int = ENOUGH) -> None:
    """So many rows took so long."""
    for rows, each in seconds.items():
        for _ in range(times):
            room.measured(SIZE, rows, each)


def test_what_is_not_known_is_tried() -> None:
    room = Room(4)
    assert room.best(SIZE, [2] * 6) == 4
    assert room.best(SIZE, [2]) == 1
    measured(room, {2: 1.0, 8: 9.0}, times=ENOUGH - 1)
    assert room.best(SIZE, [2] * 4) == 4


def test_company_is_kept_where_it_saves_time() -> None:
    room = Room(4)
    measured(room, {2: 1.0, 4: 1.2, 6: 1.5, 8: 1.6})
    assert room.best(SIZE, [2] * 4) == 4


def test_company_is_left_where_all_would_only_wait_for_the_last() -> None:
    room = Room(4)
    measured(room, {2: 1.0, 4: 1.95, 6: 2.9, 8: 3.9})
    assert room.best(SIZE, [2] * 4) == 1
    assert room.best((4, 64, 64), [2] * 4) == 4


def test_company_is_as_large_as_it_pays() -> None:
    room = Room(4)
    measured(room, {2: 1.0, 4: 1.2, 6: 1.8, 8: 2.4})
    assert room.best(SIZE, [2] * 4) == 2


def test_one_picture_always_goes_whatever_it_takes() -> None:
    room = Room(4)
    measured(room, {1: 0.1, 2: 9.0})
    assert room.best(SIZE, [2]) == 1


def test_an_outlier_changes_nothing() -> None:
    room = Room(4)
    measured(room, {2: 1.0, 4: 1.2})
    room.measured(SIZE, 4, 60.0)
    assert room.best(SIZE, [2, 2]) == 2


def test_what_was_measured_is_tried_again_after_a_while() -> None:
    now = [0.0]
    room = Room(4, monotonic=lambda: now[0])
    measured(room, {2: 1.0, 4: 2.0})
    assert room.best(SIZE, [2, 2]) == 1
    now[0] = FRESH_SECONDS + 1
    room.measured(SIZE, 2, 1.0)
    assert room.best(SIZE, [2, 2]) == 2


def test_what_did_not_fit_is_halved_for_its_size_alone() -> None:
    room = Room(4)
    room.narrow(SIZE, 4)
    assert room.best(SIZE, [2] * 4) == 2
    room.narrow(SIZE, 2)
    room.narrow(SIZE, 1)
    assert room.best(SIZE, [2] * 4) == 1
    assert room.best((4, 64, 64), [2] * 4) == 4
