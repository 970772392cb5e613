"""The keyword filter: better-profanity's word list and the operator's, found through disguises.

better-profanity's own search takes seconds for long prompts and sees no disguise, so the package gives the words and
`engine.safety.lexicon` looks for them. Words of that list with an everyday meaning are left out; `data/keywords.txt`
says which and why.
"""

from __future__ import annotations

from functools import lru_cache

from engine.safety.lexicon import Lexicon, canonical, sections

DATA = "keywords.txt"
OPERATOR = "blocked-word"
"""Category of the words that the operator blocks."""
DEFAULT_CATEGORY = "sexual"
CATEGORIES = (DEFAULT_CATEGORY, "hate", "drugs", "profanity")


_DIGITS = str.maketrans("01345!+", "oieasit")


def _spelled(word: str) -> str:
    """An entry of better-profanity with letters for the digits that stand for letters in it."""
    parts = canonical(word).split()
    return " ".join(part if part.isdigit() else part.translate(_DIGITS) for part in parts)


@lru_cache(maxsize=1)
def built_in_words() -> dict[str, tuple[str, ...]]:
    """Category -> the words that are blocked out of the box.

    Raises:
        ImportError: better-profanity isn't installed.
        OSError: its list can't be read.
    """
    from better_profanity.utils import get_complete_path_of_file, read_wordlist

    lists = sections(DATA)
    everyday = {_spelled(word) for word in lists["everyday"]}
    named = {_spelled(word): category for category in CATEGORIES for word in lists[category]}
    words: dict[str, tuple[str, ...]] = {}
    listed = {_spelled(word) for word in read_wordlist(get_complete_path_of_file("profanity_wordlist.txt"))}
    listed |= {_spelled(word) for word in lists[DEFAULT_CATEGORY]}
    for word in sorted(listed - everyday - {""}):
        category = named.get(word, DEFAULT_CATEGORY)
        words[category] = (*words.get(category, ()), word)
    if not words:
        raise OSError("the word list of better-profanity is empty")
    return words


def innocent_phrases() -> tuple[str, ...]:
    """Phrases in which a blocked word means something harmless."""
    return sections(DATA)["innocent"]


def titles() -> tuple[str, ...]:
    """Names of works and events that hold a blocked word; harmless here, and no excuse where minors are concerned."""
    return sections(DATA)["titles"]


def keyword_lexicon(blocked: tuple[str, ...] = (), allowed: tuple[str, ...] = ()) -> Lexicon:
    """The filter's words: the built-in ones and `blocked`, without `allowed`, which are also read over in phrases."""
    spared = {canonical(word) for word in allowed}
    # The operator's come first, for a word has one category, and theirs can't be steered or waived.
    words = {OPERATOR: [word for word in blocked if canonical(word) not in spared]}
    words |= {name: [word for word in group if word not in spared] for name, group in built_in_words().items()}
    return Lexicon(words, (*innocent_phrases(), *titles(), *allowed))
