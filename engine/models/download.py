"""Downloading one file over HTTP: resumed where it was cut off, and kept only if its content is what was promised.

The hub's own client throws partial files away when it fails, which costs gigabytes on a line that drops; so files are
streamed here.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine.errors import FetchError, StorageError

CHUNK = 2**20
TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as lost."""
ATTEMPTS = 5
"""Tries in a row that bring no byte."""
ATTEMPTS_OFFLINE = 2
"""Tries to get through to a server that never answered: without a network nobody wants to wait."""
FIRST_PAUSE = 1.0
"""Seconds before the second try; each further pause is twice as long."""
TEMPORARY = {408, 429, 500, 502, 503, 504}

Arrived = Callable[[int], None]
"""Called with the bytes of a file that are there so far."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file on a server and what is known of its content."""

    url: str
    path: str
    """Where it belongs in the model's folder."""
    size: int
    """Bytes."""
    sha256: str | None = None
    git_sha1: str | None = None
    """The object name that git gives the content; the hub lists no SHA-256 of small files."""
    token: str | None = None
    """Sent as bearer token to the file's own host, never to where that redirects."""


class _Lost(Exception):  # noqa: N818  (not an error yet: the download goes on)
    """The connection failed in a way that another try may mend."""


class _Offline(_Lost):
    """There was no way to the server at all."""


@dataclass(frozen=True, kw_only=True)
class Downloader:
    """Fetches files; `pause` waits between tries."""

    pause: Callable[[float], None] = time.sleep

    def get_json(self, url: str, token: str | None = None) -> dict[str, Any]:
        """Fetch and parse a small document.

        Raises:
            FetchError: it can't be had, or is no JSON object.
        """
        for attempt in range(ATTEMPTS):
            try:
                with _open(url, token) as response:
                    content = json.loads(_read(response, None))
            except _Lost as lost:
                self._wait(attempt, url, lost)
            except ValueError as error:
                raise FetchError(f"{url} answered with something that is no JSON.") from error
            else:
                if not isinstance(content, dict):
                    raise FetchError(f"{url} answered with something that is no JSON object.")
                return content
        raise AssertionError("the last wait raises")

    def fetch(self, remote: RemoteFile, target: Path, arrived: Arrived) -> str:
        """Bring a file to `target`, going on from `target`.part if there is one; returns its SHA-256.

        Raises:
            FetchError: the server refuses, the line stays dead, or the content is wrong.
            StorageError: the disk is full or can't be written.
        """
        part = target.with_name(f"{target.name}.part")
        with _writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if part.exists() and part.stat().st_size > remote.size:
                part.unlink()
            self._stream(remote, part, arrived)
            try:
                sha256 = verify(part, remote)
            except FetchError:
                part.unlink()
                raise
            part.replace(target)
        return sha256

    def _stream(self, remote: RemoteFile, part: Path, arrived: Arrived) -> None:
        attempt, met = 0, False
        have = part.stat().st_size if part.exists() else 0
        while have < remote.size or not part.exists():
            try:
                _append(remote, part, have, arrived)
            except _Lost as lost:
                now = part.stat().st_size if part.exists() else 0
                attempt = attempt + 1 if now <= have else 0
                met |= now > have
                self._wait(attempt, remote.url, lost, met=met)
            have = part.stat().st_size if part.exists() else 0

    def _wait(self, attempt: int, url: str, lost: _Lost, *, met: bool = False) -> None:
        """Pause before the next try; a server that was never met is given up sooner than one that broke off."""
        host = urlsplit(url).netloc
        if attempt >= ATTEMPTS - 1:
            raise FetchError(f"{host} can't be reached or keeps breaking off ({lost}); try again later.") from lost
        if isinstance(lost, _Offline) and attempt >= ATTEMPTS_OFFLINE - 1 and not met:
            raise FetchError(f"{host} can't be reached ({lost}); check the network and try again.") from lost
        self.pause(FIRST_PAUSE * 2**attempt)


def verify(path: Path, remote: RemoteFile) -> str:
    """Check a file's length and content; returns its SHA-256.

    Raises:
        FetchError: they are not what was promised.
    """
    sha256, git = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    size = path.stat().st_size
    git.update(b"blob %d\0" % size)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            sha256.update(chunk)
            if remote.git_sha1:
                git.update(chunk)
    right = (
        size == remote.size
        and remote.sha256 in (None, sha256.hexdigest())
        and (remote.sha256 is not None or remote.git_sha1 in (None, git.hexdigest()))
    )
    if not right:
        raise FetchError(f"What {urlsplit(remote.url).netloc} sent as {remote.path} is not what was pinned.")
    return sha256.hexdigest()


def _append(remote: RemoteFile, part: Path, have: int, arrived: Arrived) -> None:
    """Write to `part` what the server sends from byte `have` on, up to the promised size."""
    with _open(remote.url, remote.token, have) as response:
        if have and response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0  # the server can't resume, and sends all of it
        with part.open("ab" if have else "wb") as file:
            while chunk := _read(response):
                have += len(chunk)
                if have > remote.size:
                    file.truncate(0)
                    raise FetchError(f"{urlsplit(remote.url).netloc} sends more of {remote.path} than was promised.")
                file.write(chunk)
                arrived(have)
    if have < remote.size:
        raise _Lost("it ended early")


def _read(response: http.client.HTTPResponse, most: int | None = CHUNK) -> bytes:
    try:
        return response.read(most)
    except (OSError, http.client.HTTPException) as error:
        raise _Lost(_reason(error)) from error


@contextmanager
def _open(url: str, token: str | None, start: int = 0) -> Iterator[http.client.HTTPResponse]:
    """An answer to GET, its status being 200 or 206."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise FetchError(f"{url} is no web address.")
    request = urllib.request.Request(url, headers={"User-Agent": "easel", "Accept-Encoding": "identity"})  # noqa: S310
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310  (the scheme was checked)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(url, error.code) from error
    except urllib.error.URLError as error:
        raise _Offline(_reason(error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Lost(_reason(error)) from error
    with response:
        yield response


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", "") or error
    return str(getattr(cause, "strerror", "") or cause or type(error).__name__)


def _refusal(url: str, status: int) -> Exception:
    place = urlsplit(url)
    where = f"{place.netloc}{place.path}"
    if status in TEMPORARY:
        return _Lost(f"it answered {status}")
    if status in (401, 403):
        return FetchError(
            f"{where} doesn't exist or isn't open to everybody: check the name, or accept the terms there "
            "and set EASEL_HUB_TOKEN to your token."
        )
    if status == 404:
        return FetchError(f"There is no {where}.")
    return FetchError(f"{where} can't be had: the server answered {status}.")


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turn what the disk refuses into its one sentence."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{target} can't be written: {error.strerror or error}.") from error
