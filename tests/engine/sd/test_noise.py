from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.sd.noise import BlendedNoise, draw, draw_noise, slerp

SHAPE = (4, 16, 16)


def noise(seed: int) -> Tensor:
    return draw(torch.Generator().manual_seed(seed), SHAPE)


def test_the_ends_of_an_arc_are_what_they_were() -> None:
    assert slerp(noise(1), noise(2), 0) is not noise(1)
    assert torch.equal(slerp(noise(1), noise(2), 0), noise(1))
    assert torch.equal(slerp(noise(1), noise(2), 1), noise(2))


@given(st.floats(0, 1))
def test_an_arc_keeps_the_strength_of_the_noise(share: float) -> None:
    blended = slerp(noise(1), noise(2), share)
    assert blended.dtype == torch.float32
    assert blended.std().item() == pytest.approx(1, abs=0.05)


def test_the_middle_of_an_arc_is_as_far_from_either_end() -> None:
    a, b = noise(1), noise(2)
    middle = slerp(a, b, 0.5)
    assert torch.allclose(middle, slerp(b, a, 0.5), atol=1e-6)
    near, far = (torch.nn.functional.cosine_similarity(a.flatten(), x.flatten(), 0).item() for x in (middle, b))
    angle, whole = torch.tensor([near, far]).arccos().tolist()
    assert angle == pytest.approx(whole / 2, rel=0.05)


@pytest.mark.parametrize("other", [1.0, 2.0, -1.0])
def test_noise_of_one_direction_has_no_arc_and_is_no_fault(other: float) -> None:
    assert torch.isfinite(slerp(noise(1), other * noise(1), 0.3)).all()


def test_a_blend_draws_as_its_own_seed_or_the_other_at_the_ends() -> None:
    for seed, towards in ((7, [(8, 0.0)]), (8, [(7, 0.3), (8, 1.0)])):
        plain, blended = torch.Generator().manual_seed(seed), BlendedNoise(7 if seed == 7 else 5, towards)
        for _ in range(3):  # whatever a sampler adds on its way, too
            assert torch.equal(draw(plain, SHAPE), draw(blended, SHAPE))


def test_blends_are_applied_in_order() -> None:
    there, back = ([(1, 0.5), (2, 0.5)], [(2, 0.5), (1, 0.5)])
    ours = slerp(slerp(noise(7), noise(1), 0.5), noise(2), 0.5)
    assert torch.equal(BlendedNoise(7, there).draw(SHAPE), ours)
    assert not torch.equal(BlendedNoise(7, back).draw(SHAPE), ours)


def test_each_sample_draws_from_its_own_source() -> None:
    device = torch.device("cpu")
    together = draw_noise([torch.Generator().manual_seed(7), BlendedNoise(8, [(9, 0.2)])], SHAPE, device)
    alone = draw_noise([BlendedNoise(8, [(9, 0.2)])], SHAPE, device)
    assert torch.equal(together[0], noise(7))
    assert torch.equal(together[1:], alone)


def test_global_randomness_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    BlendedNoise(1, [(2, 0.5)]).draw(SHAPE)
    assert torch.equal(before, torch.random.get_rng_state())
