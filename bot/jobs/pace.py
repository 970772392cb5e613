"""How long things take: over all jobs, and within one."""

from __future__ import annotations

from engine.types import Progress, Stage

WEIGHT = 0.3
"""Weight of the latest job in the mean."""


class Pace:
    """Exponentially weighted mean of the seconds that a picture takes; unknown until the first one is drawn."""

    def __init__(self) -> None:
        self._mean: float | None = None

    @property
    def mean(self) -> float | None:
        """Seconds per picture."""
        return self._mean

    def measured(self, seconds: float) -> None:
        """A picture took this long."""
        self._mean = seconds if self._mean is None else WEIGHT * seconds + (1 - WEIGHT) * self._mean

    def wait(self, *, ahead: int, own: int, workers: int) -> float | None:
        """Seconds until `own` pictures are drawn that have `ahead` pictures before them, shared by all workers."""
        return None if self._mean is None else self._mean * (ahead / workers + own)


class Course:
    """How far one job has come; its clock starts with the first step, so that loading a model doesn't count."""

    def __init__(self, pictures: int, pace: Pace) -> None:
        self._done = dict.fromkeys(range(pictures), 0.0)
        self._pace = pace
        self._begun: tuple[float, float] | None = None

    def came(self, progress: Progress, now: float) -> None:
        """A picture has come further."""
        if progress.stage is Stage.DRAWING and progress.steps:
            self._done[progress.index] = min(progress.step / progress.steps, 1.0)
            if self._begun is None:
                self._begun = now, sum(self._done.values())

    def ended(self, index: int) -> None:
        """Nothing more will happen to a picture."""
        self._done[index] = 1.0

    def remaining(self, now: float) -> float | None:
        """Seconds until all pictures have ended."""
        done = sum(self._done.values())
        left = len(self._done) - done
        if self._begun is not None:
            since, already = self._begun
            if done > already and now > since:
                return left * (now - since) / (done - already)
        return None if self._pace.mean is None else left * self._pace.mean
