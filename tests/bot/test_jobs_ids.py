"""Names for jobs and messages."""

from __future__ import annotations

from bot.jobs.ids import ALPHABET, canonical, new_job_id, nonce


def test_ids_are_short_and_unlike_each_other() -> None:
    ids = {new_job_id() for _ in range(2000)}
    assert len(ids) == 2000
    assert all(len(job) == 8 and set(job) <= set(ALPHABET) for job in ids)
    assert all(canonical(job) == job for job in ids)
    assert nonce("a", 1) == nonce("a", 1)
    assert len({nonce("a", 1), nonce("a", 2), nonce("b", 1)}) == 3
    assert len(nonce("a", 1)) <= 25
