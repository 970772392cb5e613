from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import UnknownModelError
from engine.models.manifest import FileRecord, Manifest
from engine.models.recipes import KNOWN_MODELS, KnownModel
from engine.models.registry import EMOJI, UNFETCHED, known_models, model_folder, resolve
from engine.plain_unet import PLAIN_UNET
from engine.settings import EngineSettings
from engine.types import SIZE_STEP, ModelInfo

PARTS = {
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
UNET = {"in_channels": 4, "out_channels": 4, "sample_size": 64, "down_block_types": ["CrossAttnDownBlock2D"]}


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    return EngineSettings(home=tmp_path / "home")


def write_model(folder: Path, index: dict[str, object] | None = None, unet: dict[str, object] | None = None) -> Path:
    """A folder in the diffusers layout, as far as the registry reads it."""
    parts: dict[str, object] = {"_class_name": "StableDiffusionPipeline", "feature_extractor": [None, None], **PARTS}
    contents = {
        "model_index.json": parts | (index or {}),
        "unet/config.json": UNET | (unet or {}),
        "vae/config.json": {"block_out_channels": [128, 256, 512, 512]},
    }
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(content))
    return folder


def mark_fetched(name: str, settings: EngineSettings, revision: str) -> Path:
    folder = write_model(model_folder(name, settings))
    files = {"model_index.json": FileRecord(size=(folder / "model_index.json").stat().st_size, sha256="0" * 64)}
    Manifest(repo="a/b", revision=revision, licence="mit", files=files).write(folder)
    return folder


@pytest.mark.parametrize(
    ("config", "special", "reading"),
    [
        ({"pad_token": "<|endoftext|>"}, {"pad_token": "!"}, "padding"),
        ({"pad_token": "!"}, {"pad_token": "!"}, ""),
        ({"pad_token": "<|endoftext|>", "added_tokens_decoder": {}}, {"pad_token": "!"}, ""),
        ({"pad_token": "<|endoftext|>"}, {}, ""),
    ],
)
def test_what_is_read_otherwise_than_before_is_told(
    tmp_path: Path, settings: EngineSettings, config: dict[str, object], special: dict[str, object], reading: str
) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "tokenizer" / "special_tokens_map.json").write_text(json.dumps(special))
    assert resolve(str(folder), settings).reading == reading


@pytest.mark.parametrize("name", known_models())
def test_every_known_model_resolves_with_sensible_defaults(name: str, settings: EngineSettings) -> None:
    info = resolve(name, settings).info
    assert info.name == name
    assert info.licence
    assert info.min_side <= info.native <= info.max_side
    assert info.min_side <= info.default_side <= info.max_side
    assert not [side for side in (info.min_side, info.default_side, info.max_side) if side % SIZE_STEP]


def test_the_bundled_model_is_small_square_and_honest(settings: EngineSettings) -> None:
    source = resolve(EMOJI, settings)
    info = source.info
    assert (info.native, info.default_side, info.min_side, info.max_side) == (128, 256, 128, 512)
    assert info.square_only
    assert source.native_only
    assert source.kind == "native"
    assert "small" in info.note


def test_a_known_model_is_pinned_and_installed_only_at_its_pin(settings: EngineSettings) -> None:
    pin = KNOWN_MODELS["sd15"].info.revision
    before = resolve("sd15", settings)
    assert (before.info.installed, before.info.revision) == (False, pin)
    mark_fetched("sd15", settings, "f" * 40)
    assert not resolve("sd15", settings).info.installed
    folder = mark_fetched("sd15", settings, pin)
    after = resolve("sd15", settings)
    assert (after.info.installed, after.kind, after.path) == (True, "native", folder)


def test_a_truncated_file_means_not_installed(settings: EngineSettings) -> None:
    folder = mark_fetched("sd15", settings, KNOWN_MODELS["sd15"].info.revision)
    (folder / "model_index.json").write_text("{")
    assert not resolve("sd15", settings).info.installed


def test_a_hub_id_takes_its_revision_from_what_was_fetched(settings: EngineSettings) -> None:
    before = resolve("someone/thing", settings).info
    assert (before.installed, before.revision, before.title) == (False, UNFETCHED, "someone/thing")
    mark_fetched("someone/thing", settings, "e" * 40)
    after = resolve("someone/thing", settings).info
    assert (after.installed, after.revision, after.native, after.licence) == (True, "e" * 40, 512, "mit")


@pytest.mark.parametrize("revision", ["", "@main"])
@pytest.mark.parametrize("known", KNOWN_MODELS.values(), ids=KNOWN_MODELS.keys())
def test_the_hub_id_of_a_known_model_has_its_options(
    known: KnownModel, revision: str, settings: EngineSettings
) -> None:
    name = known.repo + revision
    own = {"name", "title", "revision", "installed"}
    before = resolve(name, settings).info
    assert before.model_dump(exclude=own) == known.info.model_dump(exclude=own)
    assert (before.name, before.installed, before.revision) == (name, False, UNFETCHED)
    mark_fetched(name, settings, "e" * 40)
    after = resolve(name, settings).info
    assert after.model_dump(exclude=own) == known.info.model_dump(exclude=own)
    assert (after.name, after.installed, after.revision) == (name, True, "e" * 40)


