"""Train the byte-pair vocabulary on the captions' words, in the files and conventions of CLIP's tokenizer.

Most words of the captions become one token; any other text falls back to smaller pieces and in the end to bytes.
"""

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from random import Random

from engine.sd.tokenizer import END, START, WORD_END, Tokenizer, byte_alphabet, clean, split_words
from training.emoji.captions import ARTICLES, TEMPLATES, caption, glyph, plural
from training.emoji.data import Emoji, load_emoji
from training.emoji.paths import parser, start_logging

log = logging.getLogger(__name__)

LENGTH = 32
"""Tokens of a prompt, start and end included."""
MERGES = 4_000
CAPTIONS_PER_EMOJI = 40

Pair = tuple[str, str]


def word_counts(emoji: Iterable[Emoji], seed: int = 0) -> Counter[str]:
    """Every word that a caption can hold, with about how often it does."""
    random, counts = Random(seed), Counter[str]()
    for item in emoji:
        fixed = [item.label, *item.names, *item.tags, plural(item.label), glyph(item)]
        drawn = [caption(item, random) for _ in range(CAPTIONS_PER_EMOJI)]
        counts.update(word for text in [*fixed, *drawn] for word in split_words(clean(text)))
    counts.update(word for text in [*TEMPLATES, *ARTICLES] for word in split_words(clean(text.format(""))))
    return counts


def letters(word: str) -> list[str]:
    """The bytes of a word as printable characters, the last one marked as the word's end."""
    parts = [byte_alphabet()[byte] for byte in word.encode("utf-8")]
    parts[-1] += WORD_END
    return parts


def merge_pair(parts: list[str], pair: Pair) -> list[str]:
    """Join every occurrence of the pair."""
    joined, i = [], 0
    while i < len(parts):
        if tuple(parts[i : i + 2]) == pair:
            joined.append(parts[i] + parts[i + 1])
            i += 2
        else:
            joined.append(parts[i])
            i += 1
    return joined


def train_merges(counts: Counter[str], most: int) -> list[Pair]:
    """The merges of byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909), the most frequent pair first."""
    split = {word: letters(word) for word in sorted(counts)}
    pairs: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[str]] = defaultdict(set)

    def register(word: str, sign: int) -> None:
        parts = split[word]
        for pair in pairwise(parts):
            pairs[pair] += sign * counts[word]
            where[pair].add(word)

    for word in split:
        register(word, 1)
    merges: list[Pair] = []
    while len(merges) < most and pairs:
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        if pairs[best] <= 0:
            break
        merges.append(best)
        for word in sorted(where.pop(best)):
            register(word, -1)
            split[word] = merge_pair(split[word], best)
            register(word, 1)
        pairs += Counter()  # drops pairs that no longer occur
    return merges


def vocabulary(merges: Iterable[Pair]) -> dict[str, int]:
    """Token -> id in CLIP's order: bytes, bytes that end a word, merges, start and end."""
    alphabet = list(byte_alphabet().values())
    tokens = [*alphabet, *(letter + WORD_END for letter in alphabet), *("".join(pair) for pair in merges), START, END]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def write_tokenizer(merges: list[Pair], folder: Path) -> None:
    """Write ``vocab.json``, ``merges.txt`` and ``tokenizer_config.json``, as transformers' CLIPTokenizer reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = json.dumps(vocabulary(merges), ensure_ascii=False)
    (folder / "vocab.json").write_text(tokens + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": LENGTH,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Entry point: write ``tokenizer/`` under the run's folder."""
    options = parser(__doc__)
    options.add_argument("--merges", type=int, default=MERGES)
    start_logging()
    arguments = options.parse_args()
    counts = word_counts(load_emoji(arguments.run_dir))
    merges = train_merges(counts, arguments.merges)
    folder = arguments.run_dir / "tokenizer"
    write_tokenizer(merges, folder)
    tokenizer = Tokenizer.load(folder)
    whole = sum(len(tokenizer.encode_word(word)) == 1 for word in counts)
    log.info("%d tokens; %d of %d words are one token", len(tokenizer.vocabulary), whole, len(counts))


if __name__ == "__main__":
    main()
