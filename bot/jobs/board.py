"""Where a job's updates are posted, and read by any number of watchers at their own speed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from bot.chat import Delivery, Failure, Notice, Queued, Refusal, Removed, Reply, Stopped, Update, Working
from bot.store.rows import JobRow
from engine.types import Image

Key = tuple[str, int | None]


def _key(update: Update) -> Key:
    """What an update is about: a later one about the same thing makes it obsolete."""
    match update:
        case Working():
            return "working", update.progress.index
        case Refusal() | Failure():
            return "end", update.index
        case Delivery():
            return "part", update.part
        case Reply() | Notice() | Queued() | Stopped() | Removed():
            return update.kind, None


class Mailbox:
    """Updates in order, of which only the latest about the same thing is kept: so it never grows beyond the job."""

    def __init__(self, updates: dict[Key, Update] | None = None) -> None:
        self._updates = dict(updates or {})

    def copy(self) -> Mailbox:
        """An independent mailbox with the same content."""
        return Mailbox(self._updates)

    def __contains__(self, key: Key) -> bool:
        return key in self._updates

    def put(self, update: Update) -> None:
        """Add an update in the place of those that it makes obsolete."""
        self._updates.pop(_key(update), None)
        if isinstance(update, Refusal | Failure):
            self.drop(("working", update.index))
        elif isinstance(update, Delivery):
            for picture in update.pictures:
                self.drop(("working", picture.image.index))
        elif isinstance(update, Queued | Stopped):
            for key in [key for key in self._updates if key[0] == "working"]:
                self.drop(key)
        self._updates[_key(update)] = update

    def drop(self, key: Key) -> None:
        """Forget what is known about something."""
        self._updates.pop(key, None)

    def take(self) -> Update | None:
        """The oldest update, which leaves the mailbox."""
        return self._updates.pop(next(iter(self._updates))) if self._updates else None


class _Watcher:
    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.news = asyncio.Event()


class Live:
    """A job that is being looked after: its present state, its pictures until they are sent, and its watchers."""

    def __init__(self, row: JobRow) -> None:
        self.row = row
        """As it was when it joined the line."""
        self.images: dict[int, Image] = {}
        """Finished pictures by index, kept until their part has arrived."""
        self.position: int | None = None
        """Where in the line it was last said to be."""
        self.closed = False
        """Nothing more will be posted."""
        self._state = Mailbox()
        self._watchers: set[_Watcher] = set()

    @property
    def watched(self) -> bool:
        """Whether somebody is watching."""
        return bool(self._watchers)

    def posted(self, kind: str, which: int | None) -> bool:
        """Whether the present state holds the end of a picture (`end`) or a message (`part`)."""
        return (kind, which) in self._state

    def post(self, update: Update) -> None:
        """Tell every watcher, and those to come; never waits."""
        if self.closed:
            return
        self._state.put(update)
        if isinstance(update, Working):
            self._state.drop(("queued", None))
        for watcher in self._watchers:
            watcher.mailbox.put(update)
            watcher.news.set()

    def sent(self, delivery: Delivery) -> None:
        """A message has arrived: let go of its pictures, and don't show it to later watchers."""
        self._state.drop(("part", delivery.part))
        for picture in delivery.pictures:
            self.images.pop(picture.image.index, None)

    def close(self) -> None:
        """Let the watchers end once they have read everything."""
        self.closed = True
        for watcher in self._watchers:
            watcher.news.set()

    async def updates(self) -> AsyncGenerator[Update, None]:
        """The present state, then whatever is posted, until the board is closed."""
        watcher = _Watcher(self._state.copy())
        self._watchers.add(watcher)
        try:
            while True:
                update = watcher.mailbox.take()
                if update is not None:
                    yield update
                elif self.closed:
                    return
                else:
                    watcher.news.clear()
                    await watcher.news.wait()
        finally:
            self._watchers.discard(watcher)
