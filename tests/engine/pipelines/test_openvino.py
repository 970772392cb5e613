"""The compiled graphs answer as eager torch does, and are kept from one start to the next."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.models.registry import resolve
from engine.pipelines import openvino
from engine.pipelines.native import NativePipeline
from engine.pipelines.openvino import OpenVINOForge, Origin
from engine.pipelines.switching import Graph, SwitchingNetwork
from engine.sd.checkpoint import Components, load
from engine.sd.hoisting import Hoisted
from engine.settings import EngineSettings
from engine.types import Sampler
from tests.engine.pipelines.conftest import Sibling, ask, ignore_steps, psnr
from tests.engine.sd.siblings import relative_error

pytestmark = pytest.mark.skipif(not openvino.available(), reason="needs the extra openvino")
ROOT = Path(__file__).parents[3]
PATIENCE = 300.0
EQUAL = 1e-5
ROUNDED = 0.1
"""Of networks that compute in bfloat16, which has eight bits."""


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def parts(sd1: Sibling) -> Components:
    return load(sd1.folder)


@pytest.fixture(scope="module")
def origin(sd1: Sibling, parts: Components, tmp_path_factory: pytest.TempPathFactory) -> Origin:
    """Converted once for all tests."""
    origin = Origin(path=sd1.folder, tokenizer=None, kept_in=tmp_path_factory.mktemp("openvino"))
    with torch.no_grad():
        openvino.convert(parts, origin.folder())
    return origin


@pytest.fixture
def forge(origin: Origin) -> OpenVINOForge:
    return OpenVINOForge(origin, threads=1, half=False)


def compiled(forge: OpenVINOForge, name: str, inputs: tuple[Tensor, ...]) -> Graph:
    shapes = tuple(each.shape for each in inputs)
    assert forge.ready(name, shapes) is None
    assert forge.wait(PATIENCE)
    graph = forge.ready(name, shapes)
    assert graph is not None
    return graph


def prepared(hoisted: Hoisted, batch: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    times = torch.linspace(999, 3, batch)
    context = torch.randn(batch, 77, hoisted.unet.config.context_dim)
    return torch.randn(batch, 4, height, width), hoisted.shifts(times), hoisted.keys_values(context)


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 9, 14)], ids=["even", "odd on the way down"])
def test_the_step(forge: OpenVINOForge, parts: Components, shape: tuple[int, int, int]) -> None:
    hoisted = Hoisted(parts.unet)
    inputs = prepared(hoisted, *shape)
    answer, deep = hoisted(*inputs)
    ours, features = compiled(forge, "full", inputs)(*inputs)
    assert relative_error(ours, answer) < EQUAL
    assert relative_error(features, deep) < EQUAL


def test_the_step_on_earlier_features(forge: OpenVINOForge, parts: Components) -> None:
    hoisted = Hoisted(parts.unet)
    inputs = prepared(hoisted, 2, 8, 8)
    earlier = torch.randn_like(hoisted(*inputs)[1])
    (ours,) = compiled(forge, "shallow", (*inputs, earlier))(*inputs, earlier)
    assert relative_error(ours, hoisted(*inputs, earlier)[0]) < EQUAL


def test_the_decoder(forge: OpenVINOForge, parts: Components) -> None:
    latents = torch.randn(1, 4, 8, 6)
    (ours,) = compiled(forge, "decoder", (latents,))(latents)
    assert relative_error(ours, parts.vae.decode_scaled(latents)) < EQUAL


@pytest.mark.parametrize("half", [True, False])
def test_bfloat16_comes_in_and_goes_out(origin: Origin, parts: Components, half: bool) -> None:
    forge = OpenVINOForge(origin, threads=1, half=half)
    latents = torch.randn(1, 4, 4, 4).bfloat16()
    (ours,) = compiled(forge, "decoder", (latents,))(latents)
    assert ours.dtype == torch.bfloat16
    assert relative_error(ours.float(), parts.vae.decode_scaled(latents.float())) < ROUNDED


def test_a_process_that_ends_while_it_compiles_ends_in_order(origin: Origin) -> None:
    code = f"""
        from pathlib import Path
        from torch import Size
        from engine.pipelines.openvino import COMPILING, OpenVINOForge, Origin

        origin = Origin(path=Path({str(origin.path)!r}), tokenizer=None, kept_in=Path({str(origin.kept_in)!r}))
        OpenVINOForge(origin, threads=1, half=False).ready("decoder", (Size((1, 4, 8, 8)),))
        while not COMPILING.locked():
            pass
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_answers_are_not_written_over_by_the_next_call(forge: OpenVINOForge) -> None:
    latents = torch.randn(1, 4, 4, 4)
    graph = compiled(forge, "decoder", (latents,))
    (first,) = graph(latents)
    before = first.clone()
    graph(latents + 1)
    assert torch.equal(first, before)


def test_shapes_without_room_stay_with_eager_torch(forge: OpenVINOForge) -> None:
    forge._room = 0
    shapes = (torch.Size((1, 4, 4, 4)),)
    assert forge.ready("decoder", shapes) is None
    assert forge.wait(PATIENCE)
    assert forge.ready("decoder", shapes) is None
    assert forge.wait(0)  # and isn't tried again


def test_other_weights_have_another_folder(origin: Origin, sd2: Sibling) -> None:
    other = Origin(path=sd2.folder, tokenizer=None, kept_in=origin.kept_in)
    assert other.folder() != origin.folder()


def test_a_failed_conversion_leaves_eager_torch_serving(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "broken.safetensors").write_bytes(b"nothing")
    forge = OpenVINOForge(Origin(path=tmp_path, tokenizer=None, kept_in=tmp_path / "kept"), threads=1, half=False)
    shapes = (torch.Size((1, 4, 4, 4)),)
    assert forge.ready("decoder", shapes) is None
    assert forge.wait(PATIENCE)
    assert forge.ready("decoder", shapes) is None
    assert [path.name for path in tmp_path.iterdir()] == ["unet"]


def test_nothing_is_told_to_its_makers() -> None:
    openvino.import_openvino()
    assert sys.modules["openvino_telemetry"] is None


def unneeded(*_: object) -> tuple[Tensor, Tensor]:
    raise AssertionError("the compiled step was to serve")


def test_a_picture_is_the_same_before_and_after_the_switch(
    sd1: Sibling, origin: Origin, settings: EngineSettings
) -> None:
    settings = settings.model_copy(update={"compile": "auto"})
    shutil.copytree(origin.kept_in, settings.models_folder / "openvino")
    pipeline = NativePipeline(resolve(str(sd1.folder), settings), settings)
    pipeline.load()
    request = ask(steps=20, sampler=Sampler.DPMPP_2M)
    before, _, _ = (pipeline.draw([request], ignore_steps)[0].image for _ in range(3))
    assert pipeline.compiled(PATIENCE)
    after = pipeline.draw([request], ignore_steps)[0].image
    assert isinstance(pipeline._network, SwitchingNetwork)
    pipeline._network._eager = unneeded
    again = pipeline.draw([request], ignore_steps)[0].image
    assert psnr(after, before) >= 60
    assert again.tobytes() == after.tobytes()
