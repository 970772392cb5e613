"""The text half of CLIP, as Stable Diffusion conditions on it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.sd.attention import AttentionSettings, attend, join_heads, split_heads
from engine.sd.config import Activation, TextConfig
from engine.sd.layers import Embedding, PlainLinear


def activate(x: Tensor, kind: Activation) -> Tensor:
    """GELU, or the sigmoid approximation of it that OpenAI's CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x) if kind == "quick_gelu" else F.gelu(x)


class CLIPAttention(nn.Module):
    """Causal self-attention over the tokens of a prompt."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj = PlainLinear(config.width, config.width)
        self.k_proj = PlainLinear(config.width, config.width)
        self.v_proj = PlainLinear(config.width, config.width)
        self.out_proj = PlainLinear(config.width, config.width)

    def forward(self, x: Tensor, attention: AttentionSettings) -> Tensor:
        """[batch, tokens, width] in and out."""
        q, k, v = (split_heads(layer(x), self.heads) for layer in (self.q_proj, self.k_proj, self.v_proj))
        out: Tensor = self.out_proj(join_heads(attend(q, k, v, attention, causal=True)))
        return out


class CLIPMLP(nn.Module):
    """The feed-forward half of a layer."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.fc1 = PlainLinear(config.width, config.feed_forward)
        self.fc2 = PlainLinear(config.feed_forward, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, width] in and out."""
        out: Tensor = self.fc2(activate(self.fc1(x), self.activation))
        return out


class CLIPEncoderLayer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.self_attn = CLIPAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.mlp = CLIPMLP(config)

    def forward(self, x: Tensor, attention: AttentionSettings) -> Tensor:
        """[batch, tokens, width] in and out."""
        x = x + self.self_attn(self.layer_norm1(x), attention)
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class CLIPEmbeddings(nn.Module):
    """Token plus position embeddings."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.token_embedding = Embedding(config.vocab_size, config.width)
        self.position_embedding = Embedding(config.max_positions, config.width)

    def forward(self, ids: Tensor) -> Tensor:
        """[batch, tokens] -> [batch, tokens, width]."""
        out: Tensor = self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]
        return out


class CLIPEncoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CLIPEncoderLayer(config) for _ in range(config.layers))


class CLIPTextTransformer(nn.Module):
    """Embeddings, layers and the final norm."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embeddings = CLIPEmbeddings(config)
        self.encoder = CLIPEncoder(config)
        self.final_layer_norm = nn.LayerNorm(config.width, eps=config.norm_eps)


class CLIPTextModel(nn.Module):
    """CLIP text encoder (Radford et al. 2021, arXiv 2103.00020).

    Stable Diffusion 1.x takes all 12 layers of OpenAI's ViT-L/14. 2.x takes the penultimate layer of OpenCLIP's
    ViT-H/14, which is the same network with 23 of its 24 layers loaded and the final norm applied.
    """

    def __init__(self, config: TextConfig, attention: AttentionSettings | None = None) -> None:
        super().__init__()
        self.config = config
        self.attention = attention or AttentionSettings()
        self.text_model = CLIPTextTransformer(config)

    def forward(self, ids: Tensor) -> Tensor:
        """[batch, tokens] token ids -> [batch, tokens, width] conditioning."""
        x = self.text_model.embeddings(ids)
        for layer in self.text_model.encoder.layers:
            x = layer(x, self.attention)
        out: Tensor = self.text_model.final_layer_norm(x)
        return out
