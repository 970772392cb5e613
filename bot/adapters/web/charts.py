"""Charts as SVG, in the page's own colours, each with its figures as text for those who don't see it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bot.adapters.web.html import esc

WIDE, NARROW, HEIGHT = 760, 320, 170
"""Of a screen and of a telephone, on which the letters would be too small otherwise."""
LEFT, BOTTOM, TOP = 34, 22, 8
GAP = 0.28
"""Share of a day's width between two columns."""
LABEL = 52
"""Width that a day's name needs."""

Days = Sequence[tuple[str, Sequence[int]]]


def columns(title: str, days: Days, names: Sequence[str]) -> str:
    """Stacked columns by day, a series a name; the first series stands below."""
    told = "; ".join(
        f"{day}: {', '.join(f'{n} {v}' for n, v in zip(names, values, strict=True))}" for day, values in days
    )
    drawn = (
        _svg(f"{title}. {told}", _stacks(days, names, width), width, kind)
        for width, kind in ((WIDE, "ez-wide"), (NARROW, "ez-narrow"))
    )
    return _panel(title, "".join(drawn), _legend(names))


def _stacks(days: Days, names: Sequence[str], whole: int) -> list[str]:
    top = _round_up(max((sum(values) for _, values in days), default=0))
    marks = [_grid(top, whole)]
    width = (whole - LEFT) / max(len(days), 7)
    every = max(1, math.ceil(LABEL / width))
    for place, (day, values) in enumerate(days):
        x = LEFT + (place + GAP / 2) * width
        y = float(HEIGHT - BOTTOM)
        for series, value in enumerate(values):
            height = (HEIGHT - BOTTOM - TOP) * value / top
            y -= height
            tip = f"{day}: {names[series]} {value}"
            marks.append(
                f'<rect class="ez-s{series}" x="{x:.1f}" y="{y:.1f}" width="{width * (1 - GAP):.1f}" '
                f'height="{height:.1f}" rx="2"><title>{esc(tip)}</title></rect>'
            )
        if place % every == 0 and x + LABEL / 2 < whole:
            marks.append(f'<text class="ez-axis" x="{x:.1f}" y="{HEIGHT - 6}">{esc(day[5:])}</text>')
    return marks


def bars(title: str, values: Mapping[str, float], unit: str = "", *, digits: int = 0) -> str:
    """A bar a name, longest as wide as the panel, its figure beside it."""
    most = max(values.values(), default=0.0) or 1.0
    rows = "".join(
        f'<div class="ez-row"><span class="ez-name" title="{esc(name)}">{esc(name)}</span>'
        f'<span class="ez-track"><span style="width:{max(1.0, 100 * value / most):.1f}%"></span></span>'
        f'<span class="ez-figure-text">{value:.{digits}f}{esc(unit)}</span></div>'
        for name, value in values.items()
    )
    return _panel(title, f'<div class="ez-rows">{rows}</div>', "")


def meter(title: str, value: float, limit: float, text: str) -> str:
    """How full something is."""
    share = min(1.0, value / limit) if limit else 0.0
    body = (
        f'<p class="ez-big">{esc(text)}</p><div class="ez-track" role="img" aria-label="{esc(text)}">'
        f'<span style="width:{100 * share:.1f}%"></span></div>'
    )
    return _panel(title, body, "")


def nothing(title: str, text: str) -> str:
    """A panel without figures yet."""
    return _panel(title, f'<p class="ez-none">{esc(text)}</p>', "")


def _panel(title: str, body: str, legend: str) -> str:
    return f'<section class="ez-card ez-panel"><header><h2>{esc(title)}</h2>{legend}</header>{body}</section>'


def _legend(names: Sequence[str]) -> str:
    keys = "".join(f'<li><span class="ez-key ez-s{place}"></span>{esc(name)}</li>' for place, name in enumerate(names))
    return f'<ul class="ez-legend">{keys}</ul>'


def _svg(told: str, marks: Sequence[str], width: int, kind: str) -> str:
    size = f"0 0 {width} {HEIGHT}"
    return f'<svg class="ez-chart {kind}" viewBox="{size}" role="img" aria-label="{esc(told)}">{"".join(marks)}</svg>'


def _grid(top: int, width: int) -> str:
    lines = []
    for share in (0.0, 0.5, 1.0):
        y = HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
        lines.append(f'<line class="ez-line" x1="{LEFT}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="ez-axis ez-end" x="{LEFT - 6}" y="{y + 4:.1f}">{top * share:g}</text>')
    return "".join(lines)


def _round_up(value: int) -> int:
    """The next number that halves well."""
    for top in (2, 4, 10, 20, 40, 100, 200, 400, 1000, 2000, 4000, 10_000):
        if value <= top:
            return top
    return -(-value // 10_000) * 10_000
