"""Fetch, verify and prepare the art: every emoji as 128 x 128 RGB on white.

Art: Microsoft Fluent Emoji (MIT) as packed by ``@lobehub/fluent-emoji-3d`` (256 px WebP). Names, tags and short codes:
``emojibase-data`` (MIT). Both come from the npm registry, pinned by version and by the tarball's SHA-256.
"""

import hashlib
import io
import json
import logging
import re
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.emoji.paths import parser, start_logging

log = logging.getLogger(__name__)

SIZE = 128
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Package:
    """One pinned npm package."""

    name: str
    version: str
    tarball: str
    sha256: str


ART = Package(
    name="@lobehub/fluent-emoji-3d",
    version="1.1.0",
    tarball="lobehub-fluent-emoji-3d-1.1.0.tgz",
    sha256="c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
)
NAMES = Package(
    name="emojibase-data",
    version="17.0.0",
    tarball="emojibase-data-17.0.0.tgz",
    sha256="d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
)
SHORTCODES = ("cldr", "emojibase", "github", "iamcal", "joypixels")


@dataclass(frozen=True, kw_only=True)
class Emoji:
    """One picture's words: the CLDR label, the other names that people type, and the search tags.

    ``own`` are those of the tags that mean this picture when they stand alone.
    """

    hexcode: str
    label: str
    names: tuple[str, ...]
    tags: tuple[str, ...]
    colour: str | None
    own: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """``images``: uint8 [N, 128, 128, 3] on white; ``emoji``: the N entries in the same order."""

    images: Pixels
    emoji: tuple[Emoji, ...]


def fetch(package: Package, folder: Path) -> Path:
    """Path of the verified tarball in `folder`, downloaded with ``npm pack`` if it is missing.

    Raises ValueError when its SHA-256 differs from the pinned one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / package.tarball
    if not path.exists():
        command = ["npm", "pack", f"{package.name}@{package.version}", "--pack-destination", str(folder)]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603  (a pinned name)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise ValueError(f"{path} has SHA-256 {digest}, expected {package.sha256}")
    return path


def bare(hexcode: str) -> str:
    """A hexcode in lower case without variation selectors (the two packages differ in these)."""
    return hexcode.lower().replace("-fe0f", "")


def read_art(path: Path, size: int) -> dict[str, Pixels]:
    """Bare hexcode -> picture, uint8 [size, size, 3], composed on white."""
    pictures = {}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(".webp") else None
            if file is not None:
                pictures[bare(Path(member.name).stem)] = on_white(file.read(), size)
    return pictures


def on_white(data: bytes, size: int) -> Pixels:
    """Decode one picture, compose it on white and reduce it to `size`."""
    art = Image.open(io.BytesIO(data)).convert("RGBA")
    page = Image.new("RGBA", art.size, "white")
    page.alpha_composite(art)
    return np.asarray(page.convert("RGB").resize((size, size), Image.Resampling.LANCZOS))


def read_names(path: Path) -> list[dict[str, object]]:
    """The entries of emojibase with their short codes under ``names``."""
    with tarfile.open(path) as archive:

        def load(name: str) -> object:
            file = archive.extractfile(f"package/en/{name}.json")
            if file is None:
                raise ValueError(f"{name}.json is not in {path}")
            return json.load(file)

        entries = load("data")
        codes = [load(f"shortcodes/{source}") for source in SHORTCODES]
    if not isinstance(entries, list):
        raise TypeError("emojibase's data.json is not a list")
    for entry in entries:
        found = [code.get(entry["hexcode"]) for code in codes if isinstance(code, dict)]
        entry["names"] = sorted(set(flatten(found)))
    return entries


def flatten(values: Iterable[object]) -> list[str]:
    """Strings and lists of strings as one list of strings."""
    result: list[str] = []
    for value in values:
        if isinstance(value, str):
            result.append(value)
        elif isinstance(value, list):
            result.extend(str(item) for item in value)
    return result


def words(text: str) -> str:
    """A label or short code as a person would type it: lower case, plain quotes, spaces."""
    text = text.lower().replace("_", " ").translate(str.maketrans("\u2019\u201c\u201d", "'  "))
    return re.sub(r"\s+", " ", text).strip()


HUES = ((14, "red"), (40, "orange"), (66, "yellow"), (165, "green"), (255, "blue"), (290, "purple"), (335, "pink"))


def colour_of(picture: Pixels) -> str | None:
    """The name of the colour that most of the picture's own area has; None when none has half of it."""
    hue, saturation, value = np.asarray(Image.fromarray(picture).convert("HSV")).astype(np.float32).T
    inked = picture.astype(np.int16).min(axis=-1).T < 235
    degrees = hue * (360 / 255)
    names = np.full(degrees.shape, "red", dtype="<U6")
    for upper, name in reversed(HUES):
        names[degrees < upper] = name
    names[(names == "orange") & (value < 165)] = "brown"
    grey = saturation < 50
    names[grey] = "grey"
    names[grey & (value < 80)] = "black"
    names[grey & (value > 200)] = "white"
    found, counts = np.unique(names[inked], return_counts=True)
    if counts.size == 0 or counts.max() < 0.5 * counts.sum():
        return None
    return str(found[counts.argmax()])


