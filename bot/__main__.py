"""`python -m bot`, and the `easel` command."""

from __future__ import annotations

import sys

from bot.cli.main import run


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
