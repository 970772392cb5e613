"""Who may knock in HTTP mode: Slack alone, now, and with every request once.

docs.slack.dev/authentication/verifying-requests-from-slack
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Self

import structlog
from slack_sdk.signature import Clock as SignatureClock
from slack_sdk.signature import SignatureVerifier

from bot.clock import Clock
from bot.store.slack import MAX_REQUESTS, SlackTable

WINDOW_SECONDS = 300.0
"""How far a request's time may be from ours, as slack_sdk checks it."""
KEPT_SECONDS = 2 * WINDOW_SECONDS + 1.0
"""How long a request is remembered: one from the future has the whole window to be repeated in."""
PRUNE_SECONDS = 60.0
WRITE_SECONDS = 0.25
"""How long a request waits for the disk. An event that came twice then is still one job: see `Invocation.event`."""
TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
SIGNATURE = re.compile(r"v0=[0-9a-f]{64}", re.ASCII)
TIMESTAMP_HEADER, SIGNATURE_HEADER = "x-slack-request-timestamp", "x-slack-signature"

log = structlog.get_logger("bot.adapters.slack")


class Gate:
    """Tells what Slack has signed, just now, and what was taken before, also by an earlier process.

    What was taken is held in memory, and written down for the next process; `open` reads it. A request waits to be
    written down, but under load not longer than an acknowledgement may take.
    """

    def __init__(self, secret: str, table: SlackTable, clock: Clock) -> None:
        self._verifier = SignatureVerifier(secret, clock=_Time(clock))
        self._clock = clock
        self._table = table
        self._taken: dict[bytes, float] = {}
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._pruned = clock.now()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Know what earlier processes took, and see at the end to it that the next one knows, too.

        Raises:
            DatabaseError: it can't be read.
        """
        self._taken |= await self._table.taken(since=self._clock.now() - KEPT_SECONDS)
        try:
            yield self
        finally:
            if self._writing is not None:
                await self._writing
            await self._write()

    async def is_new(self, signature: str) -> bool:
        """Whether a request with this signature was never taken before; from now on it was.

        Raises:
            DatabaseError: it can't be written down.
        """
        digest = hashlib.sha256(signature.encode()).digest()
        if digest in self._taken:
            return False
        self._forget_old()
        self._taken[digest] = self._clock.now()
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((digest, written))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        done, _ = await asyncio.wait({written}, timeout=WRITE_SECONDS)
        if not done:
            written.cancel()
        elif (error := written.exception()) is not None:
            self._taken.pop(digest, None)
            raise error
        return True

    def signature(self, headers: Iterable[tuple[str, str]], body: bytes) -> str | None:
        """The signature of a request, if it is Slack's and fresh."""
        given: dict[str, list[str]] = {TIMESTAMP_HEADER: [], SIGNATURE_HEADER: []}
        for name, value in headers:
            given.get(name.lower(), []).append(value)
        if any(len(values) != 1 for values in given.values()):
            return None
        (timestamp,), (signature,) = given[TIMESTAMP_HEADER], given[SIGNATURE_HEADER]
        if not TIMESTAMP.fullmatch(timestamp) or not SIGNATURE.fullmatch(signature):
            return None
        try:
            valid = self._verifier.is_valid(body, timestamp, signature)
        except Exception:  # noqa: BLE001  (whatever the library can't read is no request of Slack's)
            return None
        return signature if valid else None

    async def _write(self) -> None:
        """Requests that arrive during one transaction share the next one."""
        while self._waiting:
            taken, self._waiting = self._waiting, []
            try:
                await self._table.take([digest for digest, _ in taken], now=self._clock.now())
                await self._prune()
            except Exception as error:  # noqa: BLE001  (handed on to those who wait)
                log.warning("requests not written down", requests=len(taken), error=type(error).__name__)
                for _, written in taken:
                    if not written.done():
                        written.set_exception(error)
                fresh = self._waiting
                # Those that were let through go into the next transaction.
                self._waiting = [(digest, late) for digest, late in taken if late.cancelled()] + fresh
                if not fresh:
                    return
            for _, written in taken:
                if not written.done():
                    written.set_result(None)

    def _forget_old(self) -> None:
        """Let go of requests that their own time keeps out, and of the oldest beyond a bound."""
        before = self._clock.now() - KEPT_SECONDS
        while self._taken and (len(self._taken) >= MAX_REQUESTS or next(iter(self._taken.values())) < before):
            del self._taken[next(iter(self._taken))]

    async def _prune(self) -> None:
        """The same, now and then, for what is written down."""
        now = self._clock.now()
        if now - self._pruned >= PRUNE_SECONDS:
            self._pruned = now
            await self._table.prune(before=now - KEPT_SECONDS)


class _Time(SignatureClock):
    """Our clock, as slack_sdk wants it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.now()
