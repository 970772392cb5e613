"""What a UNet's configuration has to say, where it says anything of it, for `engine.sd` to draw with it.

It stands below both who read it: `engine.models` finds out who draws, before torch is there, and `engine.sd` loads.
"""

from __future__ import annotations

from collections.abc import Mapping

PLAIN_UNET: Mapping[str, object] = {
    "act_fn": "silu",
    "addition_embed_type": None,
    "attention_type": "default",
    "center_input_sample": False,
    "class_embed_type": None,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_norm": None,
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "num_class_embeds": None,
    "only_cross_attention": False,
    "resnet_time_scale_shift": "default",
    "time_cond_proj_dim": None,
    "time_embedding_type": "positional",
}
"""What all of Stable Diffusion 1.x and 2.x agree on."""
