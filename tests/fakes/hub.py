"""A model hub on loopback that speaks the wire protocol: listings, redirects to a store, ranges, gates and faults."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
STORED = (".safetensors", ".ckpt", ".bin")
"""Kept in the large-file store, with SHA-256 in the listing and a redirect on the way."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request as it arrived."""

    path: str
    range: str | None
    authorization: str | None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with one answer: the connection is cut after some bytes, or there is a status instead."""

    cut_after: int | None = None
    status: int | None = None


@dataclass
class FakeHub:
    """The state behind the server; tests change it between requests."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Content by path, by repository."""
    commit: str = COMMIT
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    token: str | None = None
    """Where set, files are given only to those who send it."""
    ranges: bool = True
    lies: dict[str, bytes] = field(default_factory=dict)
    """Content sent instead of what the listing promises, by path in the repository."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes claimed by the listing, by path in the repository."""
    faults: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    """Faults of the next answers, by path in the repository."""
    seen: list[Seen] = field(default_factory=list)
    url: str = ""

    def requests(self, path: str) -> list[Seen]:
        """The requests for a file's content that reached the store or were answered directly."""
        return [seen for seen in self.seen if seen.path.endswith(f"/{path}") and not seen.path.startswith("/api/")]

    def listing(self, repo: str) -> dict[str, Any]:
        """What the hub says of a repository at its commit."""
        siblings = [self._sibling(path, content) for path, content in self.repos[repo].items()]
        return {"sha": self.commit, "siblings": siblings, "cardData": self.cards.get(repo, {})}

    def _sibling(self, path: str, content: bytes) -> dict[str, Any]:
        size = self.sizes.get(path, len(content))
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        entry: dict[str, Any] = {"rfilename": path, "size": size, "blobId": blob}
        if path.endswith(STORED):
            entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": size}
        return entry


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: FakeHub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Tests look at `FakeHub.seen` instead."""

    def do_GET(self) -> None:
        """Answer a listing, a redirect to the store, or content."""
        hub, place = self.server.hub, urlsplit(self.path)
        hub.seen.append(Seen(path=place.path, range=self.headers["Range"], authorization=self.headers["Authorization"]))
        parts = place.path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._answer_listing("/".join(parts[2:4]))
        elif parts[0] == "store":
            self._answer_content("/".join(parts[1:3]), "/".join(parts[3:]))
        elif len(parts) > 4 and parts[2] == "resolve":
            self._answer_file("/".join(parts[:2]), "/".join(parts[4:]))
        else:
            self._answer(404)

    def _answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _answer_listing(self, repo: str) -> None:
        hub = self.server.hub
        if repo not in hub.repos:
            self._answer(401, b'{"error": "Repository not found"}')
            return
        faults = hub.faults["listing"]
        if faults:
            self._answer(faults.popleft().status or 500)
            return
        self._answer(200, json.dumps(hub.listing(repo)).encode())

    def _answer_file(self, repo: str, path: str) -> None:
        hub = self.server.hub
        if hub.token and self.headers["Authorization"] != f"Bearer {hub.token}":
            self._answer(401, b'{"error": "Access to this model is restricted"}')
        elif path not in hub.repos.get(repo, {}):
            self._answer(404)
        elif path.endswith(STORED):
            self._answer(302, headers={"Location": f"{hub.url.replace('127.0.0.1', 'localhost')}/store/{repo}/{path}"})
        else:
            self._answer_content(repo, path)

    def _answer_content(self, repo: str, path: str) -> None:
        hub = self.server.hub
        fault = hub.faults[path].popleft() if hub.faults[path] else Fault()
        if fault.status:
            self._answer(fault.status)
            return
        content = hub.lies.get(path, hub.repos.get(repo, {}).get(path, b""))
        wanted = self.headers["Range"]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and hub.ranges else 0
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault.cut_after is None:
            self.wfile.write(body)
            return
        self.wfile.write(body[: fault.cut_after])
        self.wfile.flush()
        self.close_connection = True


@contextmanager
def running(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve a hub; its `url` is where."""
    server = _Server(hub)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
