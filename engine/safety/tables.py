"""Tables for `str.translate` that are filled as characters are met."""

from __future__ import annotations

from collections.abc import Callable

KEPT = 0x20000
"""Characters that a table remembers, some ten megabytes at worst; then it begins anew."""


class Table(dict[int, str | None]):
    """What becomes of each character: worked out when it is first met, and remembered."""

    def __init__(self, entry: Callable[[str], str | None]) -> None:
        """`entry` says what stands for a character; None drops it."""
        super().__init__()
        self._entry = entry

    def __missing__(self, code: int) -> str | None:
        stands_for = self._entry(chr(code))
        if len(self) >= KEPT:
            self.clear()
        self[code] = stands_for
        return stands_for
