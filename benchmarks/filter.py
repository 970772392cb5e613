"""Times the keyword filter, normalisation included: `python -m benchmarks.filter [--json]`.

Targets: under 2 ms at 2,000 characters, and linear to 100,000.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time

from engine.safety.keywords import keyword_lexicon
from engine.safety.lexicon import Lexicon

VOCABULARY = """
a an the of in on with and apple cat castle river mountain portrait painting watercolour oil light shadow morning
evening misty golden detailed sharp lens 85mm bokeh forest ocean ship dragon knight robot city street rain snow great
tit Sussex shiitake long-tailed (masterpiece:1.2), highly detailed, 8k, [soft], peacock, glass, assembly
"""
SIZES = (200, 2_000, 20_000, 100_000)
HARD = {
    "letter by letter": "a b c d e f g h ",
    "Cyrillic": "кот сидит на окне ",
    "brackets": "(a:1(b[c]{d",
    "symbols": "a1!|l $$@ x*y ",
    "one letter": "s",
}


def prose(length: int) -> str:
    """A prompt of so many characters, always the same."""
    rng, words = random.Random(length), VOCABULARY.split()
    return " ".join(rng.choice(words) for _ in range(length // 4))[:length]


def milliseconds(lexicon: Lexicon, text: str) -> float:
    """Median CPU time of a search, which other programs don't disturb."""
    times = []
    for _ in range(max(5, 100_000 // len(text))):
        start = time.thread_time()
        lexicon.find(text)
        times.append(time.thread_time() - start)
    return statistics.median(times) * 1e3


def measure() -> dict[str, float]:
    """All figures in milliseconds, and how much dearer a character is in the longest text than at 2,000."""
    start = time.thread_time()
    lexicon = keyword_lexicon()
    figures = {"load_ms": (time.thread_time() - start) * 1e3}
    lexicon.find(prose(2_000))
    for size in SIZES:
        figures[f"prose_{size}_ms"] = milliseconds(lexicon, prose(size))
    for name, unit in HARD.items():
        figures[f"{name}_2000_ms"] = milliseconds(lexicon, (unit * 2_000)[:2_000])
        figures[f"{name}_100000_ms"] = milliseconds(lexicon, (unit * 100_000)[:100_000])
    figures["growth"] = figures["prose_100000_ms"] / figures["prose_2000_ms"] / 50
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    """Print the figures as a table or as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    figures = measure()
    lines = [json.dumps(figures)] if as_json else [f"{name:28} {value:10.3f}" for name, value in figures.items()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
