"""Times the prompt filter, normalisation included: `python -m benchmarks.filter [--json]`.

Targets: under 2 ms at 2,000 characters of whatever kind, and linear to 100,000. `keywords` is the word list alone,
`prompt` all that is read of a prompt without a model, zero tolerance included. Each kind is many texts, read once
before they are timed: what is built at a word's first sight is built once in a process.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator

from engine.safety.keywords import keyword_lexicon
from engine.safety.lexicon import Lexicon
from engine.safety.words import WordChecker

VOCABULARY = """
a an the of in on with and apple cat castle river mountain portrait painting watercolour oil light shadow morning
evening misty golden detailed sharp lens 85mm bokeh forest ocean ship dragon knight robot city street rain snow great
tit Sussex shiitake long-tailed (masterpiece:1.2), highly detailed, 8k, [soft], peacock, glass, assembly
"""
SIZES = (200, 2_000, 20_000, 100_000)
LIMIT = 2_000
"""Characters of the longest prompt that Easel takes."""
LONGEST = 100_000
REPEATED = {
    "letter by letter": "a b c d e f g h ",
    "Cyrillic": "кот сидит на окне ",
    "brackets": "(a:1(b[c]{d",
    "symbols": "a1!|l $$@ x*y ",
    "one letter": "s",
}
ALPHABETS = {
    "Cyrillic words": "абвгдежзиклмнопрстуфхцчшщъыьэюяё",
    "Greek words": "αβγδεζηθικλμνξοπρστυφχψω",
    "Han words": "日本刀持人水火木金土王女子学生中大小",
    "Hangul words": "가나다라마바사아자차카타파하강남달",
    "Thai words": "กขคงจฉชซฌญ่้๊ิีึ",
    "Arabic words": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "emoji": "😀🎨🐱🍎🚀👩🎨🇩🇪\u200d",
    "digits": "0123456789",
    "leet words": "4@8369150$7+shkctnl",
    "symbol words": "a1!|l$@+*xs5(){}[]:._-",
    "masked words": "f*ucksht",
    "punctuation": ".,:;-_'\"()",
    "ages": "aegu1yo2",
    "tags": "".join(map(chr, range(0xE0020, 0xE0080))),
    "any ASCII": "".join(map(chr, range(33, 127))),
    "any letter at all": "".join(map(chr, range(160, 0xD7FF))),
    "rare letters": "".join(map(chr, range(0x20000, 0x2A6E0))),
    "whatever else": "".join(map(chr, range(0xE000, 0x110000, 17))),
}
TEXTS = 30


def prose(length: int, seed: int = 0) -> str:
    """A prompt of so many characters, always the same."""
    rng, words = random.Random(length + seed), VOCABULARY.split()
    return " ".join(rng.choice(words) for _ in range(length // 4))[:length]


def words_of(alphabet: str, length: int, seed: int = 0) -> str:
    """Words of any letters, hardly one like another."""
    rng = random.Random(f"{alphabet}{seed}")
    return " ".join("".join(rng.choices(alphabet, k=rng.randint(2, 9))) for _ in range(length // 3))[:length]


def kinds(lexicon: Lexicon, length: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """A text of each of many kinds, by their names."""
    rng = random.Random(length + seed)
    plain = prose(length, seed)
    yield "prose", plain
    yield from ((name, (unit * length)[:length]) for name, unit in REPEATED.items())
    yield from ((name, words_of(alphabet, length, seed)) for name, alphabet in ALPHABETS.items())
    blocked = " ".join(rng.choices(lexicon.words, k=length // 4))
    yield "blocked words", blocked[:length]
    yield "a blocked word behind prose", f"{plain[: length - 20]} {blocked[:19]}"
    yield "blocked words spelled out", ".".join(blocked.replace(" ", ""))[:length]
    yield "prose spelled out", "'".join(plain)[:length]
    yield "full-width prose", "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in plain)


def texts(lexicon: Lexicon, length: int, count: int) -> dict[str, list[str]]:
    """So many texts of each kind."""
    found: dict[str, list[str]] = {}
    for seed in range(count):
        for name, text in kinds(lexicon, length, seed):
            found.setdefault(name, []).append(text)
    return found


def milliseconds(work: Callable[[str], object], *texts: str) -> float:
    """Median CPU time, which other programs disturb least."""
    times = []
    for text in texts:
        work(text)
    for _ in range(max(1, 100_000 // sum(map(len, texts)), 5 // len(texts))):
        for text in texts:
            start = time.thread_time()
            work(text)
            times.append(time.thread_time() - start)
    return statistics.median(times) * 1e3


def measure() -> dict[str, float]:
    """All figures in milliseconds, and how much dearer a character is in the longest text than at 2,000."""
    start = time.thread_time()
    checker = WordChecker()
    checker.read("a red apple")
    figures = {"load_ms": (time.thread_time() - start) * 1e3}
    lexicon = keyword_lexicon()
    for size in SIZES:
        figures[f"prose_{size}_ms"] = milliseconds(lexicon.find, prose(size))
    figures["growth"] = figures["prose_100000_ms"] / figures["prose_2000_ms"] / 50
    for name, prompts in texts(lexicon, LIMIT, TEXTS).items():
        figures[f"keywords, {name}_ms"] = milliseconds(lexicon.find, *prompts)
        figures[f"prompt, {name}_ms"] = milliseconds(checker.read, *prompts)
    for name, (text,) in texts(lexicon, LONGEST, 1).items():
        figures[f"prompt, 100 KB of {name}_ms"] = milliseconds(checker.read, text)
    for part in ("keywords", "prompt"):
        figures[f"{part}_worst_ms"] = max(
            value for name, value in figures.items() if name.startswith(f"{part}, ") and "100 KB" not in name
        )
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    """Print the figures as a table or as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    figures = measure()
    lines = [json.dumps(figures)] if as_json else [f"{name:52} {value:10.3f}" for name, value in figures.items()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
