"""What the word lists say of a text: zero tolerance and the keyword filter, read in one walk."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from engine.safety import zero_tolerance
from engine.safety.keywords import keyword_lexicon
from engine.safety.lexicon import Reader


class WordsFound(NamedTuple):
    """What was found in one text."""

    classes: frozenset[str]
    """For `zero_tolerance.judge`."""
    keywords: frozenset[str]
    """Categories of the keyword filter."""


class WordChecker:
    """Reads texts for words, about a millisecond for the longest prompt."""

    def __init__(self, blocked: tuple[str, ...] = (), allowed: tuple[str, ...] = (), *, keywords: bool = True) -> None:
        """`blocked` and `allowed` are the operator's words; without `keywords` only zero tolerance is looked for.

        Raises:
            ImportError, OSError: the word lists can't be read.
        """
        lexicons = [zero_tolerance.lexicon()]
        if keywords:
            lexicons.append(keyword_lexicon(blocked, allowed))
        self._reader = Reader(*lexicons)

    def read(self, text: str) -> WordsFound:
        """All that the lists say of a text as it was typed."""
        read = self._reader.views(text)
        classes, *keywords = self._reader.find_in(read)
        return WordsFound(zero_tolerance.classes(read, classes), frozenset().union(*keywords))


@lru_cache(maxsize=4)
def word_checker(blocked: tuple[str, ...], allowed: tuple[str, ...], *, keywords: bool) -> WordChecker:
    """One checker for all engines of a process that are set alike."""
    return WordChecker(blocked, allowed, keywords=keywords)
