"""What bot and engine say to each other arrives as it was meant."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import wire
from engine.errors import EngineError, MemoryExhaustedError, UnreachableError, VersionMismatchError
from engine.types import SCHEMA_VERSION, Cached, Cost, Image, Order, Progress, SourceImage, Stage
from tests.bot.workbench import resolved

BYTES = bytes(range(256)) * 3


def test_an_order_arrives_whole() -> None:
    order = Order(
        job="J1",
        requests=(
            resolved("ä \u200d 🍎", seed=2**64 - 1),
            resolved("x", image=SourceImage(data=b"\x89PNG\r\n\x1a\n" + BYTES), strength=0.5),
        ),
        scope="a:b",
        owner="c:d",
    )
    assert wire.understood(wire.ORDER, wire.arguments(wire.call(order=order))["order"]) == order


def test_events_arrive_whole() -> None:
    image = Image(
        index=0,
        data=BYTES,
        request=resolved("x"),
        key="k",
        generation_key="g",
        cached=Cached.NONE,
        seconds={"denoise": 1.5},
        cost=Cost(gpu="A10", gpu_seconds=1.5, dollars=0.001),
    )
    progress = Progress(index=1, stage=Stage.DRAWING, step=1, steps=2, preview=BYTES)
    for event in (image, progress):
        assert wire.understood(wire.EVENT, wire.read(wire.value(event)).value) == event


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_bytes_arrive_whole(data: bytes) -> None:
    assert wire.understood(wire.VALUES["cache_read"], wire.read(wire.value(data)).value) == data


def test_answers_say_what_they_are() -> None:
    assert wire.read(wire.alive()).alive
    assert wire.read(wire.called("fc-1")).call == "fc-1"
    assert wire.read(wire.value(None)) == wire.Answer(value=None)


@pytest.mark.parametrize("error", [MemoryExhaustedError("Too large."), UnreachableError("Away.")])
def test_errors_arrive_as_themselves(error: EngineError) -> None:
    with pytest.raises(type(error), match=error.sentence):
        wire.read(wire.fault(error))


def test_an_error_that_only_the_other_side_knows_keeps_its_code_and_sentence() -> None:
    document = {"schema_version": 99, "error": {"code": "flooded", "sentence": "The cellar is full of water."}}
    with pytest.raises(EngineError, match="cellar") as caught:
        wire.read(json.dumps(document).encode())
    assert caught.value.code == "flooded"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b'{"value": 1}',
        b"\xff",
        b'{"schema_version": 2',
        b"7",
        b"[" * 100_000,
        b'{"schema_version": 2, "error": "it broke"}',
        b'{"schema_version": 2, "call": ["fc-1"]}',
    ],
)
def test_what_is_no_answer_is_said_so(payload: bytes) -> None:
    with pytest.raises(EngineError, match="doesn't understand"):
        wire.read(payload.replace(b'"schema_version": 2', f'"schema_version": {SCHEMA_VERSION}'.encode()))


def test_another_version_is_refused_with_both_numbers() -> None:
    with pytest.raises(VersionMismatchError, match=rf"\({SCHEMA_VERSION} and 1\)"):
        wire.read(b'{"schema_version": 1, "value": 3}')
    with pytest.raises(VersionMismatchError, match=rf"\(1 and {SCHEMA_VERSION}\)"):
        wire.arguments(b'{"schema_version": 1, "arguments": {}}')


def test_a_value_of_another_shape_is_refused() -> None:
    with pytest.raises(EngineError, match="doesn't understand"):
        wire.understood(wire.ORDER, {"job": 1})


def test_a_call_without_arguments_is_none() -> None:
    with pytest.raises(EngineError, match="doesn't understand"):
        wire.arguments(f'{{"schema_version": {SCHEMA_VERSION}}}'.encode())
