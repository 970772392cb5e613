"""Signals: a clean stop, and an end even where something can't be stopped."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def process(code: str) -> subprocess.CompletedProcess[str]:
    """Run some code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_thread_that_never_ends_does_not_keep_the_process(number: str) -> None:
    done = process(f"""
        import asyncio, os, signal, threading
        from bot.cli import session

        session.STOP_SECONDS = 0.2

        async def work():
            try:
                waiting = asyncio.create_task(asyncio.to_thread(threading.Event().wait))
                await asyncio.sleep(0)
                os.kill(os.getpid(), signal.{number})
                await waiting
            finally:
                print("stopped cleanly", flush=True)

        session.run(work())
    """)
    assert (done.returncode, done.stdout) == (143, "stopped cleanly\n")


def test_a_thread_that_outlives_its_command_does_not_keep_the_process() -> None:
    done = process("""
        import asyncio, os, signal, threading
        from bot.cli import session

        session.STOP_SECONDS, session.LINGER_SECONDS = 0.2, 0.0

        async def work():
            threading.Thread(target=threading.Event().wait).start()
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.get_running_loop().create_future()

        try:
            session.run(work())
        except asyncio.CancelledError:
            print("stopped cleanly", flush=True)
    """)
    assert (done.returncode, done.stdout, done.stderr) == (143, "stopped cleanly\n", "")
