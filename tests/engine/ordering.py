"""Asking a real engine for pictures of a scripted pipeline, in few words."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from PIL import Image as Pillow

from engine.engine import Engine
from engine.types import Event, Image, Order, Progress, ResolvedRequest, Sampler

Open = Callable[..., AbstractAsyncContextManager[Engine]]


def request(prompt: str = "a red apple", seed: int = 7, **changes: Any) -> ResolvedRequest:
    values = {
        "steps": 2,
        "guidance": 3.0,
        "width": 128,
        "height": 128,
        "sampler": Sampler.DPMPP_2M,
        "model": "emoji",
    }
    return ResolvedRequest.model_validate(values | {"prompt": prompt, "seed": seed} | changes)


def order(
    *requests: ResolvedRequest, job: str = "j1", owner: str = "x:1", scope: str = "x:a", free: bool = False
) -> Order:
    return Order(job=job, requests=requests, scope=scope, owner=owner, seeds_free=free)


async def everything(engine: Engine, wanted: Order) -> list[Event]:
    return [event async for event in engine.generate(wanted)]


async def endings(engine: Engine, wanted: Order) -> list[Event]:
    """The last word on every picture, in the order of asking."""
    events = [event for event in await everything(engine, wanted) if not isinstance(event, Progress)]
    assert sorted(event.index for event in events) == list(range(len(wanted.requests)))
    return sorted(events, key=lambda event: event.index)


async def picture(engine: Engine, wanted: Order) -> Image:
    (event,) = await endings(engine, wanted)
    assert isinstance(event, Image)
    return event


def pixel(image: Image, at: tuple[int, int] = (2, 2)) -> Any:
    with Pillow.open(io.BytesIO(image.data)) as opened:
        return opened.convert("RGB").getpixel(at)
