"""Where a run keeps its files: outside the repository, one folder that an option moves."""

import argparse
import logging
import os
from pathlib import Path


def default_run_dir() -> Path:
    """The user's cache folder (XDG), ``~/.cache/easel/training`` unless the environment moves it."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "easel" / "training"


def parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser with the options that every step shares."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    result.add_argument("--run-dir", type=Path, default=default_run_dir(), help="folder of data and checkpoints")
    return result


def start_logging() -> None:
    """Log lines with the time of day to standard error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", datefmt="%H:%M:%S")