def test_a_local_folder_has_a_revision_of_its_content(tmp_path: Path, settings: EngineSettings) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / "unet" / "weights.safetensors").write_bytes(b"1")
    first = resolve(str(folder), settings)
    assert (first.info.title, first.info.native, first.info.installed) == ("mine", 512, True)
    (folder / "unet" / "weights.safetensors").write_bytes(b"2")
    second = resolve(str(folder), settings)
    assert first.info.revision.startswith("local-")
    assert first.info.revision != second.info.revision


@pytest.mark.parametrize(
    ("index", "unet", "kind"),
    [
        ({}, {}, "native"),
        ({"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}, {}, "native"),
        ({"tokenizer": ["transformers", "CLIPTokenizerFast"]}, {}, "native"),
        ({"_class_name": "StableDiffusionXLPipeline"}, {}, "diffusers"),
        ({"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}, {}, "diffusers"),
        ({"vae": ["diffusers", "AutoencoderTiny"]}, {}, "diffusers"),
        ({"text_encoder": ["transformers", "T5EncoderModel"]}, {}, "diffusers"),
        ({}, {"in_channels": 9}, "diffusers"),
        ({}, {"time_cond_proj_dim": 256}, "diffusers"),
        ({}, {"mid_block_type": None}, "diffusers"),
        ({}, {"down_block_types": ["SimpleCrossAttnDownBlock2D"]}, "diffusers"),
    ],
)
def test_our_own_pipeline_draws_what_it_implements_and_diffusers_the_rest(
    tmp_path: Path, settings: EngineSettings, index: dict[str, object], unet: dict[str, object], kind: str
) -> None:
    assert resolve(str(write_model(tmp_path / "model", index, unet)), settings).kind == kind


@pytest.mark.parametrize("name", sorted(PLAIN_UNET))
def test_networks_that_our_own_pipeline_would_refuse_are_left_to_diffusers(
    tmp_path: Path, settings: EngineSettings, name: str
) -> None:
    for value, kind in ((PLAIN_UNET[name], "native"), (None if PLAIN_UNET[name] else "other", "diffusers")):
        assert resolve(str(write_model(tmp_path / "model", unet={name: value})), settings).kind == kind


@pytest.mark.parametrize(
    ("sample_size", "native"), [(96, 768), ([128, 96], 1024), (None, 1024), ("large", 1024), (4096, 2048), (1, 64)]
)
def test_the_native_side_is_read_or_guessed(
    tmp_path: Path, settings: EngineSettings, sample_size: object, native: int
) -> None:
    info = resolve(str(write_model(tmp_path / "model", unet={"sample_size": sample_size})), settings).info
    assert info.native == native
    assert ModelInfo.model_validate(info.model_dump()) == info


@pytest.mark.parametrize("content", ["", "[]", '{"unet": 3}', "{"])
def test_a_damaged_index_is_left_to_whoever_loads_it(tmp_path: Path, settings: EngineSettings, content: str) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model_index.json").write_text(content)
    assert resolve(str(folder), settings).kind == "diffusers"


@pytest.mark.parametrize(("name", "native"), [("v1-5-pruned-emaonly", 512), ("v2-1_768-ema-pruned", 768)])
@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_a_single_file_is_ours(tmp_path: Path, settings: EngineSettings, name: str, native: int, suffix: str) -> None:
    path = tmp_path / f"{name}{suffix}"
    path.write_bytes(b"weights")
    source = resolve(str(path), settings)
    assert (source.kind, source.path, source.info.native, source.info.title) == ("native", path, native, name)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_what_a_single_file_predicts_is_part_of_its_revision(
    tmp_path: Path, settings: EngineSettings, suffix: str
) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"weights")
    revisions = [resolve(str(path), settings).info.revision]
    for word in ("v", "eps"):
        path.with_suffix(".yaml").write_text(f'parameterization: "{word}"\n')
        revisions.append(resolve(str(path), settings).info.revision)
    assert len(set(revisions)) == 3


@pytest.mark.parametrize("name", ["sd16", "", "a/b/c", "../../etc", "..", "a b/c", "owner/.."])
def test_a_name_that_stands_for_nothing_is_one_sentence(
    tmp_path: Path, settings: EngineSettings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    with pytest.raises(UnknownModelError) as caught:
        resolve(name, settings)
    assert "\n" not in caught.value.sentence


@pytest.mark.parametrize("name", ["notes.txt", "folder"])
def test_a_path_that_is_no_model_is_one_sentence(tmp_path: Path, settings: EngineSettings, name: str) -> None:
    path = tmp_path / name
    path.mkdir() if name == "folder" else path.touch()
    with pytest.raises(UnknownModelError, match="is no model"):
        resolve(str(path), settings)


@pytest.mark.parametrize("module", ["engine.models.fetch", "engine.metrics", "engine.pipelines.factory"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    heavy = "{'torch', 'diffusers', 'transformers', 'huggingface_hub', 'numpy', 'pynvml'}"
    script = f"import sys, {module}; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
