"""The shapes of the networks, as frozen values read from the `config.json` files of the diffusers layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from engine.plain_unet import PLAIN_UNET

Config = dict[str, Any]
"""A parsed `config.json`."""

Prediction = Literal["epsilon", "v_prediction"]
Spacing = Literal["leading", "linspace", "trailing"]
"""How timesteps are spread (Lin et al. 2023, arXiv 2305.08891, table 2)."""
BetaSchedule = Literal["scaled_linear", "linear", "squaredcos_cap_v2"]
Activation = Literal["quick_gelu", "gelu"]


_VAE_FIXED: Config = {"act_fn": "silu", "in_channels": 3, "out_channels": 3, "use_quant_conv": True}
_SCHEDULE_FIXED: Config = {"clip_sample": False, "thresholding": False, "trained_betas": None}


def _refuse_others(config: Config, fixed: Mapping[str, object]) -> None:
    """Raise ValueError where a configuration asks for what would otherwise silently be left out."""
    for name, value in fixed.items():
        if config.get(name, value) != value:
            raise ValueError(f"{name} is {config[name]!r}, which this engine doesn't know")


def _per_level(value: int | list[int], levels: int) -> tuple[int, ...]:
    """Spread one number over all levels, as the configurations of diffusers allow."""
    return tuple(value) if isinstance(value, list) else (value,) * levels


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Shape of a CLIP text encoder; the defaults are ViT-L/14, the one of Stable Diffusion 1.x."""

    vocab_size: int = 49408
    max_positions: int = 77
    width: int = 768
    feed_forward: int = 3072
    layers: int = 12
    heads: int = 12
    activation: Activation = "quick_gelu"
    norm_eps: float = 1e-5

    @classmethod
    def from_dict(cls, config: Config) -> TextConfig:
        """Read the `text_encoder/config.json` of a diffusers folder."""
        return cls(
            vocab_size=config["vocab_size"],
            max_positions=config["max_position_embeddings"],
            width=config["hidden_size"],
            feed_forward=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            activation=config["hidden_act"],
            norm_eps=config.get("layer_norm_eps", 1e-5),
        )


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Shape of the denoising UNet; the defaults are Stable Diffusion 1.x."""

    in_channels: int = 4
    out_channels: int = 4
    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    cross_attention: tuple[bool, ...] = (True, True, True, False)
    """Which levels, from the widest picture to the smallest, hold transformers."""
    layers_per_block: int = 2
    transformer_depth: int = 1
    context_dim: int = 768
    heads: tuple[int, ...] = (8, 8, 8, 8)
    linear_projection: bool = False
    norm_groups: int = 32
    norm_eps: float = 1e-5

    @property
    def time_dim(self) -> int:
        """Width of the time embedding after its two-layer network."""
        return 4 * self.widths[0]

    @classmethod
    def from_dict(cls, config: Config) -> UNetConfig:
        """Read the `unet/config.json` of a diffusers folder. Raises ValueError for kinds unknown here."""
        _refuse_others(config, PLAIN_UNET)
        widths = tuple(config["block_out_channels"])
        # Where `num_attention_heads` is unset, diffusers reads the *number* of heads from `attention_head_dim`.
        heads = config.get("num_attention_heads") or config["attention_head_dim"]
        return cls(
            in_channels=config["in_channels"],
            out_channels=config["out_channels"],
            widths=widths,
            cross_attention=tuple(name.startswith("CrossAttn") for name in config["down_block_types"]),
            layers_per_block=config["layers_per_block"],
            transformer_depth=config.get("transformer_layers_per_block", 1),
            context_dim=config["cross_attention_dim"],
            heads=_per_level(heads, len(widths)),
            linear_projection=config.get("use_linear_projection", False),
            norm_groups=config.get("norm_num_groups", 32),
            norm_eps=config.get("norm_eps", 1e-5),
        )


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """Shape of the KL autoencoder; the defaults are that of Stable Diffusion 1.x and 2.x."""

    latent_channels: int = 4
    widths: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    norm_groups: int = 32
    scaling_factor: float = 0.18215
    """Latents are multiplied by this after encoding, so that they have about unit variance."""
    mid_attention: bool = True

    @property
    def factor(self) -> int:
        """Pixels per latent along each side."""
        return 1 << (len(self.widths) - 1)

    @classmethod
    def from_dict(cls, config: Config) -> VAEConfig:
        """Read the `vae/config.json` of a diffusers folder. Raises ValueError for kinds unknown here."""
        _refuse_others(config, _VAE_FIXED)
        return cls(
            latent_channels=config["latent_channels"],
            widths=tuple(config["block_out_channels"]),
            layers_per_block=config["layers_per_block"],
            norm_groups=config.get("norm_num_groups", 32),
            scaling_factor=config.get("scaling_factor", 0.18215),
            mid_attention=config.get("mid_block_add_attention", True),
        )


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The training noise schedule and what the UNet was trained to predict."""

    train_steps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: BetaSchedule = "scaled_linear"
    prediction: Prediction = "epsilon"
    steps_offset: int = 1
    zero_terminal_snr: bool = False
    spacing: Spacing | None = None
    """None leaves each sampler its own: leading for DDIM, evenly from first to last for the others."""
    ends_clean: bool = False
    """Whether DDIM's last step ends without noise, or with that of the first timestep as Stable Diffusion's does."""

    def __post_init__(self) -> None:
        """Raises ValueError for words that no schedule here answers to."""
        for value, known in (
            (self.beta_schedule, get_args(BetaSchedule)),
            (self.prediction, get_args(Prediction)),
            (self.spacing, (None, *get_args(Spacing))),
        ):
            if value not in known:
                raise ValueError(f"{value!r} is none of {known}")

    @classmethod
    def from_dict(cls, config: Config) -> ScheduleConfig:
        """Read the `scheduler/scheduler_config.json` of a diffusers folder; ValueError for kinds unknown here."""
        _refuse_others(config, _SCHEDULE_FIXED)
        return cls(
            train_steps=config["num_train_timesteps"],
            beta_start=config["beta_start"],
            beta_end=config["beta_end"],
            beta_schedule=config["beta_schedule"],
            prediction=config.get("prediction_type", "epsilon"),
            steps_offset=config.get("steps_offset", 0),
            zero_terminal_snr=config.get("rescale_betas_zero_snr", False),
            spacing=config.get("timestep_spacing"),
            ends_clean=config.get("set_alpha_to_one", True),
        )
