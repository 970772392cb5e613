"""`python -m bot`, and the `easel` command."""

from __future__ import annotations

import gc
import os
import sys
import threading

OBJECTS_BETWEEN_COLLECTIONS = 10_000
"""Made before Python looks for garbage. With its own 700, a fifteenth of a first picture's time goes into looking
through modules that are being imported; memory stays the same."""
INTERRUPTED = 130
"""128 + SIGINT, as shells expect; the same as everywhere in the command line."""


def main() -> None:
    """Run the command that the arguments name, and exit with its code.

    Everything is imported in here, so that Ctrl-C is answered from the first moment on.
    """
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    try:
        _attach_streams()
        from bot.cli.main import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    _let_go_of_output()
    if len(threading.enumerate()) > 1:
        # Everything is stopped and closed but a thread that loads a library, which nothing can interrupt.
        os._exit(code)
    sys.exit(code)


def _attach_streams() -> None:
    """Standard streams that are open and take every character.

    One that was closed leads nowhere from here on; else the next file that is opened, such as the database, would take
    its number. A character that the terminal's encoding doesn't have becomes a question mark.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
        elif number:
            stream.reconfigure(errors="replace")


def _let_go_of_output() -> None:
    """Send what is left to be written; if the reader is gone, Python need not complain of it."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main()
