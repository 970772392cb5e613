"""The shapes of the three networks, and their ``config.json`` files in the layout of diffusers and transformers."""

from pathlib import Path

from torch import nn

from engine.sd.attention import AttentionSettings
from engine.sd.clip import CLIPTextModel
from engine.sd.config import Config, ScheduleConfig, TextConfig, UNetConfig, VAEConfig
from engine.sd.tokenizer import END, START, Tokenizer
from engine.sd.unet import UNet

IMAGE_SIZE = 128
LATENT_CHANNELS = 16
LATENT_SIZE = 8

VAE_CONFIG: Config = {
    "_class_name": "AutoencoderKL",
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": LATENT_CHANNELS,
    "block_out_channels": [16, 32, 64, 96, 128],
    "layers_per_block": 1,
    "down_block_types": ["DownEncoderBlock2D"] * 5,
    "up_block_types": ["UpDecoderBlock2D"] * 5,
    "norm_num_groups": 8,
    "act_fn": "silu",
    "sample_size": IMAGE_SIZE,
    "scaling_factor": 1.0,
    "force_upcast": False,
}

UNET_CONFIG: Config = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": LATENT_SIZE,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "block_out_channels": [128, 192],
    "layers_per_block": 1,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "cross_attention_dim": 192,
    "attention_head_dim": [4, 6],
    "use_linear_projection": True,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "act_fn": "silu",
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
}

SCHEDULER_CONFIG: Config = {
    "_class_name": "DPMSolverMultistepScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "solver_type": "midpoint",
    "use_karras_sigmas": True,
    "steps_offset": 1,
}

MODEL_INDEX: Config = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def text_config(tokenizer: Tokenizer) -> Config:
    """Shape of the text encoder over this vocabulary."""
    return {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": len(tokenizer.vocabulary),
        "max_position_embeddings": tokenizer.length,
        "hidden_size": UNET_CONFIG["cross_attention_dim"],
        "intermediate_size": 4 * UNET_CONFIG["cross_attention_dim"],
        "projection_dim": UNET_CONFIG["cross_attention_dim"],
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "bos_token_id": tokenizer.vocabulary[START],
        "eos_token_id": tokenizer.vocabulary[END],
        "pad_token_id": tokenizer.vocabulary[END],
    }


def load_tokenizer(run_dir: Path) -> Tokenizer:
    """The vocabulary that this run trained."""
    return Tokenizer.load(run_dir / "tokenizer")


def schedule_config() -> ScheduleConfig:
    """The noise schedule."""
    return ScheduleConfig.from_dict(SCHEDULER_CONFIG)


def vae_config() -> VAEConfig:
    """Shape of the autoencoder."""
    return VAEConfig.from_dict(VAE_CONFIG)


class Painter(nn.Module):
    """The two networks that learn together: words -> conditioning, noisy latents -> velocity."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        # On the CPU the flash kernel's backward pass takes a quarter of a step; for 64 positions plain products don't.
        attention = AttentionSettings(backend="math")
        self.text_encoder = CLIPTextModel(TextConfig.from_dict(text_config(tokenizer)), attention)
        self.unet = UNet(UNetConfig.from_dict(UNET_CONFIG), attention)
