from __future__ import annotations

import pytest

from engine.safety import tables
from engine.safety.tables import Table


def test_each_character_is_worked_out_once() -> None:
    asked: list[str] = []

    def entry(sign: str) -> str | None:
        asked.append(sign)
        return None if sign == "-" else sign.upper()

    table = Table(entry)
    assert ["a-b-a".translate(table) for _ in range(2)] == ["ABA", "ABA"]
    assert sorted(asked) == ["-", "a", "b"]


def test_begins_anew_before_it_grows_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "KEPT", 3)
    table = Table(str.upper)
    assert "abcdefg".translate(table) == "ABCDEFG"
    assert len(table) <= 3
