"""The invisible mark: a number spread over the whole picture, which outlives JPEG, resizing and a mild crop.

Additive spread spectrum (Cox, Kilian, Leighton and Shamoon 1997) on a grid that is laid over the picture whatever its
size, so that resizing moves nothing. A tile of chips repeats over the grid, so that a crop only shifts it (Kutter
1998). Amplitude follows the picture's local contrast, and the reader divides by it again.

The tile has four parts. One is the same in every mark. Each of the others says one of 256 symbols by a word of an
orthogonal code (Hadamard's), of which the likeliest correlates best: two symbols for the number, one for its checksum.

Every chip has a sign of its own, random and independent of any picture. Without a mark a word's score is therefore a
sum of given amounts with random signs, which by Hoeffding's inequality exceeds t standard deviations with a probability
of at most exp(-t^2 / 2), whatever the picture shows. `FALSE_ALARMS` adds up all that is tried.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_NUMBER = 2**16 - 1
TILE = 32
"""Chips along a side of the tile."""
WORDS = 256
"""Symbols, and chips of the word that says one."""
GRIDS = (128, 64, 32)
"""Chips along a side of the picture; the finest whose chips have at least two pixels is drawn, all are looked for."""
LIMIT = 9.0
"""Standard deviations that a mark must reach to count as found."""

FLAT = 3.2
"""Amplitude on a chip of one pixel without contrast, in grey levels; larger chips are easier to see and to read."""
CONTRAST = 0.2
"""Amplitude per grey level of local contrast."""
STRONGEST = 3.0

SMALLEST_PART = 0.76
"""Share of a picture's width and height that a crop must leave for its mark to be looked for."""
PART_STEP = 0.015
"""Half a step shifts the chips at the edges by less than half their size."""
PROMISING = 5.5
"""Standard deviations of the tile's constant part from which the rest is read."""

LONGEST_READ = 2048
"""Pixels along a side; larger pictures are reduced before they are read."""

Array = NDArray[np.float32]


def _parts() -> tuple[float, ...]:
    return tuple(np.arange(1.0, SMALLEST_PART, -PART_STEP).tolist())


TRIALS = len(GRIDS) + 2 * len(_parts()) ** 2 * 4 * TILE**2
"""Places at which a word is looked for at most: whole pictures, and crops by two grids, four phases and all shifts."""
FALSE_ALARMS = TRIALS * (MAX_NUMBER + 1) * math.exp(-(LIMIT**2) / 2)
"""Bound on the probability that a picture without the mark is said to have one: 4 in 10 million."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A mark that was found."""

    number: int
    score: float
    """Standard deviations above chance; `LIMIT` or more."""
    cropped: bool
    """Whether it was found only by looking for a part of a picture."""


# Writing.


