"""The way back: weights of diffusers and transformers in the single-file layout of the first publications."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
OPENCLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def _unet_key(key: str, crossing: list[bool]) -> str:
    for name, original in UNET_ENDS.items():
        if key.startswith(f"{name}."):
            return key.replace(name, original, 1)
    part, _, rest = key.partition(".")
    if part == "mid_block":
        kind, index, inner = rest.split(".", 2)
        slot = 1 if kind == "attentions" else 2 * int(index)
        place = f"middle_block.{slot}"
    else:
        level, kind, index, inner = rest.split(".", 3)
        base = int(level) * 3
        if kind == "downsamplers":
            return f"input_blocks.{base + 3}.0.op.{inner.removeprefix('conv.')}"
        if kind == "upsamplers":
            return f"output_blocks.{base + 2}.{2 if crossing[::-1][int(level)] else 1}.{inner}"
        side, first = ("input_blocks", 1) if part == "down_blocks" else ("output_blocks", 0)
        place = f"{side}.{base + first + int(index)}.{1 if kind == 'attentions' else 0}"
    if kind == "resnets":
        name, _, tail = inner.rpartition(".")
        inner = f"{RESNET[name]}.{tail}"
    return f"{place}.{inner}"


def unet_state(unet: Any) -> State:
    crossing = [name.startswith("Cross") for name in unet.config.down_block_types]
    return {_unet_key(key, crossing): weight for key, weight in unet.state_dict().items()}


def vae_state(vae: Any) -> State:
    top = len(vae.config.block_out_channels) - 1
    result: State = {}
    for key, weight in vae.state_dict().items():
        name = re.sub(r"\.down_blocks\.(\d+)\.resnets\.", r".down.\1.block.", key)
        name = re.sub(r"\.down_blocks\.(\d+)\.downsamplers\.0\.", r".down.\1.downsample.", name)
        name = re.sub(r"\.up_blocks\.(\d+)\.resnets\.", lambda m: f".up.{top - int(m[1])}.block.", name)
        name = re.sub(r"\.up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f".up.{top - int(m[1])}.upsample.", name)
        name = re.sub(r"\.mid_block\.resnets\.(\d)\.", lambda m: f".mid.block_{int(m[1]) + 1}.", name)
        name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        attention = ".mid_block.attentions.0." in name
        name = name.replace(".mid_block.attentions.0.", ".mid.attn_1.").replace("group_norm", "norm")
        name = name.replace(".to_out.0.", ".proj_out.").replace(".to_", ".")
        result[name] = weight[:, :, None, None] if attention and weight.ndim == 2 else weight
    return result


def _text_model(text: Any) -> State:
    return {key.removeprefix("text_model."): weight for key, weight in text.state_dict().items()}


def clip_state(text: Any) -> State:
    """Stable Diffusion 1.x: the library's own names, with a table of positions that old versions saved."""
    state = {f"text_model.{key}": weight for key, weight in _text_model(text).items()}
    return {**state, "text_model.embeddings.position_ids": torch.arange(77)[None]}


def openclip_state(text: Any) -> State:
    """Stable Diffusion 2.x: packed projections, one layer more than is used, and the way to the image space."""
    state, result = _text_model(text), {}
    for key, weight in state.items():
        found = re.match(r"encoder\.layers\.(\d+)\.(.*)\.(weight|bias)$", key)
        if not found:
            continue
        layer, name, kind = found.groups()
        block = f"transformer.resblocks.{layer}"
        if name in OPENCLIP:
            result[f"{block}.{OPENCLIP[name]}.{kind}"] = weight
        elif name == "self_attn.q_proj":
            packed = [state[f"encoder.layers.{layer}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            result[f"{block}.attn.in_proj_{kind}"] = torch.cat(packed)
    last = int(text.config.num_hidden_layers)
    spare = {key: torch.full_like(weight, 9.0) for key, weight in result.items() if ".resblocks.0." in key}
    result |= {key.replace(".resblocks.0.", f".resblocks.{last}."): weight for key, weight in spare.items()}
    return {
        **result,
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "text_projection": torch.zeros(4, 4),
        "logit_scale": torch.tensor(4.6),
    }


def single_file(pipeline: Any, *, second: bool) -> State:
    """Everything that a published file holds, moving averages and schedule tables among it."""
    unet = unet_state(pipeline.unet)
    text = openclip_state(pipeline.text_encoder) if second else clip_state(pipeline.text_encoder)
    prefix = "cond_stage_model.model." if second else "cond_stage_model.transformer."
    parts = {
        **{f"model.diffusion_model.{key}": weight for key, weight in unet.items()},
        **{f"first_stage_model.{key}": weight for key, weight in vae_state(pipeline.vae).items()},
        **{prefix + key: weight for key, weight in text.items()},
        **{f"model_ema.diffusion_model{key.replace('.', '')}": weight[:1] for key, weight in unet.items()},
    }
    tables = ("betas", "alphas_cumprod", "sqrt_alphas_cumprod", "posterior_mean_coef1")
    extras = {name: torch.linspace(0, 1, 1000) for name in tables}
    tensors = {**parts, **extras, "model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(5)}
    return {key: weight.detach().clone(memory_format=torch.contiguous_format) for key, weight in tensors.items()}
