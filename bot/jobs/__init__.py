"""Accepted work: stored, queued fairly, drawn, delivered once, and taken up again after a crash."""

from bot.jobs.arrivals import Arrivals
from bot.jobs.ids import new_job_id
from bot.jobs.sending import Send
from bot.jobs.service import Jobs, Recovered, Submitted
from bot.store.rows import JobRow, JobState, PictureRow, PictureState

__all__ = [
    "Arrivals",
    "JobRow",
    "JobState",
    "Jobs",
    "PictureRow",
    "PictureState",
    "Recovered",
    "Send",
    "Submitted",
    "new_job_id",
]
