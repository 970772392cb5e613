"""Whether what is written on the page can be read: the contrast of its colours (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import re

import pytest

from bot.adapters.web.theme import STYLE, theme

COLORS = re.compile(r"--ez-([\w-]+): (#[0-9a-f]{3,6});")
LEAST = 4.5


def palette(selector: str) -> dict[str, str]:
    block = STYLE.partition(f"\n{selector} {{")[2].partition("}")[0]
    return dict(COLORS.findall(block))


def luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [":root", ".dark"])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        *((ink, ground) for ink in ("ink", "soft", "accent", "good", "wrong") for ground in ("card", "page")),
        ("on-accent", "accent"),
        ("wrong", "wrong-soft"),
        ("ink", "accent-soft"),
    ],
)
def test_words_can_be_read(scheme: str, ink: str, ground: str) -> None:
    colors = palette(scheme)
    assert contrast(colors[ink], colors[ground]) >= LEAST


@pytest.mark.parametrize("scheme", [":root", ".dark"])
@pytest.mark.parametrize("ground", ["card", "page"])
def test_fields_can_be_seen(scheme: str, ground: str) -> None:
    """WCAG 2.2, 1.4.11: what is not text needs three to one."""
    colors = palette(scheme)
    assert contrast(colors["edge"], colors[ground]) >= 3.0


def test_both_schemes_have_the_same_colours() -> None:
    assert palette(":root").keys() == palette(".dark").keys() != set()


def test_the_sign_in_page_has_the_same_dark() -> None:
    block = STYLE.partition("  .ez-sign-in {")[2].partition("}")[0]
    own = dict(COLORS.findall(block))
    assert own
    assert own.items() <= palette(".dark").items()


def test_nothing_is_fetched_from_elsewhere() -> None:
    made = theme()
    assert re.findall(r"(?:https?:)?//[\w.]", STYLE) == []
    assert not [sheet for sheet in made._stylesheets if "//" in sheet]
