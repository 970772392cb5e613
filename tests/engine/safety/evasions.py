"""Ways in which people hide a word from a filter, each a function of the word."""

# ruff: noqa: RUF001  (look-alikes are what this is about)

from __future__ import annotations

from collections.abc import Callable

_LEET = str.maketrans("aeiost", "431057")
_LEET_SYMBOLS = str.maketrans("aeiost", "@3!0$7")
_CYRILLIC = str.maketrans("aceopxyijshkmtbn", "асеорхуіјѕһкмтвп")
_CYRILLIC_CAPITALS = str.maketrans("aceopxyijshkmtbn", "АСЕОРХУІЈЅНКМТВП")
_GREEK = str.maketrans("aeioukntpvxywszbc", "αειουκητρνχγωςζβϲ")
_GREEK_CAPITALS = str.maketrans("aehiokmnptxyzb", "ΑΕΗΙΟΚΜΝΡΤΧΥΖΒ")


def _letters(word: str, joint: str) -> str:
    return joint.join(word.replace(" ", ""))


def _shifted(word: str, start: int) -> str:
    return "".join(chr(start + ord(c) - ord("a")) if "a" <= c <= "z" else c for c in word)


def _middle(word: str, left: str, right: str) -> str:
    half = len(word) // 2
    return f"{word[:half]}{left}{word[half]}{right}{word[half + 1 :]}"


EVASIONS: dict[str, Callable[[str], str]] = {
    "plain": lambda w: w,
    "upper case": str.upper,
    "title case": str.title,
    "leet": lambda w: w.translate(_LEET),
    "leet with symbols": lambda w: w.translate(_LEET_SYMBOLS),
    "one leet letter": lambda w: next((w.replace(a, b, 1) for a, b in zip("aoies", "@013$", strict=True) if a in w), w),
    "full-width": lambda w: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in w),
    "mathematical bold": lambda w: _shifted(w, 0x1D41A),
    "mathematical fraktur": lambda w: _shifted(w, 0x1D586),
    "mathematical monospace": lambda w: _shifted(w, 0x1D68A),
    "circled": lambda w: _shifted(w, 0x24D0),
    "squared": lambda w: _shifted(w, 0x1F170),
    "regional indicators": lambda w: _shifted(w, 0x1F1E6),
    "combining marks": lambda w: "".join(c + "\u0336" for c in w),
    "stacked marks": lambda w: "".join(c + "\u0300\u0323\u035b" for c in w),
    "accents": lambda w: w.translate(str.maketrans("aeioucn", "äéîöüçñ")),
    "zero-width": "\u200b".join,
    "joiners": "\u200d".join,
    "soft hyphen": "\u00ad".join,
    "Cyrillic": lambda w: w.translate(_CYRILLIC),
    "Cyrillic capitals": lambda w: w.translate(_CYRILLIC_CAPITALS),
    "Greek": lambda w: w.translate(_GREEK),
    "Greek capitals": lambda w: w.translate(_GREEK_CAPITALS),
    "spaced": lambda w: _letters(w, " "),
    "spaced twice": lambda w: _letters(w, "  "),
    "dotted": lambda w: _letters(w, "."),
    "hyphenated": lambda w: _letters(w, "-"),
    "underscored": lambda w: _letters(w, "_"),
    "starred": lambda w: _letters(w, "*"),
    "barred": lambda w: _letters(w, "|"),
    "hyphen in the middle": lambda w: _middle(w, "-", ""),
    "last letter repeated": lambda w: w + w[-1] * 4,
    "a letter repeated": lambda w: _middle(w, w[len(w) // 2] * 5, ""),
    "all letters doubled": lambda w: "".join(c * 2 for c in w),
    "all letters tripled": lambda w: "".join(c * 3 for c in w),
    "double quotes": lambda w: f'"{w}"',
    "curly quotes": lambda w: f"“{w}”",
    "quotes inside": lambda w: _middle(w, '"', '"'),
    "apostrophe inside": lambda w: _middle(w, "'", ""),
    "round brackets": lambda w: f"(({w}))",
    "square brackets": lambda w: f"[{w}]",
    "curly brackets": lambda w: f"{{{w}}}",
    "brackets inside": lambda w: _middle(w, "(", ")"),
    "prompt weight": lambda w: f"({w}:1.3)",
    "prompt weight on a letter": lambda w: _middle(w, "(", ":1.4)"),
    "weight after brackets": lambda w: f"({w})1.4",
    "plus signs": lambda w: f"{w}++",
    "punctuation": lambda w: f"{w}!!!",
    "comma joined": lambda w: f"red,{w},blue",
    "spaced capitals with weight": lambda w: f"({_letters(w.upper(), ' ')}:0.9)",
}
