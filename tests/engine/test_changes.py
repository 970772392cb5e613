"""Starting images, enlarged and varied pictures, and previews, through the engine's whole line."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from engine.engine import Engine
from engine.errors import SafetyUnavailableError
from engine.pipelines import pace
from engine.previews import Viewing
from engine.safety.images import ImageChecker
from engine.settings import EngineSettings
from engine.sources import source_image
from engine.types import (
    MAX_PREVIEW,
    Cached,
    Failed,
    Image,
    Layer,
    NoteCode,
    Order,
    Progress,
    Refused,
    Stage,
    Variation,
)
from tests.engine.ordering import Open, endings, everything, order, picture, request
from tests.engine.scripted_pipeline import ScriptedPipeline, color

VARIED: dict[str, Any] = {"variations": (Variation(seed=9, strength=0.2),)}


def start(fill: str = "teal") -> dict[str, Any]:
    file = io.BytesIO()
    Pillow.new("RGB", (128, 128), fill).save(file, "PNG")
    return {"image": source_image(file.getvalue(), 128, 128)}


def score(fill: str | tuple[int, int, int]) -> float:
    """What the classifier says of a plain picture."""
    return ImageChecker().score(Pillow.new("RGB", (128, 128), fill))


def text_of(image: Image) -> dict[str, str]:
    with Pillow.open(io.BytesIO(image.data)) as opened:
        return dict(opened.text)  # type: ignore[attr-defined]


async def test_an_enlarged_picture_is_kept_at_its_size(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine() as engine:
        plain, larger = await picture(engine, order(request())), await picture(engine, order(request(upscale=2)))
        sizes = {(entry.width, entry.height) for entry in await engine.cache_list("x:a")}
    assert plain.generation_key != larger.generation_key
    assert sizes == {(128, 128), (256, 256)}
    assert pipeline.batches == [(7,), (7,)]


async def test_a_mark_fits_the_enlarged_picture(open_engine: Open) -> None:
    wide: dict[str, Any] = {"watermark_text": "W" * 24, "watermark_size": 9}
    async with open_engine() as engine:
        (small,) = await endings(engine, order(request(**wide)))
        assert isinstance(small, Failed)
        assert isinstance(await picture(engine, order(request(upscale=2, **wide))), Image)


async def test_no_picture_is_enlarged_beyond_its_model(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine() as engine:
        (event,) = await endings(engine, order(request(width=512, height=512, upscale=2)))
    assert isinstance(event, Failed)
    assert (event.code, "up to 512 pixels" in event.sentence) == ("input", True)
    assert pipeline.batches == []


async def test_a_file_says_how_it_was_changed_and_holds_no_strangers_image(open_engine: Open) -> None:
    image = start()
    async with open_engine(image_input=True) as engine:
        changed = await picture(engine, order(request(spoiler=True, private=True, upscale=2, **VARIED, **image)))
        plain = await picture(engine, order(request(strength=0.3)))
        entries = await engine.cache_list("x:a")
    shown = next(entry.parameters for entry in entries if entry.key == changed.key)
    assert shown["image"] == image["image"].sha256
    assert (shown["strength"], shown["upscale"]) == (0.6, 2)
    assert shown["variations"] == [{"seed": 9, "strength": 0.2}]
    assert not {"spoiler", "private"} & shown.keys()
    others = next(entry.parameters for entry in entries if entry.key == plain.key)
    assert not {"image", "strength", "variations", "upscale"} & others.keys()
    assert image["image"].sha256 in text_of(changed)["easel"]
    assert len(text_of(changed)["easel"]) < 1_000


async def test_a_variation_never_takes_another_seed_from_the_cache(open_engine: Open) -> None:
    async with open_engine() as engine:
        await picture(engine, order(request(**VARIED), owner="x:1"))
        again = await picture(engine, order(request(seed=8, **VARIED), owner="x:2", free=True))
    assert again.request.seed == 8
    assert NoteCode.REUSED not in {note.code for note in again.notes}


async def test_starting_from_an_image_is_off_unless_allowed(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine() as engine:
        (event,) = await endings(engine, order(request(**start())))
    assert isinstance(event, Failed)
    assert (event.code, "switched off" in event.sentence) == ("input", True)
    assert pipeline.batches == []


async def test_starting_images_need_the_check_of_pictures(tmp_path: Path) -> None:
    engine = Engine(EngineSettings(home=tmp_path, image_input=True, image_check=False))
    with pytest.raises(SafetyUnavailableError, match="EASEL_IMAGE_INPUT"):
        await engine.start()
    await engine.close()


async def test_a_starting_image_is_judged_before_anything_is_drawn(
    open_engine: Open, pipeline: ScriptedPipeline
) -> None:
    """Half of what the classifier says of it is the limit: every drawn picture here scores less."""
    async with open_engine(image_input=True, image_threshold=score("teal") / 2) as engine:
        for _ in range(2):  # the second time from the remembered verdict
            (event,) = await endings(engine, order(request(**start())))
            assert isinstance(event, Refused)
            assert event.layer is Layer.IMAGE
    assert pipeline.batches == []


async def test_a_damaged_starting_image_is_bad_input(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    image = start()["image"]
    broken = image.model_copy(update={"data": image.data[:40]})
    async with open_engine(image_input=True) as engine:
        (event,) = await endings(engine, order(request(image=broken)))
    assert isinstance(event, Failed)
    assert event.code == "input"
    assert pipeline.batches == []


async def test_each_image_and_strength_has_its_own_pictures(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    wanted = [
        request(**start()),
        request(**start(), strength=0.6),
        request(**start(), strength=0.3),
        request(**start("maroon")),
        request(),
    ]
    async with open_engine(image_input=True) as engine:
        events = await endings(engine, order(*wanted))
    keys = [event.generation_key for event in events if isinstance(event, Image)]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
    assert sorted(map(len, pipeline.batches)) == [1, 1, 2]  # from noise, at 0.3, and both images at 0.6


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks are due at once."""
    monkeypatch.setattr(pace, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(pace, "SECONDS", 0.0)


async def previews(engine: Engine, pipeline: ScriptedPipeline, wanted: Order) -> dict[int, bytes]:
    """The previews of an order whose pipeline goes on once each picture has one."""
    pipeline.gate.clear()
    seen: dict[int, bytes] = {}
    async for event in engine.generate(wanted):
        if isinstance(event, Progress) and event.preview:
            seen[event.index] = event.preview
            if len(seen) == len(wanted.requests):
                pipeline.gate.set()
    return seen


@pytest.mark.usefixtures("at_once")
async def test_previews_are_small_and_each_pictures_own(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine() as engine:
        seen = await previews(engine, pipeline, order(request(seed=7), request(seed=200)))
    for index, seed in ((0, 7), (1, 200)):
        with Pillow.open(io.BytesIO(seen[index])) as shown:
            assert (shown.format, shown.size) == ("JPEG", (256, 128))
            assert abs(shown.convert("RGB").getpixel((100, 60))[0] - color(seed)[0]) < 4  # type: ignore[index]
        assert len(seen[index]) <= MAX_PREVIEW


@pytest.mark.usefixtures("at_once")
async def test_progress_repeats_the_latest_preview(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine() as engine:
        pipeline.gate.clear()
        drawing = []
        async for event in engine.generate(order(request())):
            if isinstance(event, Progress) and event.stage is Stage.DRAWING:
                drawing.append(event)
                if event.preview:
                    pipeline.gate.set()
    assert [(event.step, event.preview is not None) for event in drawing[-2:]] == [(1, True), (2, True)]
    assert drawing[-1].preview == drawing[-2].preview


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("settings", "changes", "shown"),
    [
        ({}, {}, True),
        ({"strict": True}, {}, False),
        ({}, {"strict": True}, False),
        ({}, {"prompt": "a naked apple"}, False),
    ],
    ids=["harmless", "strict installation", "strict request", "steered"],
)
async def test_there_are_no_previews_of_what_may_be_withheld(
    open_engine: Open,
    pipeline: ScriptedPipeline,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    changes: dict[str, Any],
    shown: bool,
) -> None:
    show = Viewing._show

    async def to_the_end(self: Viewing, *arguments: Any) -> None:
        await show(self, *arguments)
        pipeline.gate.set()

    monkeypatch.setattr(Viewing, "_show", to_the_end)
    async with open_engine(**settings) as engine:
        pipeline.gate.clear()
        events = await everything(engine, order(request(**changes)))
    assert isinstance(events[-1], Image)
    assert any(isinstance(event, Progress) and event.preview for event in events) is shown


@pytest.mark.usefixtures("at_once")
async def test_nobody_looks_where_previews_are_off(open_engine: Open, pipeline: ScriptedPipeline) -> None:
    async with open_engine(previews=False) as engine:
        await picture(engine, order(request()))
    assert pipeline.looks == 0


@pytest.mark.usefixtures("at_once")
async def test_a_preview_the_classifier_doubts_is_not_shown_though_the_picture_is(
    open_engine: Open, pipeline: ScriptedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubted = asyncio.Event()

    class Doubting(ImageChecker):
        def score(self, image: Pillow.Image) -> float:
            if image.size == (256, 128):  # a preview
                loop.call_soon_threadsafe(doubted.set)
                return 0.5
            return 0.7

    loop = asyncio.get_running_loop()
    async with open_engine(image_threshold=0.8) as engine:
        monkeypatch.setattr(engine._safety, "_images", Doubting())
        pipeline.gate.clear()
        task = asyncio.create_task(everything(engine, order(request())))
        await doubted.wait()
        pipeline.gate.set()
        events = await task
    assert isinstance(events[-1], Image)
    assert events[-1].cached is Cached.NONE
    assert not [event for event in events if isinstance(event, Progress) and event.preview]


@pytest.mark.usefixtures("at_once")
async def test_no_preview_is_shown_when_the_classifier_breaks(
    open_engine: Open, pipeline: ScriptedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = asyncio.Event()

    class Broken(ImageChecker):
        def score(self, image: Pillow.Image) -> float:
            loop.call_soon_threadsafe(broken.set)
            raise OSError("no weights")

    loop = asyncio.get_running_loop()
    async with open_engine() as engine:
        monkeypatch.setattr(engine._safety, "_images", Broken())
        pipeline.gate.clear()
        task = asyncio.create_task(everything(engine, order(request())))
        await broken.wait()
        pipeline.gate.set()
        events = await task
    assert isinstance(events[-1], Failed)
    assert events[-1].code == "safety"
    assert not [event for event in events if isinstance(event, Progress) and event.preview]
