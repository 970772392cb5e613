from __future__ import annotations

import json
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors.torch import load_file, save_file
from torch import nn

from engine.errors import WeightsError
from engine.sd.checkpoint import Components, Placement, load
from engine.sd.weights import read_weights
from tests.engine.sd.conftest import Pair
from tests.engine.sd.original_layout import single_file
from tests.engine.sd.siblings import write_tokenizer


def parts(components: Components) -> list[nn.Module]:
    return [components.unet, components.vae, components.text_encoder]


def assert_same_weights(ours: Components, theirs: Components) -> None:
    for one, other in zip(parts(ours), parts(theirs), strict=True):
        expected = other.state_dict()
        assert one.state_dict().keys() == expected.keys()
        assert all(torch.equal(weight, expected[key]) for key, weight in one.state_dict().items())


@pytest.fixture
def folder(pair: Pair, tmp_path: Path) -> Path:
    copy = tmp_path / "model"
    shutil.copytree(pair.folder, copy)
    return copy


def test_the_layout_of_the_test_is_the_one_that_diffusers_reads(pair: Pair) -> None:
    state = single_file(pair.theirs, second=pair.family == "sd2")
    unet = convert_ldm_unet_checkpoint(state, pair.theirs.unet.config)
    vae = convert_ldm_vae_checkpoint(state, pair.theirs.vae.config)
    for converted, module in ((unet, pair.theirs.unet), (vae, pair.theirs.vae)):
        expected = module.state_dict()
        assert converted.keys() == expected.keys()
        assert all(torch.equal(weight, expected[key]) for key, weight in converted.items())


def test_a_single_file_is_the_folder(pair: Pair, single: Path) -> None:
    ours = load(single)
    assert_same_weights(ours, pair.ours)
    assert ours.unet.config == pair.ours.unet.config
    assert ours.vae.config == pair.ours.vae.config
    assert ours.text_encoder.config == pair.ours.text_encoder.config
    assert ours.tokenizer(["a cat!"]) == pair.ours.tokenizer(["a cat!"])
    assert ours.schedule.sigmas == pytest.approx(pair.ours.schedule.sigmas)


def test_networks_are_placed_as_wanted(pair: Pair, single: Path) -> None:
    for path in (pair.folder, single):
        model = load(path, Placement(dtype=torch.bfloat16))
        for part in parts(model):
            assert not part.training
            for parameter in part.parameters():
                assert parameter.dtype == torch.bfloat16
                assert parameter.device.type == "cpu"
                assert not parameter.requires_grad


def test_weights_are_mapped_not_copied(single: Path) -> None:
    weights = read_weights(single)
    first = next(iter(weights.values()))
    assert str(single) in Path("/proc/self/maps").read_text()
    assert first.numel() > 0


# The published `.ckpt` files: a trainer's callback and numpy scalars beside the weights.


@pytest.fixture
def lightning() -> Iterator[type]:
    """A class under the name of the trainer's, gone again when the file is written."""
    names = ["pytorch_lightning", "pytorch_lightning.callbacks", "pytorch_lightning.callbacks.model_checkpoint"]
    modules = {name: types.ModuleType(name) for name in names}
    callback = type("ModelCheckpoint", (), {"__module__": names[-1]})
    modules[names[-1]].ModelCheckpoint = callback  # type: ignore[attr-defined]
    sys.modules.update(modules)
    yield callback
    for name in names:
        sys.modules.pop(name, None)


def forget_lightning() -> None:
    for name in [name for name in sys.modules if name.startswith("pytorch_lightning")]:
        del sys.modules[name]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_published_ckpt_is_read(pair: Pair, tmp_path: Path, lightning: type, zipped: bool) -> None:
    path = tmp_path / "v1-5-pruned-emaonly.ckpt"
    content = {
        "epoch": 0,
        "global_step": 840_000,
        "pytorch-lightning_version": "1.4.2",
        "state_dict": single_file(pair.theirs, second=pair.family == "sd2"),
        "callbacks": {
            lightning: {"best_model_score": np.float64(0.25), "current_score": np.float32(1), "state": lightning()}
        },
        "optimizer_states": [],
    }
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    write_tokenizer(tmp_path / "tokenizer", pad="!" if pair.family == "sd2" else "<|endoftext|>")
    forget_lightning()
    assert_same_weights(load(path), pair.ours)
    assert "pytorch_lightning" not in sys.modules


