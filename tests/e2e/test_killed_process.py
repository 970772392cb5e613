"""A process that is killed in the middle of a job, and the one that comes after it."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.conftest import LONG, Installation


def test_a_job_is_delivered_once_after_sigkill(install: Callable[[], Installation]) -> None:
    installation = install()
    with installation.start("chat", "--save", "pictures") as first:
        assert first.stdin is not None
        assert first.stdout is not None
        first.stdin.write(f"/imagine a red apple --seed 7 --steps {LONG}\n")
        first.stdin.flush()
        for line in first.stdout:
            if "step" in line:
                break
        first.kill()
        first.stdin.close()
    pictures = installation.work / "pictures"
    assert list(pictures.glob("*.png")) == []

    second = installation.run("chat", "--save", "elsewhere", text="")
    assert second.returncode == 0, second.stderr
    assert second.stdout.count("Saved ") == 1
    (picture,) = pictures.glob("*.png")
    written = picture.stat().st_mtime_ns

    third = installation.run("chat", text="/history\n")
    assert "Saved " not in third.stdout
    assert third.stdout.count("a red apple") == 1
    assert "delivered" in third.stdout
    assert picture.stat().st_mtime_ns == written
