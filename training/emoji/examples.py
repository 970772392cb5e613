"""Training samples of text encoder and UNet: cached latents with captions drawn afresh."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from engine.sd.tokenizer import Tokenizer
from training.emoji.captions import captioned, shared_words
from training.emoji.data import Emoji, load_emoji
from training.emoji.latents import load_latents
from training.emoji.models import load_tokenizer


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What a batch is drawn from; `latents` float32 [N, 16, 8, 8] in the order of `emoji`."""

    latents: Tensor
    emoji: tuple[Emoji, ...]
    tokenizer: Tokenizer
    shared: tuple[tuple[int, str], ...]
    """As `shared_words` says."""

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Indices [count] of pictures, and token ids [count, tokens] of freshly drawn captions for them."""
        chosen = torch.randint(len(self.emoji), (count,), generator=generator)
        random = Random(int(torch.randint(2**62, (1,), generator=generator)))
        numbers, texts = zip(*captioned(chosen.tolist(), self.emoji, self.shared, random), strict=True)
        return torch.tensor(numbers), torch.tensor(self.tokenizer(texts))


def load_examples(run_dir: Path) -> Examples:
    """The prepared latents and words."""
    emoji = load_emoji(run_dir)
    return Examples(
        latents=load_latents(run_dir), emoji=emoji, tokenizer=load_tokenizer(run_dir), shared=shared_words(emoji)
    )
