"""Draws the picture of the README with the bundled model: `.venv/bin/python scripts/gallery.py`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

TARGET = Path(__file__).parent.parent / "docs" / "images" / "emoji.png"
PROMPTS = (
    "a red apple",
    "a smiling cat",
    "a rocket",
    "a slice of pizza",
    "a tropical fish",
    "a snowman",
    "a green dragon",
    "a birthday cake",
)
SEED = "7"
SIDE = 256
COLUMNS = 4


def draw(folder: Path) -> list[Path]:
    """Every prompt as a picture of its own, in order."""
    command = [sys.executable, "-m", "bot", "batch", "-", "-o", str(folder), "--seed", SEED, "--no-watermark", "--json"]
    done = subprocess.run(  # noqa: S603  (our own command)
        [*command, "--size", str(SIDE)], input="\n".join(PROMPTS), stdout=subprocess.PIPE, text=True, check=True
    )
    return [Path(picture["file"]) for picture in json.loads(done.stdout)["pictures"]]


def join(files: list[Path]) -> Image.Image:
    """The pictures in rows, without gaps: all have a white ground."""
    rows = -(-len(files) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * SIDE, rows * SIDE), "white")
    for index, file in enumerate(files):
        with Image.open(file) as image:
            sheet.paste(image, (index % COLUMNS * SIDE, index // COLUMNS * SIDE))
    return sheet


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        join(draw(Path(folder))).save(TARGET, optimize=True)
