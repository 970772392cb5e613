"""The work fits the processor that it runs on."""

import pytest
import torch

from training.emoji.cores import half_precision, mixed_precision


@pytest.mark.parametrize(("known", "expected"), [("avx512_bf16", torch.bfloat16), ("avx2", torch.float32)])
def test_half_precision_only_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, known: str, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {known: True})
    assert half_precision() is expected
    with mixed_precision():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype is expected
