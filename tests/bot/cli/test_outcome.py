"""From updates to exit codes and objects for machines."""

from __future__ import annotations

import pytest

from bot.chat import Failure, Picture, Queued, Refusal, Stopped, Update, Working
from bot.cli.outcome import Exit, Outcome
from engine.types import Cached, Image, Layer, Progress, ResolvedRequest, Sampler, Stage

REQUEST = ResolvedRequest(
    prompt="a red apple",
    steps=20,
    guidance=3.0,
    width=256,
    height=128,
    seed=7,
    sampler=Sampler.DPMPP_2M,
    model="emoji",
)


def picture(index: int = 0) -> Picture:
    image = Image(
        index=index,
        data=b"png",
        request=REQUEST,
        key="k" * 64,
        generation_key="g" * 64,
        cached=Cached.UNMARKED,
        seconds={"mark": 0.123456},
    )
    return Picture(image=image, file_name="apple.png", alt_text="an apple", caption="seed 7")


QUEUED = Queued(job="J1", pictures=1, position=0, eta_seconds=None, text="")
WORKING = Working(
    job="J1", pictures=1, progress=Progress(index=0, stage=Stage.DRAWING), eta_seconds=1.0, text="Drawing"
)


def test_a_delivered_picture() -> None:
    outcome = Outcome(1)
    outcome.take(QUEUED)
    outcome.take(WORKING)
    outcome.saved("J1", [(picture(), "apple.png")])
    assert outcome.code is Exit.DELIVERED
    assert outcome.single() == {
        "status": "delivered",
        "job": "J1",
        "file": "apple.png",
        "seed": 7,
        "width": 256,
        "height": 128,
        "cached": "unmarked",
        "seconds": {"mark": 0.1235},
        "key": "k" * 64,
        "refused_by": None,
        "reason": None,
    }


@pytest.mark.parametrize(
    ("update", "code", "status", "refused_by"),
    [
        (Refusal(job="J1", index=0, layer=Layer.KEYWORDS, text="no"), Exit.REFUSED, "refused", "keywords"),
        (Refusal(job=None, index=None, layer=None, text="no"), Exit.REFUSED, "refused", "rules"),
        (Failure(job="J1", index=0, text="no"), Exit.FAILED, "failed", None),
        (Failure(job=None, index=None, text="no"), Exit.FAILED, "failed", None),
        (Failure(job=None, index=None, input=True, text="no"), Exit.INPUT, "failed", None),
        (Stopped(job="J1", text="no"), Exit.FAILED, "failed", None),
    ],
)
def test_every_other_end(update: Update, code: Exit, status: str, refused_by: str | None) -> None:
    outcome = Outcome(1)
    outcome.take(update)
    single = outcome.single()
    assert (outcome.code, single["status"], single["refused_by"], single["reason"]) == (code, status, refused_by, "no")


def test_no_end_at_all_is_a_failure() -> None:
    assert Outcome(1).code is Exit.FAILED


def test_in_a_batch_the_worst_counts() -> None:
    outcome = Outcome(3)
    outcome.take(QUEUED)
    outcome.saved("J1", [(picture(0), "0.png"), (picture(2), "2.png")])
    outcome.take(Refusal(job="J1", index=1, layer=Layer.IMAGE, text="no"))
    several = outcome.several()
    assert outcome.code is Exit.REFUSED
    assert (several["status"], several["job"]) == ("refused", "J1")
    assert [one["status"] for one in several["pictures"]] == ["delivered", "refused", "delivered"]
    outcome.take(Failure(job="J1", index=1, text="no"))
    assert (outcome.code, outcome.several()["status"]) == (Exit.FAILED, "failed")