def apply(image: Image.Image, number: int) -> Image.Image:
    """A copy of a picture with the mark; RGB stays RGB, RGBA keeps its transparency, other modes become RGB.

    Args:
        image: of any size.
        number: 0 to `MAX_NUMBER`.
    """
    grid = _grid_for(image.size)
    color = np.asarray(image.convert("RGB"), dtype=np.float32)
    luma = color @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    chips = np.tile(_tile(number), (grid // TILE, grid // TILE)) * _amplitude(luma, grid)
    change = _resized(chips, image.size, Image.Resampling.BICUBIC)
    marked = Image.fromarray(np.clip(np.rint(color + change[..., None]), 0, 255).astype(np.uint8))
    if image.mode == "RGBA":
        marked.putalpha(image.getchannel("A"))
    return marked


def _grid_for(size: tuple[int, int]) -> int:
    return next((grid for grid in GRIDS if min(size) >= 2 * grid), GRIDS[-1])


def _amplitude(luma: Array, grid: int) -> Array:
    """Grey levels by which each chip changes the picture, [grid, grid]."""
    height, width = luma.shape
    flat = FLAT / math.sqrt(max(1.0, min(width, height) / grid))
    coarse = _resized(luma, (max(1, width // 8), max(1, height // 8)), Image.Resampling.BOX)
    detail = luma - _resized(coarse, (width, height), Image.Resampling.BILINEAR)
    contrast = np.sqrt(np.maximum(_resized(detail * detail, (grid, grid), Image.Resampling.BOX), 0))
    contrast = np.minimum(contrast, _blurred(contrast))  # an edge doesn't hide what lies beside it
    return np.asarray(np.clip(flat + CONTRAST * contrast, flat, STRONGEST), dtype=np.float32)


# Reading.


def find(image: Image.Image, *, cropped: bool = True) -> Mark | None:
    """The mark of a picture; `cropped` also looks for what is left of one, for about a second."""
    luma = _luma(image)
    whole = [_read(_folded(_whitened(_resized(luma, (grid, grid), Image.Resampling.BOX)))) for grid in GRIDS]
    found = max((read for read in whole if read), default=None)
    if found:
        return Mark(number=found[1], score=found[0], cropped=False)
    if not cropped:
        return None
    found = next(_in_parts(luma), None)
    return Mark(number=found[1], score=found[0], cropped=True) if found else None


def _luma(image: Image.Image) -> Array:
    plain = image if image.mode in ("L", "RGB") else image.convert("L" if image.mode[0] in "IF" else "RGB")
    reduced = plain.reduce(factor) if (factor := max(image.size) // LONGEST_READ) > 1 else plain
    return np.asarray(reduced.convert("RGB").convert("L"), dtype=np.float32)


def _read(tile: Array) -> tuple[float, int] | None:
    """Score and number of a folded picture, [TILE, TILE], if it holds a mark where the tile begins."""
    chips = tile.ravel() * _signs()
    parts = chips[_order()]
    words = _hadamard() @ parts.T
    symbols = np.argmax(words[:, 1:], axis=0)
    score = (words[0, 0] + words[symbols, [1, 2, 3]].sum()) / (np.linalg.norm(chips) + 1e-9)
    number = int(symbols[0]) << 8 | int(symbols[1])
    return (float(score), number) if score >= LIMIT and _checksum(number) == symbols[2] else None


def _in_parts(luma: Array) -> Iterator[tuple[float, int]]:
    """Marks in a picture of which this is a part: tries how large a part, and all places in it."""
    parts = _parts()
    for grid in GRIDS[:2]:
        for across, down in sorted(product(parts, parts), key=lambda pair: abs(pair[0] - pair[1])):
            # At two samples a chip, since a crop seldom begins where a chip does.
            size = 2 * round(grid * across), 2 * round(grid * down)
            fine = _resized(luma, size, Image.Resampling.BOX)
            for phase in product((0, 1), (0, 1)):
                tile = _folded(_whitened(_halved(fine, *phase)))
                scores = np.fft.irfft2(np.fft.rfft2(tile) * _constant_part(), s=(TILE, TILE))
                place = int(np.argmax(scores))
                if scores.flat[place] >= PROMISING * np.linalg.norm(tile) / 2:
                    shift = divmod(place, TILE)
                    found = _read(np.roll(tile, (-shift[0], -shift[1]), axis=(0, 1)))
                    if found:
                        yield found


def _halved(fine: Array, down: int, across: int) -> Array:
    """Every two by two samples averaged, the first row and column left out where asked."""
    height, width = ((side - 1) // 2 * 2 for side in fine.shape)
    part = fine[down : down + height, across : across + width]
    rows = part[::2] + part[1::2]
    return np.asarray((rows[:, ::2] + rows[:, 1::2]) / 4)


def _whitened(cells: Array) -> Array:
    """What is left of a picture without its own content, in units of its local contrast, and limited."""
    residue = cells - _blurred(cells)
    contrast = np.sqrt(np.maximum(_blurred(residue * residue), 0)) + 0.25
    return np.asarray(np.clip(residue / contrast, -1.5, 1.5))


def _folded(cells: Array) -> Array:
    """All tiles of a grid added up, [TILE, TILE]; an incomplete one counts as far as it goes."""
    height, width = cells.shape
    padded = np.pad(cells, ((0, -height % TILE), (0, -width % TILE)))
    return np.asarray(padded.reshape(-1, TILE, padded.shape[1] // TILE, TILE).sum(axis=(0, 2)))


def _blurred(cells: Array) -> Array:
    """The mean of three by three neighbours."""
    return np.asarray(_three_rows(_three_rows(cells).T).T / 9)


def _three_rows(cells: Array) -> Array:
    """Each row and its two neighbours added up; beyond the first and the last row the same goes on."""
    total = cells.copy()
    total[1:] += cells[:-1]
    total[0] += cells[0]
    total[:-1] += cells[1:]
    total[-1] += cells[-1]
    return total


def _resized(values: Array, size: tuple[int, int], how: Image.Resampling) -> Array:
    """`size`: width and height."""
    return np.asarray(Image.fromarray(values).resize(size, how), dtype=np.float32)


# The code. All of it follows from SHA-256, so that every installation reads every other's mark.


def _tile(number: int) -> Array:
    """The chips of a mark, each 1 or -1, [TILE, TILE]."""
    chips = np.empty(TILE**2, dtype=np.float32)
    symbols = (0, number >> 8, number & 255, _checksum(number))
    for places, symbol in zip(_order(), symbols, strict=True):
        chips[places] = _hadamard()[symbol]
    return (chips * _signs()).reshape(TILE, TILE)


def _checksum(number: int) -> int:
    return hashlib.sha256(b"easel mark %d" % number).digest()[0]


@lru_cache(maxsize=1)
def _order() -> NDArray[np.intp]:
    """Which chips belong to which part of the tile, [4, WORDS]."""
    draws = [hashlib.sha256(b"easel place %d" % chip).digest() for chip in range(TILE**2)]
    return np.array(sorted(range(TILE**2), key=draws.__getitem__)).reshape(-1, WORDS)


@lru_cache(maxsize=1)
def _signs() -> Array:
    """The sign of every chip of the tile."""
    draws = b"".join(hashlib.sha256(b"easel sign %d" % row).digest() for row in range(TILE**2 // 256))
    return np.unpackbits(np.frombuffer(draws, dtype=np.uint8)).astype(np.float32) * 2 - 1


@lru_cache(maxsize=1)
def _hadamard() -> Array:
    """The words of the code, one a row, [WORDS, WORDS] (Sylvester 1867)."""
    words = np.ones((1, 1), dtype=np.float32)
    while len(words) < WORDS:
        words = np.block([[words, words], [words, -words]])
    return words


@lru_cache(maxsize=1)
def _constant_part() -> NDArray[np.complex64]:
    """What correlates a folded picture with the part of the tile that is the same in every mark."""
    chips = np.zeros(TILE**2, dtype=np.float32)
    chips[_order()[0]] = _signs()[_order()[0]]
    return np.conj(np.fft.rfft2(chips.reshape(TILE, TILE))).astype(np.complex64)