def describe(entry: dict[str, object], picture: Pixels) -> Emoji:
    """The words of one emojibase entry."""
    label = words(str(entry["label"]))
    tags = [words(tag) for tag in flatten([entry.get("tags")])]
    names = [words(name) for name in flatten([entry.get("names")])]
    return Emoji(
        hexcode=str(entry["hexcode"]),
        label=label,
        names=tuple(dict.fromkeys(name for name in names if len(name) > 2 and name != label)),
        tags=tuple(dict.fromkeys(tag for tag in tags if len(tag) > 1)),
        colour=colour_of(picture),
    )


def own_tags(emoji: Sequence[Emoji]) -> list[tuple[str, ...]]:
    """Which of its tags each picture owns: of several that share a word, one is meant by the word alone.

    ``tree`` is a tag of five; drawn for all of them alike, it would teach a mixture of fir and palm. It belongs to the
    one whose label it is, else to one with it as a name, else as the label's last word; of these to the shortest label,
    of these to the first.
    """
    owners: dict[str, tuple[int, int, int]] = {}
    for number, item in enumerate(emoji):
        *before, last = item.label.split(" ")
        for word in {item.label, *item.names, *item.tags}:
            nearness = (word == item.label, word in item.names, word == last, True).index(True)
            claim = (nearness, len(before), number)
            owners[word] = min(owners.get(word, claim), claim)
    return [tuple(tag for tag in item.tags if owners[tag][-1] == number) for number, item in enumerate(emoji)]


def select(entries: list[dict[str, object]], art: dict[str, Pixels]) -> tuple[Dataset, Pixels]:
    """The classes (one per entry, no skin tones), and the skin-tone pictures as extra autoencoder data."""
    chosen = [entry for entry in entries if bare(str(entry["hexcode"])) in art]
    images = [art[bare(str(entry["hexcode"]))] for entry in chosen]
    described = [describe(entry, image) for entry, image in zip(chosen, images, strict=True)]
    emoji = tuple(replace(item, own=own) for item, own in zip(described, own_tags(described), strict=True))
    used = {bare(item.hexcode) for item in emoji}
    extra = [image for code, image in sorted(art.items()) if code not in used]
    return Dataset(images=np.stack(images), emoji=emoji), np.stack(extra)


def prepare(run_dir: Path, size: int = SIZE) -> Dataset:
    """Fetch both packages, write ``data/`` under `run_dir`, and return the classes."""
    packages, data = run_dir / "packages", run_dir / "data"
    data.mkdir(parents=True, exist_ok=True)
    dataset, extra = select(read_names(fetch(NAMES, packages)), read_art(fetch(ART, packages), size))
    np.save(data / "extra.npy", extra)
    np.save(data / "images.npy", dataset.images)
    listing = [asdict(item) for item in dataset.emoji]
    (data / "emoji.json").write_text(json.dumps(listing, ensure_ascii=False, indent=1), encoding="utf-8")
    log.info("%d classes and %d extra pictures of %d px in %s", len(listing), len(extra), size, data)
    return dataset


def load_emoji(run_dir: Path) -> tuple[Emoji, ...]:
    """The prepared entries, in the order of the pictures."""
    listing = json.loads((run_dir / "data" / "emoji.json").read_text(encoding="utf-8"))
    lists = ("names", "tags", "own")
    return tuple(Emoji(**{**item, **{name: tuple(item[name]) for name in lists}}) for item in listing)


def load_images(run_dir: Path, name: str = "images") -> Pixels:
    """The prepared pictures: uint8 [N, 128, 128, 3]; `name` is ``images`` or ``extra``."""
    pixels: Pixels = np.load(run_dir / "data" / f"{name}.npy")
    return pixels


def main() -> None:
    """Entry point: prepare the data."""
    arguments = parser(__doc__)
    start_logging()
    prepare(arguments.parse_args().run_dir)


if __name__ == "__main__":
    main()
