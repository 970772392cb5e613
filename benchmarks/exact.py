"""Our exact optimisations, one on top of the other: what each is worth, and that each draws the same.

Every rung holds weights of its own and all run in turns, which a model of full width needs 20 GB for.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import torch
from rich.table import Table
from torch import Tensor

from benchmarks import duel
from engine.bench import Loop, interleave
from engine.pipelines.optimisations import channels_last, optimise, pack_qkv
from engine.sd import onednn
from engine.sd.checkpoint import Components, load
from engine.sd.denoiser import predict_x0
from engine.sd.hoisting import pack_projections
from engine.sd.samplers import SAMPLERS, Query, sample

Run = Callable[[], Tensor]


def measure(terms: duel.Terms) -> dict[str, dict[str, float]]:
    """Figures of each rung, in order."""
    with torch.inference_mode():
        runs = {name: make(terms) for name, make in rungs(terms).items()}
        drawn = {name: run().double() for name, run in runs.items()}
        times = interleave(runs, terms.repeats, clock=terms.clock)
    first = next(iter(runs))
    plain = statistics.median(times[first])
    return {
        name: {
            "seconds": statistics.median(seconds),
            "ratio": plain / statistics.median(seconds),
            "relative_l2": float((drawn[name] - drawn[first]).norm() / drawn[first].norm()),
        }
        for name, seconds in times.items()
    }


def rungs(terms: duel.Terms) -> dict[str, Callable[[duel.Terms], Run]]:
    """How each is made; which there are depends on the machine."""
    found: dict[str, Callable[[duel.Terms], Run]] = {
        "as the papers have it": _written,
        "channels last": _channels_last,
        "out of the loop": _hoisted,
        "packed weights": _packed,
    }
    if onednn.available(terms.device, terms.placement.dtype):
        found["weights laid out once"] = _laid_out
    if terms.settings.compile != "off":
        found["compiled step"] = _compiled
    return found


def _load(terms: duel.Terms) -> tuple[Components, Loop]:
    parts = load(terms.folder, terms.placement)
    return parts, duel.make_loop(parts, duel.shape_of(terms, parts), terms.steps, terms.device)


def _written(terms: duel.Terms) -> Run:
    return _plain(*_load(terms), torch.contiguous_format)


def _channels_last(terms: duel.Terms) -> Run:
    parts, loop = _load(terms)
    channels_last(parts.unet)
    return _plain(parts, loop, torch.channels_last)


def _plain(parts: Components, loop: Loop, layout: torch.memory_format) -> Run:
    """Everything anew at every step, as the network's own `forward` has it."""
    way = SAMPLERS[loop.sampler]
    plan = way.plan(parts.schedule, loop.steps)
    context = torch.cat([loop.negative, loop.positive])

    def denoise(query: Query) -> Tensor:
        x = (query.x / math.hypot(query.sigma, 1)).to(parts.unet.dtype)
        batch = torch.cat([x, x]).contiguous(memory_format=layout)
        times = torch.full((2,), query.timestep, device=x.device)
        without, wanted = parts.unet(batch, times, context).float().chunk(2)
        return predict_x0(torch.lerp(without, wanted, loop.guidance), query.x, query.sigma, parts.prediction)

    return lambda: sample(way.run, denoise, loop.noise * plan.initial_scale, plan, [torch.Generator()])


def _hoisted(terms: duel.Terms) -> Run:
    parts, loop = _load(terms)
    channels_last(parts.unet)
    return loop.run


def _packed(terms: duel.Terms) -> Run:
    parts, loop = _load(terms)
    channels_last(parts.unet)
    pack_projections(parts.unet)
    pack_qkv(parts.unet)
    return loop.run


def _laid_out(terms: duel.Terms) -> Run:
    parts, loop = _load(terms)
    optimise(parts, terms.device, terms.placement.dtype)
    return loop.run


def _compiled(terms: duel.Terms) -> Run:
    parts, loop = _load(terms)
    optimise(parts, terms.device, terms.placement.dtype)
    network, forge = duel.network(terms, parts)
    duel.compiled(lambda: loop.run(network), forge)
    return lambda: loop.run(network)


def table(figures: dict[str, dict[str, float]]) -> Table:
    """The rungs for a terminal."""
    table = Table("", "seconds", "times as fast", "relative difference")
    for name, row in figures.items():
        table.add_row(name, f"{row['seconds']:.3f}", f"{row['ratio']:.2f}", f"{row['relative_l2']:.1e}")
    return table


def markdown(figures: dict[str, dict[str, float]], heading: str) -> str:
    """The rungs for a page."""
    lines = [f"| {heading} | seconds | times as fast | difference |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {'+ ' if number else ''}{name} | {row['seconds']:.2f} | {row['ratio']:.2f} | {row['relative_l2']:.0e} |"
        for number, (name, row) in enumerate(figures.items())
    ]
    return "\n".join(lines) + "\n"
