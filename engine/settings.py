"""What an operator may set about the engine. Plain values: `bot.settings` reads the environment, nothing here does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from engine.types import Position

GIB = 2**30
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class ToxicityThresholds(BaseModel):
    """Scores of Detoxify `original` above which a prompt counts as risky."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    toxicity: Probability = 0.7
    severe_toxicity: Probability = 0.5
    obscene: Probability = 0.7
    threat: Probability = 0.7
    insult: Probability = 0.8
    identity_attack: Probability = 0.7


class EngineSettings(BaseModel):
    """Settings of the engine; every field is `EASEL_<NAME>` in the environment and `<name>` in easel.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("easel"),
        description="Folder of the database, the cache, fetched models and logs.",
    )
    model: str = Field(default="emoji", description="Model that draws when a request names none.")
    models: tuple[str, ...] = Field(
        default=(), description="Further models that people may choose; the default model always may be chosen."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="Where pictures are drawn.")
    precision: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto", description="Number format of the weights; auto is float16 on a GPU and float32 on a CPU."
    )
    attention: Literal["auto", "flash", "efficient", "math", "xformers"] = Field(
        default="auto", description="Attention kernel."
    )
    attention_slice: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Attention heads computed at once; smaller needs less memory and more time."
    )
    int8: bool = Field(
        default=False,
        description="Hold the UNet's linear layers in 8 bits: less memory, not faster; needs the extra int8.",
    )
    compile: Literal["auto", "off"] = Field(
        default="auto",
        description="Compile the networks in the background; on a CPU that needs the extra openvino.",
    )
    offload: bool = Field(default=False, description="Keep on the GPU only the network that is working.")
    threads: Annotated[int, Field(ge=1, le=256)] | None = Field(
        default=None, description="CPU threads of torch; all cores when unset."
    )
    max_batch: Annotated[int, Field(ge=1, le=16)] = Field(
        default=4, description="Pictures that are drawn together at most; 1 draws one after the other."
    )
    generation_timeout: Annotated[float, Field(gt=0)] = Field(
        default=300.0, description="Seconds after which a generation is given up."
    )

    strict: bool = Field(default=False, description="Refuse risky prompts from everybody instead of steering them.")
    blocked_words: tuple[str, ...] = Field(default=(), description="Words blocked beside the built-in list.")
    allowed_words: tuple[str, ...] = Field(default=(), description="Words never blocked.")
    keyword_check: bool = Field(default=True, description="Check prompts against the word list.")
    toxicity_check: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Check prompts by Detoxify. auto: needed, except that the bundled model runs without it.",
    )
    toxicity_folder: Path | None = Field(
        default=None, description="Folder of Detoxify's files, where they don't lie among the fetched models."
    )
    toxicity: ToxicityThresholds = Field(
        default=ToxicityThresholds(), description="Scores above which a prompt counts as risky."
    )
    image_check: bool = Field(default=True, description="Check finished pictures by the image classifier.")
    image_threshold: Probability = Field(default=0.8, description="Score above which a picture is withheld.")

    image_input: bool = Field(
        default=False,
        description="Let people start a picture from an image of theirs; needs the check of finished pictures.",
    )
    previews: bool = Field(default=True, description="Show a small preview while a picture is drawn.")

    cache_bytes: Annotated[int, Field(ge=0)] = Field(
        default=10 * GIB, description="Size of the cache; the least recently used pictures go first."
    )
    cache_scope: Literal["workspace", "everyone"] = Field(
        default="workspace", description="Who shares cached pictures."
    )

    watermark_text: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        default="Easel", description="Text of the visible mark."
    )
    watermark_position: Position = Field(default=Position.BOTTOM_RIGHT, description="Where the visible mark sits.")
    watermark_opacity: Probability = Field(default=0.5, description="Opacity of the visible mark.")
    watermark_size: Annotated[int, Field(ge=6, le=256)] | None = Field(
        default=None, description="Height of the mark's letters in pixels; from the picture's width when unset."
    )
    watermark_color: str = Field(
        default="#ffffff", pattern="^#[0-9a-fA-F]{6}$", description="Colour of the visible mark."
    )
    watermark_margin: Annotated[int, Field(ge=0, le=512)] = Field(
        default=8, description="Distance of the visible mark from the edge in pixels."
    )
    parameters_in_file: bool = Field(default=True, description="Write prompt and options into the PNG's text.")
    invisible_mark: bool = Field(
        default=True, description="Hide a mark in the picture itself, which outlives JPEG, resizing and a mild crop."
    )
    installation_number: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=0, description="Number that the invisible mark carries, telling your pictures from others'."
    )
    content_credentials: bool = Field(
        default=True, description="Sign every file with content credentials (C2PA) that say a model made it."
    )
    c2pa_certificate: Path | None = Field(
        default=None, description="Certificate chain, PEM, that signs; one of our own making when unset."
    )
    c2pa_key: Path | None = Field(default=None, description="Private key of that certificate, PEM.")

    hub_url: str = Field(
        default="https://huggingface.co", pattern="^https?://", description="Address of the model hub, or of a mirror."
    )
    hub_token: SecretStr | None = Field(default=None, description="Token of the model hub, for gated models.")

    @property
    def cache_folder(self) -> Path:
        """Where finished and unmarked pictures lie."""
        return self.home / "cache"

    @property
    def models_folder(self) -> Path:
        """Where fetched weights lie, a folder each."""
        return self.home / "models"
