"""What became of a command: the exit code for scripts, one object for machines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from enum import IntEnum
from typing import Any, Literal

from bot.chat import Failure, Picture, Queued, Refusal, Stopped, Update, Working

Status = Literal["delivered", "refused", "failed"]


class Exit(IntEnum):
    """Exit codes of `easel`."""

    DELIVERED = 0
    UNWELL = 1
    """`doctor` or `cache verify` found something to mend."""
    INPUT = 2
    REFUSED = 3
    FAILED = 4
    INTERRUPTED = 130
    """128 + SIGINT, as shells expect."""
    TERMINATED = 143
    """128 + SIGTERM."""


@dataclass(frozen=True, kw_only=True)
class PictureOutcome:
    """One picture; what doesn't apply is None."""

    status: Status
    job: str | None = None
    file: str | None = None
    seed: int | None = None
    width: int | None = None
    height: int | None = None
    cached: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    key: str | None = None
    refused_by: str | None = None
    """The safety layer; `rules` for bans, limits and roles."""
    reason: str | None = None


def delivered(job: str, picture: Picture, file: str) -> PictureOutcome:
    """A picture that was written to a file."""
    image = picture.image
    return PictureOutcome(
        status="delivered",
        job=job,
        file=file,
        seed=image.request.seed,
        width=image.request.output_size[0],
        height=image.request.output_size[1],
        cached=image.cached,
        seconds={stage: round(seconds, 4) for stage, seconds in image.seconds.items()},
        key=image.key,
    )


class Outcome:
    """Collects what becomes of the pictures of one job."""

    def __init__(self, pictures: int) -> None:
        self._expected = pictures
        self._ended: dict[int, PictureOutcome] = {}
        self._whole: PictureOutcome | None = None
        self._input = False
        self.job: str | None = None
        self.files: list[tuple[Picture, str]] = []
        """Delivered pictures and where they were written."""

    def take(self, update: Update) -> None:
        """Note what an update says; deliveries are noted by `saved`."""
        if isinstance(update, Queued | Working | Stopped):
            self.job = update.job
        if isinstance(update, Queued | Working):
            return
        if isinstance(update, Refusal):
            refused_by = update.layer.value if update.layer else "rules"
            self._end(update.index, PictureOutcome(status="refused", refused_by=refused_by, reason=update.text))
        elif isinstance(update, Failure):
            self._input |= update.input
            self._end(update.index, PictureOutcome(status="failed", reason=update.text))
        elif isinstance(update, Stopped):
            self._end(None, PictureOutcome(status="failed", reason=update.text))

    def saved(self, job: str, pictures: Iterable[tuple[Picture, str]]) -> None:
        """Note delivered pictures and their files."""
        self.job = job
        for picture, file in pictures:
            self.files.append((picture, file))
            self._ended[picture.image.index] = delivered(job, picture, file)

    def _end(self, index: int | None, outcome: PictureOutcome) -> None:
        if index is None:
            self._whole = outcome
        else:
            self._ended[index] = outcome

    @property
    def pictures(self) -> tuple[PictureOutcome, ...]:
        """One for each picture that was asked for, in order."""
        rest = self._whole or PictureOutcome(status="failed")
        return tuple(replace(self._ended.get(i, rest), job=self.job) for i in range(self._expected))

    @property
    def code(self) -> Exit:
        """The worst that happened."""
        statuses = {picture.status for picture in self.pictures}
        if self._input:
            return Exit.INPUT
        if "failed" in statuses:
            return Exit.FAILED
        return Exit.REFUSED if "refused" in statuses else Exit.DELIVERED

    def single(self) -> dict[str, Any]:
        """The object of `easel imagine --json`."""
        return asdict(self.pictures[0])

    def several(self) -> dict[str, Any]:
        """The object of `easel batch --json`: the job as a whole, and each picture."""
        by_code: dict[Exit, Status] = {Exit.DELIVERED: "delivered", Exit.REFUSED: "refused"}
        whole = {"status": by_code.get(self.code, "failed"), "job": self.job}
        return {**whole, "pictures": [asdict(picture) for picture in self.pictures]}
