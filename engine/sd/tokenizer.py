"""CLIP's byte-pair tokenizer, written for prompts of any script and any length."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

START = "<|startoftext|>"
END = "<|endoftext|>"
WORD_END = "</w>"
CONTEXT = 77
"""Tokens that CLIP reads."""
MAX_CHARACTERS = 8_000
"""Longer texts are cut before tokenizing: far beyond any prompt's 77 tokens, and it bounds the work."""
MAX_CACHED_LETTERS = 64
"""Longer words are seldom seen twice."""

# Unicode's White_Space; Python's own notion of it holds four control characters more.
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_SPACES = re.compile(f"[{_SPACE}]+")
_CONTRACTIONS = re.compile(r"'(?:s|t|re|ve|m|ll|d)")
# Spelled in capitals these are words like any other, but still apart from their neighbours.
_BRACKETED = re.compile(r"(<\|)(startoftext|endoftext)(\|>)")


@lru_cache(maxsize=1)
def byte_alphabet() -> dict[int, str]:
    """A printable character for each of the 256 bytes, so that merges are plain text (Radford et al. 2019, GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    alphabet = {byte: chr(byte) for byte in printable}
    spare = (byte for byte in range(256) if byte not in alphabet)
    return alphabet | {byte: chr(256 + i) for i, byte in enumerate(spare)}


def clean(text: str) -> str:
    """Compose accents, squeeze white space and lower the case.

    Each character is lowered by itself: a final sigma is written like any other.
    """
    composed = _SPACES.sub(" ", unicodedata.normalize("NFC", text)).strip(" ")
    return "".join(character.lower() for character in composed)


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """`L`etter, `N`umber, `S`pace or `O`ther."""
    category = unicodedata.category(character)[0]
    if category in "LN":
        return category
    return "S" if _SPACES.match(character) else "O"


def split_words(text: str) -> list[str]:
    """Split as CLIP's pattern does: contractions, runs of letters, single digits, runs of anything else."""
    words: list[str] = []
    i = 0
    while i < len(text):
        kind, j = _kind(text[i]), i + 1
        if bracketed := _BRACKETED.match(text, i):
            words += bracketed.groups()
            j = bracketed.end()
        elif contraction := _CONTRACTIONS.match(text, i):
            words.append(contraction[0])
            j = contraction.end()
        elif kind != "S":
            while kind != "N" and j < len(text) and _kind(text[j]) == kind:
                j += 1
            words.append(text[i:j])
        i = j
    return words


class Tokenizer:
    """Byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909) with CLIP's conventions.

    Every token that ends a word carries `</w>`; a prompt is start token, words, end token, padding up to `length`.
    Bytes that the vocabulary lacks become the end token.
    """

    def __init__(
        self,
        vocabulary: dict[str, int],
        merges: Sequence[tuple[str, str]],
        *,
        length: int = CONTEXT,
        pad: str = END,
    ) -> None:
        self.vocabulary = vocabulary
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.length = length
        self.start, self.end, self.pad = vocabulary[START], vocabulary[END], vocabulary[pad]
        self._specials = re.compile("|".join(re.escape(token) for token in (START, END, pad)))
        self._encode_short = lru_cache(maxsize=16_384)(self._encode)

    @classmethod
    def load(cls, folder: Path, *, pad: str = END) -> Tokenizer:
        """Read `vocab.json` and `merges.txt`, or `tokenizer.json`, and the configuration where there is one.

        `pad` is the padding token where no configuration names it. Raises OSError, ValueError or KeyError for files
        that are absent or damaged.
        """
        config = _read_config(folder)
        pad_token = config.get("pad_token", pad)
        return cls(
            *_read_vocabulary(folder),
            length=min(config.get("model_max_length", CONTEXT), CONTEXT),
            pad=pad_token["content"] if isinstance(pad_token, dict) else pad_token,
        )

    def _merge(self, parts: list[str]) -> list[str]:
        """Join neighbours, those of the lowest rank first, until no pair is known: O(n log n) in the word's bytes."""
        size = len(parts)
        left, right = list(range(-1, size - 1)), list(range(1, size + 1))
        queue: list[tuple[int, int]] = []

        def offer(i: int, j: int) -> None:
            if i >= 0 and j < size and (rank := self.ranks.get((parts[i], parts[j]))) is not None:
                heappush(queue, (rank, i))

        for i in range(size - 1):
            offer(i, i + 1)
        while queue:
            rank, i = heappop(queue)
            j = right[i]
            if j >= size or self.ranks.get((parts[i], parts[j])) != rank:
                continue  # one of the two has been merged with another neighbour since
            parts[i], parts[j] = parts[i] + parts[j], ""
            right[i] = right[j]
            if right[i] < size:
                left[right[i]] = i
            offer(left[i], i)
            offer(i, right[i])
        return [part for part in parts if part]

    def _encode(self, word: str) -> tuple[int, ...]:
        letters = [byte_alphabet()[byte] for byte in word.encode("utf-8", errors="replace")]
        letters[-1] += WORD_END
        return tuple(self.vocabulary.get(token, self.end) for token in self._merge(letters))

    def encode_word(self, word: str) -> tuple[int, ...]:
        """Token ids of one word of `split_words`."""
        return self._encode_short(word) if len(word) <= MAX_CACHED_LETTERS else self._encode(word)

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, without start, end, padding or limit; special tokens spelled out in it are honoured."""
        ids: list[int] = []
        text, at = text[:MAX_CHARACTERS], 0
        for special in self._specials.finditer(text):
            ids += self._plain(text[at : special.start()])
            ids.append(self.vocabulary[special[0]])
            at = special.end()
        return ids + self._plain(text[at:])

    def _plain(self, text: str) -> list[int]:
        return [token for word in split_words(clean(text)) for token in self.encode_word(word)]

    def __call__(self, texts: Iterable[str]) -> list[list[int]]:
        """Each text as exactly `length` ids; what doesn't fit is cut."""
        return [self._pad(self.tokenize(text)) for text in texts]

    def _pad(self, ids: list[int]) -> list[int]:
        row = [self.start, *ids[: self.length - 2], self.end]
        return row + [self.pad] * (self.length - len(row))


def _read_json(path: Path) -> Any:  # noqa: ANN401  (what a file holds is checked by use)
    return json.loads(path.read_text(encoding="utf-8"))


def _read_config(folder: Path) -> dict[str, Any]:
    """What `tokenizer_config.json` says, and `special_tokens_map.json` over it.

    As in transformers, the map counts only beside a configuration without `added_tokens_decoder`, as old ones are:
    Stable Diffusion 2.1's two files name different padding tokens, and its map is right.
    """
    config, special = (
        _read_json(path) if path.exists() else {}
        for path in (folder / "tokenizer_config.json", folder / "special_tokens_map.json")
    )
    return config if "added_tokens_decoder" in config else {**config, **special}


def _read_vocabulary(folder: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Both ways of writing one; the older two files are preferred."""
    if (folder / "tokenizer.json").exists() and not (folder / "vocab.json").exists():
        model = _read_json(folder / "tokenizer.json")["model"]
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        return model["vocab"], [(left, right) for left, right in pairs]
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    return _read_json(folder / "vocab.json"), read_merges(lines)


def read_merges(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of a `merges.txt`, best first; a leading `#version` line is skipped."""
    pairs = []
    for line in lines:
        left, _, right = line.strip(" \r\n").partition(" ")
        if right and not line.startswith("#version"):
            pairs.append((left, right))
    return pairs
