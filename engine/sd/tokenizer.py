"""CLIP's byte-pair tokenizer, written for prompts of any script and any length."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

START = "<|startoftext|>"
END = "<|endoftext|>"
WORD_END = "</w>"
MAX_CHARACTERS = 8_000
"""Longer texts are cut before tokenizing: far beyond any prompt's 77 tokens, and it bounds the work."""

_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_SPACES = re.compile(r"\s+")


@lru_cache(maxsize=1)
def byte_alphabet() -> dict[int, str]:
    """A printable character for each of the 256 bytes, so that merges are plain text (Radford et al. 2019, GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    alphabet = {byte: chr(byte) for byte in printable}
    spare = (byte for byte in range(256) if byte not in alphabet)
    return alphabet | {byte: chr(256 + i) for i, byte in enumerate(spare)}


def clean(text: str) -> str:
    """Unescape HTML, compose, squeeze white space and lower the case, as CLIP's training data was."""
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(text[:MAX_CHARACTERS])))
    return _SPACES.sub(" ", text).strip().lower()


def _kind(character: str) -> str:
    category = unicodedata.category(character)
    if category[0] == "L":
        return "letter"
    if category[0] == "N":
        return "number"
    return "space" if character.isspace() else "other"


def split_words(text: str) -> list[str]:
    """Split as CLIP's pattern does: contractions, runs of letters, single digits, runs of anything else."""
    words: list[str] = []
    i = 0
    while i < len(text):
        special = next((s for s in (START, END, *_CONTRACTIONS) if text.startswith(s, i)), None)
        if special:
            words.append(special)
            i += len(special)
            continue
        kind, j = _kind(text[i]), i + 1
        while kind in ("letter", "other") and j < len(text) and _kind(text[j]) == kind and not _breaks(text, j):
            j += 1
        if kind != "space":
            words.append(text[i:j])
        i = j
    return words


def _breaks(text: str, at: int) -> bool:
    """Whether a special token starts inside a run."""
    return text.startswith((START, END), at)


class Tokenizer:
    """Byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909) with CLIP's conventions.

    Every token that ends a word carries `</w>`; a prompt is start token, words, end token, padding up to `length`.
    """

    def __init__(
        self,
        vocabulary: dict[str, int],
        merges: Sequence[tuple[str, str]],
        *,
        length: int = 77,
        pad: str = END,
    ) -> None:
        self.vocabulary = vocabulary
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.length = length
        self.start, self.end, self.pad = vocabulary[START], vocabulary[END], vocabulary[pad]
        self.encode_word = lru_cache(maxsize=16_384)(self._encode_word)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read `vocab.json`, `merges.txt` and `tokenizer_config.json` of a diffusers folder."""
        vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        pad = config.get("pad_token", END)
        return cls(
            vocabulary,
            read_merges(lines),
            length=config["model_max_length"],
            pad=pad["content"] if isinstance(pad, dict) else pad,
        )

    def _merge(self, parts: list[str]) -> list[str]:
        """Join the neighbours of the lowest rank until no pair is known."""
        while len(parts) > 1:
            pairs = list(zip(parts, parts[1:], strict=False))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            parts = _join(parts, best)
        return parts

    def _encode_word(self, word: str) -> tuple[int, ...]:
        if word in (START, END):
            return (self.vocabulary[word],)
        letters = [byte_alphabet()[byte] for byte in word.encode("utf-8")]
        letters[-1] += WORD_END
        return tuple(self.vocabulary[token] for token in self._merge(letters))

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, without start, end, padding or limit."""
        return [token for word in split_words(clean(text)) for token in self.encode_word(word)]

    def __call__(self, texts: Iterable[str]) -> list[list[int]]:
        """Each text as exactly `length` ids; what doesn't fit is cut."""
        return [self._pad(self.tokenize(text)) for text in texts]

    def _pad(self, ids: list[int]) -> list[int]:
        row = [self.start, *ids[: self.length - 2], self.end]
        return row + [self.pad] * (self.length - len(row))


def _join(parts: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    i = 0
    while i < len(parts):
        if tuple(parts[i : i + 2]) == pair:
            joined.append(parts[i] + parts[i + 1])
            i += 2
        else:
            joined.append(parts[i])
            i += 1
    return joined


def read_merges(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of a `merges.txt`, best first; a leading `#version` line is skipped."""
    pairs = []
    for line in lines:
        left, _, right = line.strip().partition(" ")
        if right and not line.startswith("#version"):
            pairs.append((left, right))
    return pairs
