"""A tiny checkpoint in the shape of Detoxify's release, with the files that belong to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification

from engine.safety.toxicity import CHECKPOINT

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ORIGINAL_CLASSES = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
"""As the first releases name them."""


def checkpoint(logits: list[float], classes: list[str] | None = None) -> dict[str, Any]:
    """A model whose answer to any text is about these six logits."""
    config = tiny_config()
    config.num_labels = len(logits)
    torch.manual_seed(0)
    model = BertForSequenceClassification(config)
    state = dict(model.state_dict())
    state["classifier.weight"] = torch.zeros_like(state["classifier.weight"])
    state["classifier.bias"] = torch.tensor(logits)
    state["bert.embeddings.position_ids"] = torch.arange(512)[None]  # a buffer of older transformers
    arguments = {
        "num_classes": len(logits),
        "model_type": "bert-base-uncased",
        "model_name": "BertForSequenceClassification",
        "tokenizer_name": "BertTokenizer",
    }
    return {
        "config": {
            "arch": {"type": "BERT", "args": arguments},
            "dataset": {"args": {"classes": classes or ORIGINAL_CLASSES}},
        },
        "state_dict": state,
    }


def tiny_config() -> BertConfig:
    return BertConfig(
        vocab_size=5 + 2 * len(LETTERS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=512,
    )


def write(folder: Path, content: dict[str, Any]) -> Path:
    """Lay out the folder as `easel fetch detoxify` does."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    (folder / "config.json").write_text(tiny_config().to_json_string(), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": True, "model_max_length": 512}), encoding="utf-8"
    )
    torch.save(content, folder / CHECKPOINT)
    return folder
