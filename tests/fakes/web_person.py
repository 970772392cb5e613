"""Somebody with a browser, as far as the wire shows it: signs in, presses what the page has, reads what it is sent."""

from __future__ import annotations

import asyncio
import io
import json
import re
import secrets
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from typing import Any

import aiohttp
from gradio_client.utils import apply_diff  # type: ignore[import-untyped]
from yarl import URL

PATIENCE = 20.0
"""Seconds; only a test that fails waits so long."""
BLOCKS = "article dd details div dl dt figcaption figure h2 h3 header li p pre section ul"
INLINE = "a button img input label progress span summary"
SHOWN_TAGS = frozenset(f"{BLOCKS} {INLINE}".split())
VIEW = ("notices", "progress", "pictures")
FILES = {"batch_file": "batch-file", "start_image": "start-image"}


def chosen(path: str, name: str = "a.txt") -> dict[str, Any]:
    """The value of a file field, as Gradio's page sends it."""
    meta = {"_type": "gradio.FileData"}
    return {"path": path, "url": f"/gradio_api/file={path}", "orig_name": name, "size": 9, "meta": meta}


class Reader(HTMLParser):
    """The texts of a view: a piece for each notice, job or picture, by what it is about."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[tuple[str, str]] = []
        self.pictures: list[str] = []
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SHOWN_TAGS, f"<{tag}> in a view"
        values = dict(attrs)
        if (values.get("class") or "").startswith(("ez-notice", "ez-card")):
            name = values.get("id") or f"{values.get('data-job')}/{values.get('data-number')}"
            self.pieces.append((f"{values.get('class')} {name}", ""))
        source = values.get("src") or ""
        if tag == "img" and source.startswith("/pictures/"):
            self.pictures.append(source)

    def handle_data(self, data: str) -> None:
        if self.pieces:
            name, text = self.pieces[-1]
            self.pieces[-1] = (name, f"{text} {data}".strip())


class WebPerson:
    """One open page. Everything that appears on it is noted once, in order."""

    def __init__(self, address: str, headers: dict[str, str] | None = None) -> None:
        self.address = address
        self._headers = headers or {}
        self.log: list[str] = []
        self.pictures: list[bytes] = []
        self.views = dict.fromkeys(VIEW, "")
        self.news = asyncio.Event()
        self._known: set[tuple[str, str]] = set()
        self._fetched: set[str] = set()
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.config: dict[str, Any] = {}

    def reopened(self, address: str) -> WebPerson:
        """The same person, with what they have seen so far, at a page of a new process."""
        later = WebPerson(address)
        later.log, later.pictures = self.log, self.pictures
        later._known, later._fetched = self._known, self._fetched
        return later

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None, "the page isn't open"
        return self._session

    async def open(self, name: str = "", password: str = "") -> None:
        """Sign in, load the page, and begin to read."""
        jar = aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=[URL(self.address)])
        self._session = aiohttp.ClientSession(self.address, cookie_jar=jar, headers=self._headers)
        if name:
            form = {"name": name, "password": password}
            async with self.session.post("/sign-in", data=form, allow_redirects=False) as answer:
                assert answer.status == 303, await answer.text()
        async with self.session.get("/config") as answer:
            assert answer.status == 200, answer.status
            self.config = await answer.json()
        await self.trigger(self.listener("load"), [])
        await self.until(lambda: "head" in self.views)

    async def close(self) -> None:
        """Close the page."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def component(self, elem_id: str) -> int:
        """Gradio's number of a component."""
        return next(int(c["id"]) for c in self.config["components"] if c["props"].get("elem_id") == elem_id)

    def listener(self, event: str, elem_id: str | None = None) -> dict[str, Any]:
        """What Gradio calls when that happens to that component."""
        target = None if elem_id is None else self.component(elem_id)
        found: dict[str, Any] = next(
            dependency
            for dependency in self.config["dependencies"]
            if any(kind == event and (target is None or number == target) for number, kind in dependency["targets"])
        )
        return found

    async def draw(self, prompt: str, lines: str = "", event: str | None = None, **fields: object) -> None:
        """Fill the form in and press its button."""
        listener = self.listener("click", "draw")
        starts = {c["id"]: c["props"].get("value") for c in self.config["components"]}
        named = {c["id"]: c["props"].get("elem_id") for c in self.config["components"]}
        filled: dict[str, object] = {"prompt": prompt, "lines": lines}
        filled |= {FILES.get(name, f"field-{name}"): value for name, value in fields.items()}
        data = [filled.get(named.get(number) or "", starts[number]) for number in listener["inputs"]]
        data[0] = event or secrets.token_hex(8)
        await self.trigger(listener, data)

    async def choose(self, name: str, data: bytes) -> dict[str, Any]:
        """Choose a file in a field; returns what the field holds from then on."""
        form = aiohttp.FormData()
        form.add_field("files", io.BytesIO(data), filename=name)
        async with self.session.post("/gradio_api/upload?upload_id=x", data=form) as answer:
            assert answer.status == 200, answer.status
            (path,) = await answer.json()
        return chosen(path, name)

    async def press(self, part: str, *values: object, **data: object) -> None:
        """Press a button within a part of the page."""
        await self.trigger(self.listener("press", part), list(values), {**data, "event": secrets.token_hex(8)})

    async def sees(self, part: str, text: str) -> None:
        """Wait until a part of the page holds a text."""
        await self.until(lambda: text in unescape(self.views.get(part, "")))

    async def trigger(self, listener: dict[str, Any], data: list[Any], event: object = None) -> None:
        """What the browser sends for an event; its answer is read beside everything else."""
        session_hash = secrets.token_hex(5)
        assert await self.send(listener, data, event, session_hash=session_hash) == 200
        task = asyncio.create_task(self._read(session_hash, listener))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def send(self, listener: dict[str, Any], data: list[Any], event: object = None, **body: Any) -> int:
        """Send an event, and nothing more; returns the answer's status."""
        body = {
            "data": data,
            "event_data": event,
            "fn_index": listener["id"],
            "session_hash": "page1",
            "trigger_id": listener["targets"][0][0],
        } | body
        async with self.session.post("/gradio_api/queue/join", json=body) as answer:
            return answer.status

    async def _read(self, session_hash: str, listener: dict[str, Any]) -> None:
        parts = [self._part(number) for number in listener["outputs"]]
        last: list[Any] = []
        async with self.session.get("/gradio_api/queue/data", params={"session_hash": session_hash}) as stream:
            async for line in stream.content:
                if not line.startswith(b"data: "):
                    continue
                message = json.loads(line[6:])
                if message["msg"] == "process_generating":
                    given = message["output"]["data"]
                    last = given if not last else [apply_diff(old, diff) for old, diff in zip(last, given, strict=True)]
                    await self._see(dict(zip(parts, last, strict=True)))
                elif message["msg"] == "process_completed":
                    assert message["success"], message
                    await self._see(dict(zip(parts, message["output"].get("data", []), strict=False)))
                elif message["msg"] == "close_stream":
                    return

    def _part(self, number: int) -> str:
        return next(str(c["props"].get("elem_id")) for c in self.config["components"] if c["id"] == number)

    async def _see(self, shown: dict[str, Any]) -> None:
        """Note what is new on the page."""
        for part, value in shown.items():
            if isinstance(value, str):
                self.views[part] = value
                if part in VIEW:
                    await self._note(value)
        self.news.set()

    async def _note(self, view: str) -> None:
        reader = Reader()
        reader.feed(view)
        assert len(set(reader.pictures)) == len(reader.pictures), "a picture stands on the page twice"
        for piece in reader.pieces:
            if piece not in self._known:
                self._known.add(piece)
                self.log.append(re.sub(r"\s+", " ", piece[1]))
        for source in reader.pictures:
            if source not in self._fetched:
                self._fetched.add(source)
                self.pictures.append(await self.fetch(source.replace("/small", "/file")))

    async def fetch(self, path: str) -> bytes:
        """What the server gives for an address."""
        async with self.session.get(path) as answer:
            assert answer.status == 200, (path, answer.status)
            return await answer.read()

    async def until(self, seen: Callable[[], bool]) -> None:
        """Wait until the page shows something."""
        async with asyncio.timeout(PATIENCE):
            while not seen():
                self.news.clear()
                await self.news.wait()
