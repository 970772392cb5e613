"""The single-file layout in which Stable Diffusion 1.x and 2.x were first published, as tables of renames.

A name is rewritten by every rule of its part's table in turn. What the tables don't know stays as it is, and strict
loading then names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from engine.errors import WeightsError
from engine.sd.config import Prediction, ScheduleConfig, TextConfig, UNetConfig, VAEConfig
from engine.sd.weights import Weights

Rules = tuple[tuple[str, str], ...]

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
CLIP_PREFIX = "cond_stage_model.transformer."
OPENCLIP_PREFIX = "cond_stage_model.model."

IGNORED = re.compile(
    r"model_ema\.|cond_stage_model\.model\.(text_projection$|logit_scale$|attn_mask$)|.*\.embeddings\.position_ids$"
    r"|(betas|alphas_cumprod|alphas_cumprod_prev|sqrt_alphas_cumprod|sqrt_one_minus_alphas_cumprod"
    r"|log_one_minus_alphas_cumprod|sqrt_recip_alphas_cumprod|sqrt_recipm1_alphas_cumprod|posterior_variance"
    r"|posterior_log_variance_clipped|posterior_mean_coef1|posterior_mean_coef2|lvlb_weights|logvar|scale_factor)$"
)
"""Known to be there and not needed: moving averages, schedule tables, the other half of CLIP."""

CLIP_HEAD_WIDTH = 64
SD1_HEADS = 8
SD2_HEAD_WIDTH = 64
OPENCLIP_UNUSED_LAYERS = 1
"""Stable Diffusion 2.x conditions on the penultimate layer, so that the last one is dead weight."""

PARAMETERIZATION = re.compile(
    r"""^[ \t]*parameterization:[ \t]*(?P<quote>["']?)(?P<word>\w+)(?P=quote)[ \t]*(#.*)?\r?$""", re.MULTILINE
)
"""The one line that matters of the configuration that a model was trained with."""
PREDICTIONS: Mapping[str, Prediction] = {"eps": "epsilon", "v": "v_prediction"}

_RESNET: Rules = (
    (r"\.in_layers\.0\.", ".norm1."),
    (r"\.in_layers\.2\.", ".conv1."),
    (r"\.emb_layers\.1\.", ".time_emb_proj."),
    (r"\.out_layers\.0\.", ".norm2."),
    (r"\.out_layers\.3\.", ".conv2."),
    (r"\.(skip_connection|nin_shortcut)\.", ".conv_shortcut."),
)
_UNET: Rules = (
    (r"^input_blocks\.0\.0\.", "conv_in."),
    (r"^time_embed\.0\.", "time_embedding.linear_1."),
    (r"^time_embed\.2\.", "time_embedding.linear_2."),
    (r"^out\.0\.", "conv_norm_out."),
    (r"^out\.2\.", "conv_out."),
    (r"^middle_block\.0\.", "mid_block.resnets.0."),
    (r"^middle_block\.1\.", "mid_block.attentions.0."),
    (r"^middle_block\.2\.", "mid_block.resnets.1."),
)
_VAE: Rules = (
    (r"\.norm_out\.", ".conv_norm_out."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
    (r"\.down\.(\d+)\.", r".down_blocks.\1."),
    (r"\.block\.", ".resnets."),
    (r"\.(down|up)sample\.", r".\1samplers.0."),
)
VAE_ATTENTION: Rules = (
    (r"(attentions\.\d+)\.norm\.", r"\1.group_norm."),
    (r"(attentions\.\d+)\.(?:query|q)\.", r"\1.to_q."),
    (r"(attentions\.\d+)\.(?:key|k)\.", r"\1.to_k."),
    (r"(attentions\.\d+)\.(?:value|v)\.", r"\1.to_v."),
    (r"(attentions\.\d+)\.(?:proj_attn|proj_out)\.", r"\1.to_out.0."),
)
"""The autoencoder's attention was named differently in single files and in older folders."""
_OPENCLIP: Rules = (
    (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^ln_final\.", "text_model.final_layer_norm."),
    (r"^transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"\.ln_1\.", ".layer_norm1."),
    (r"\.ln_2\.", ".layer_norm2."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"\.attn\.", ".self_attn."),
)


def rename(key: str, rules: Rules) -> str:
    """Apply every rule to a name."""
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def _count(keys: Iterable[str], pattern: str) -> int:
    """One more than the highest number that the pattern's group finds; 0 when it finds none."""
    return max((int(found[1]) + 1 for key in keys if (found := re.match(pattern, key))), default=0)


def _part(weights: Weights, prefix: str) -> Weights:
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def unet_config(part: Weights) -> UNetConfig:
    """Read the UNet's shape off its own names and shapes (the prefix removed)."""
    blocks = _count(part, r"input_blocks\.(\d+)\.")
    ends = [i for i in range(1, blocks) if f"input_blocks.{i}.0.op.weight" in part]
    per_level = (ends[0] if ends else blocks) - 1
    firsts = range(1, blocks, per_level + 1)
    widths = tuple(part[f"input_blocks.{i}.0.out_layers.3.weight"].shape[0] for i in firsts)
    crossing = tuple(f"input_blocks.{i}.1.proj_in.weight" in part for i in firsts)
    transformer = "middle_block.1.transformer_blocks"
    linear = part["middle_block.1.proj_in.weight"].ndim == 2
    return UNetConfig(
        in_channels=part["input_blocks.0.0.weight"].shape[1],
        out_channels=part["out.2.weight"].shape[0],
        widths=widths,
        cross_attention=crossing,
        layers_per_block=per_level,
        transformer_depth=_count(part, rf"{re.escape(transformer)}\.(\d+)\."),
        context_dim=part[f"{transformer}.0.attn2.to_k.weight"].shape[1],
        # Heads leave no trace in the shapes; 1.x has eight on every level, 2.x heads of equal width.
        heads=tuple(width // SD2_HEAD_WIDTH for width in widths) if linear else (SD1_HEADS,) * len(widths),
        linear_projection=linear,
    )


def _unet_block(key: str, per_level: int) -> str:
    """Turn the running numbers of input and output blocks into levels and layers."""
    found = re.match(r"(input|output)_blocks\.(\d+)\.(\d+)\.(.*)", key)
    if not found:
        return key
    side, index, slot, rest = found[1], int(found[2]), int(found[3]), found[4]
    level, layer = divmod(index - 1, per_level + 1) if side == "input" else divmod(index, per_level + 1)
    block = f"{'down' if side == 'input' else 'up'}_blocks.{level}"
    if side == "input" and rest.startswith("op."):
        return f"{block}.downsamplers.0.conv.{rest.removeprefix('op.')}"
    if side == "output" and rest.startswith("conv."):
        return f"{block}.upsamplers.0.{rest}"
    return f"{block}.{'resnets' if slot == 0 else 'attentions'}.{layer}.{rest}"


def convert_unet(part: Weights, config: UNetConfig) -> Weights:
    """The UNet's weights (the prefix removed) under the names of `engine.sd.unet`."""
    layers = config.layers_per_block
    return {rename(_unet_block(rename(key, _UNET), layers), _RESNET): part[key] for key in part}


def vae_config(part: Weights) -> VAEConfig:
    """Read the autoencoder's shape off its own names and shapes (the prefix removed)."""
    levels = _count(part, r"encoder\.down\.(\d+)\.")
    return VAEConfig(
        latent_channels=part["post_quant_conv.weight"].shape[0],
        widths=tuple(part[f"encoder.down.{i}.block.0.conv1.weight"].shape[0] for i in range(levels)),
        layers_per_block=_count(part, r"encoder\.down\.0\.block\.(\d+)\."),
    )


def flatten_attention(key: str, weight: Tensor) -> Tensor:
    """The autoencoder's attention was once written with 1x1 convolutions; ours is linear."""
    return weight[:, :, 0, 0] if "attentions." in key and weight.ndim == 4 else weight


def convert_vae(part: Weights, config: VAEConfig) -> Weights:
    """The autoencoder's weights (the prefix removed) under the names of `engine.sd.vae`."""
    top = len(config.widths) - 1
    result: Weights = {}
    for key, weight in part.items():
        # The decoder's levels are numbered from the picture inwards, ours in the order in which they run.
        name = re.sub(r"\.up\.(\d+)\.", lambda found: f".up_blocks.{top - int(found[1])}.", key)
        name = rename(name, (*_VAE, *_RESNET, *VAE_ATTENTION))
        result[name] = flatten_attention(name, weight)
    return result


def convert_openclip(part: Weights, layers: int) -> Weights:
    """OpenCLIP's text encoder (the prefix removed) under the names of `engine.sd.clip`, its unused layers left out."""
    result: Weights = {}
    for key, weight in part.items():
        name = rename(key, _OPENCLIP)
        found = re.match(r"text_model\.encoder\.layers\.(\d+)\.", name)
        if found and int(found[1]) >= layers:
            continue
        packed = re.match(r"(.*\.self_attn\.)in_proj_(weight|bias)$", name)
        if packed:
            thirds = weight.chunk(3)
            result |= {f"{packed[1]}{letter}_proj.{packed[2]}": thirds[i] for i, letter in enumerate("qkv")}
        else:
            result[name] = weight
    return result


def text_config(converted: Weights, *, openclip: bool) -> TextConfig:
    """Read the text encoder's shape off its converted weights."""
    vocabulary, width = converted["text_model.embeddings.token_embedding.weight"].shape
    return TextConfig(
        vocab_size=vocabulary,
        max_positions=converted["text_model.embeddings.position_embedding.weight"].shape[0],
        width=width,
        feed_forward=converted["text_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        layers=_count(converted, r"text_model\.encoder\.layers\.(\d+)\."),
        heads=width // CLIP_HEAD_WIDTH,
        activation="gelu" if openclip else "quick_gelu",
    )


def _text(weights: Weights) -> tuple[TextConfig, Weights]:
    openclip = _part(weights, OPENCLIP_PREFIX)
    if openclip:
        layers = _count(openclip, r"transformer\.resblocks\.(\d+)\.") - OPENCLIP_UNUSED_LAYERS
        converted = convert_openclip(openclip, layers)
    else:
        clip = _part(weights, CLIP_PREFIX)
        converted = {key if key.startswith("text_model.") else f"text_model.{key}": clip[key] for key in clip}
    return text_config(converted, openclip=bool(openclip)), converted


def stated_prediction(path: Path) -> Prediction | None:
    """What the configuration beside a single file says that its network predicts: `parameterization: "v"` or `"eps"`.

    It is the `.yaml` of the file's name, as such models are published with; None where it is absent or doesn't say.
    Raises WeightsError.
    """
    beside = path.with_suffix(".yaml")
    try:
        found = PARAMETERIZATION.search(beside.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WeightsError(f"The model's file {beside} can't be read ({error.strerror}).") from error
    if found and found["word"] not in PREDICTIONS:
        raise WeightsError(f"{beside} says parameterization {found['word'][:20]}, which this engine doesn't know.")
    return PREDICTIONS[found["word"]] if found else None


def guess_prediction(path: Path, config: UNetConfig) -> Prediction:
    """What a file's network predicts, for want of any trace of it in the file or beside it.

    All of 1.x predict noise. Of 2.x those for 768 pixels predict the velocity, and are published with that number in
    their names (`768-v-ema`, `v2-1_768-ema-pruned`).
    """
    return "v_prediction" if config.linear_projection and "768" in path.stem else "epsilon"


def _check_channels(unet: UNetConfig, vae: VAEConfig, path: Path) -> None:
    """Raise WeightsError for a network that wants more than noisy latents, as inpainting's and instruct-pix2pix' do."""
    if not unet.in_channels == unet.out_channels == vae.latent_channels:
        raise WeightsError(
            f"{path} draws no pictures from text alone: its network takes {unet.in_channels} channels and gives "
            f"{unet.out_channels}, where latents have {vae.latent_channels}."
        )


@dataclass(frozen=True, kw_only=True)
class Original:
    """A single file, its parts renamed."""

    unet: tuple[UNetConfig, Weights]
    vae: tuple[VAEConfig, Weights]
    text_encoder: tuple[TextConfig, Weights]
    schedule: ScheduleConfig
    openclip: bool


def convert(weights: Weights, path: Path, prediction: Prediction | None = None) -> Original:
    """Take a single file apart; `path` is where it came from, for errors and for what it predicts, if that isn't given.

    Raises WeightsError when it is not a complete Stable Diffusion 1.x or 2.x that draws from text alone.
    """
    weights = {key: value for key, value in weights.items() if not IGNORED.match(key)}
    unknown = [key for key in weights if not key.startswith((UNET_PREFIX, VAE_PREFIX, CLIP_PREFIX, OPENCLIP_PREFIX))]
    if unknown:
        raise WeightsError(
            f"{path} is not a Stable Diffusion 1.x or 2.x checkpoint: it holds {len(unknown)} unknown weights, "
            f"among them {unknown[0]}."
        )
    unet_part, vae_part = _part(weights, UNET_PREFIX), _part(weights, VAE_PREFIX)
    try:
        unet, vae = unet_config(unet_part), vae_config(vae_part)
        text, text_weights = _text(weights)
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsError(f"{path} is not a Stable Diffusion 1.x or 2.x checkpoint: it lacks {error}.") from error
    _check_channels(unet, vae, path)
    return Original(
        unet=(unet, convert_unet(unet_part, unet)),
        vae=(vae, convert_vae(vae_part, vae)),
        text_encoder=(text, text_weights),
        schedule=ScheduleConfig(prediction=prediction or stated_prediction(path) or guess_prediction(path, unet)),
        openclip=text.activation == "gelu",
    )