class Bomb:
    """Runs code when it is unpickled by a careless reader."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("name", ["model.ckpt", "model.bin"])
def test_a_hostile_pickle_is_refused_unrun(tmp_path: Path, name: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / name
    torch.save({"state_dict": {"a": torch.zeros(2)}, "bomb": Bomb(trace)}, path)
    with pytest.raises(WeightsError, match=r"holds more than tensors; it was not loaded"):
        read_weights(path)
    assert not trace.exists()


def test_a_pickle_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.ckpt"
    torch.save([torch.zeros(2)], path)
    with pytest.raises(WeightsError, match="holds no weights"):
        read_weights(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_file_is_one_clear_sentence(tmp_path: Path, suffix: str, share: float) -> None:
    path, state = tmp_path / f"cut{suffix}", {f"layer.{i}": torch.randn(50, 50) for i in range(20)}
    if suffix == ".ckpt":
        torch.save({"state_dict": state}, path)
    else:
        save_file(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError) as caught:
        load(path)
    assert str(path) in caught.value.sentence
    assert caught.value.sentence.endswith(".")
    assert "\n" not in caught.value.sentence


def test_garbage_is_one_clear_sentence(tmp_path: Path) -> None:
    for suffix in (".safetensors", ".ckpt", ".bin"):
        path = tmp_path / f"garbage{suffix}"
        path.write_bytes(bytes(range(256)) * 40)
        with pytest.raises(WeightsError, match="damaged"):
            read_weights(path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"There is no weight file .*none\.safetensors"):
        load(tmp_path / "none.safetensors")


def test_a_file_that_can_t_be_read_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    with pytest.raises(WeightsError, match=r"folder\.safetensors"):
        read_weights(folder)


def change(path: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    state = {key: weight.clone() for key, weight in load_file(path).items()}
    edit(state)
    save_file(state, path)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda state: state.pop("model.diffusion_model.out.2.bias"), r"lacks 1 of them, first conv_out\.bias"),
        (lambda state: state.pop("model.diffusion_model.out.2.weight"), "lacks .*out.2.weight"),
        (lambda state: state.update({"lora.up": torch.zeros(1)}), "holds 1 unknown weights, among them lora.up"),
        (
            lambda state: state.update({"model.diffusion_model.label_emb.0.0.weight": torch.zeros(1)}),
            "has unknown 1 of them, first label_emb",
        ),
        (
            lambda state: state.update({"first_stage_model.quant_conv.bias": torch.zeros(3)}),
            r"has misshapen 1 of them, first quant_conv\.bias",
        ),
    ],
    ids=["a weight less", "a shape less", "another part", "a weight more", "a shape off"],
)
def test_single_files_are_loaded_strictly(single: Path, edit: Any, sentence: str) -> None:
    change(single, edit)
    with pytest.raises(WeightsError, match=sentence):
        load(single)


@pytest.mark.parametrize("channels", [9, 8], ids=["inpainting", "instruct-pix2pix"])
def test_models_that_need_an_image_are_one_clear_sentence(single: Path, channels: int) -> None:
    def widen(state: dict[str, torch.Tensor]) -> None:
        first = state["model.diffusion_model.input_blocks.0.0.weight"]
        state["model.diffusion_model.input_blocks.0.0.weight"] = first.repeat(1, 3, 1, 1)[:, :channels].contiguous()

    change(single, widen)
    with pytest.raises(WeightsError, match=rf"from text alone: its network takes {channels} channels and gives 4"):
        load(single)


def test_a_single_file_without_a_tokenizer_says_what_to_do(single: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "tokenizer").rename(elsewhere)
    with pytest.raises(WeightsError, match=r"holds no tokenizer.*put vocab\.json and merges\.txt there"):
        load(single)
    assert load(single, tokenizer=elsewhere).tokenizer.length == 77


def test_a_bare_vocabulary_pads_as_its_family_does(pair: Pair, single: Path) -> None:
    (single.parent / "tokenizer" / "tokenizer_config.json").unlink()
    assert load(single).tokenizer(["cat"]) == pair.ours.tokenizer(["cat"])


# Folders.


def rename_file(folder: Path, name: str, new: str) -> None:
    (folder / name).rename(folder / new)


def test_half_precision_variants_are_found(pair: Pair, folder: Path) -> None:
    for part, stem in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        rename_file(folder / part, f"{stem}.safetensors", f"{stem}.fp16.safetensors")
    assert_same_weights(load(folder), pair.ours)


def test_the_variant_that_fits_the_precision_is_preferred(folder: Path) -> None:
    whole = folder / "unet" / "diffusion_pytorch_model.safetensors"
    half = {key: torch.full_like(weight, 0.5).half() for key, weight in load_file(whole).items()}
    save_file(half, folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert bool((load(folder, Placement(dtype=torch.bfloat16)).unet.conv_in.weight == 0.5).all())
    assert not bool((load(folder).unet.conv_in.weight == 0.5).any())


def test_pickled_folders_are_read(pair: Pair, folder: Path) -> None:
    names = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "pytorch_model"}
    for part, stem in names.items():
        (safe,) = (folder / part).glob("*.safetensors")
        torch.save({key: weight.clone() for key, weight in load_file(safe).items()}, folder / part / f"{stem}.bin")
        safe.unlink()
    assert_same_weights(load(folder), pair.ours)


def test_old_names_of_the_autoencoders_attention_are_read(pair: Pair, folder: Path) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def age(state: dict[str, torch.Tensor]) -> None:
        for key in [key for key in state if "attentions" in key]:
            name = key
            for new, before in old.items():
                name = name.replace(f".{new}.", f".{before}.")
            state[name] = state.pop(key)

    change(folder / "vae" / "diffusion_pytorch_model.safetensors", age)
    assert_same_weights(load(folder), pair.ours)


def test_text_encoders_are_read_with_and_without_their_prefix(pair: Pair, folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    bare = {key.removeprefix("text_model."): weight.clone() for key, weight in load_file(path).items()}
    save_file(bare, path)
    assert_same_weights(load(folder), pair.ours)
    save_file({f"text_model.{key}": weight for key, weight in bare.items()}, path)
    assert_same_weights(load(folder), pair.ours)
    save_file({**bare, "embeddings.position_ids": torch.arange(77)[None]}, path)
    assert_same_weights(load(folder), pair.ours)


def test_a_tokenizer_in_one_file_is_read(pair: Pair, folder: Path) -> None:
    shutil.rmtree(folder / "tokenizer")
    pair.theirs.tokenizer.save_pretrained(folder / "tokenizer")
    assert not (folder / "tokenizer" / "vocab.json").exists()
    text = ["the red apple and the cat's book!! café 😀"]
    assert load(folder).tokenizer(text) == pair.ours.tokenizer(text)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), r"has no model_index\.json"),
        (lambda folder: (folder / "unet" / "config.json").unlink(), r"lacks its file .*unet/config\.json"),
        (lambda folder: (folder / "unet" / "config.json").write_text("{"), r"unet/config\.json is damaged"),
        (lambda folder: (folder / "vae" / "config.json").write_text("{}"), r"vae/config\.json is damaged"),
        (lambda folder: (folder / "vae" / "config.json").write_text("[1]"), r"vae/config\.json is damaged"),
        (
            lambda folder: shutil.rmtree(folder / "text_encoder"),
            r"lacks its file .*text_encoder/config\.json|no weights",
        ),
        (lambda folder: next((folder / "vae").glob("*.safetensors")).unlink(), "vae holds no weights"),
        (lambda folder: (folder / "tokenizer" / "merges.txt").unlink(), r"lacks its file .*merges\.txt"),
        (lambda folder: (folder / "tokenizer" / "vocab.json").write_text("[]"), "tokenizer .*is damaged"),
        (
            lambda folder: (folder / "scheduler" / "scheduler_config.json").unlink(),
            r"lacks its file .*scheduler_config",
        ),
    ],
    ids=[str(i) for i in range(10)],
)
def test_incomplete_folders_are_one_clear_sentence(folder: Path, spoil: Any, sentence: str) -> None:
    spoil(folder)
    with pytest.raises(WeightsError, match=sentence):
        load(folder)


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("unet/config.json", {"act_fn": "mish"}, "act_fn is 'mish'"),
        ("unet/config.json", {"time_cond_proj_dim": 256}, "time_cond_proj_dim is 256"),
        ("unet/config.json", {"addition_embed_type": "text_time"}, "addition_embed_type is 'text_time'"),
        ("vae/config.json", {"use_quant_conv": False}, "use_quant_conv is False"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "laplace"}, "'laplace' is none of"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "'sample' is none of"),
        ("scheduler/scheduler_config.json", {"timestep_spacing": "odd"}, "'odd' is none of"),
    ],
)
def test_kinds_that_would_draw_wrongly_are_refused(
    folder: Path, file: str, change: dict[str, Any], sentence: str
) -> None:
    config = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**config, **change}))
    with pytest.raises(WeightsError, match=sentence):
        load(folder)


def test_folders_are_loaded_strictly(folder: Path) -> None:
    config = json.loads((folder / "unet" / "config.json").read_text())
    config["layers_per_block"] = 1
    (folder / "unet" / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="don't fit: the file has unknown"):
        load(folder)
    (folder / "tokenizer" / "merges.txt").unlink()  # what is small is read before a network is built
    with pytest.raises(WeightsError, match=r"lacks its file .*merges\.txt"):
        load(folder)
