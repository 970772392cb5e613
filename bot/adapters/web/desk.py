"""What stands on each person's page: their jobs of this process, in the order of asking, and the last answers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from bot.chat import (
    Delivery,
    Failure,
    Notice,
    Picture,
    Queued,
    Refusal,
    Removed,
    Reply,
    Stopped,
    Update,
    Working,
)
from bot.jobs import Recovered

MAX_DESKS = 2_000
"""People whose pages are kept; the one who was away longest goes first."""
MAX_CARDS = 40
"""Jobs on one page."""
MAX_NOTICES = 6
PACE_SECONDS = 0.2
Notable = Reply | Notice | Refusal | Failure


@dataclass(kw_only=True)
class Card:
    """One job on the page."""

    job: str
    pictures: int = 1
    queued: Queued | None = None
    working: dict[int, Working] = field(default_factory=dict)
    """The latest of each picture that is being drawn."""
    shown: dict[int, Picture] = field(default_factory=dict)
    """Finished pictures, without their bytes."""
    ends: dict[int | None, Refusal | Failure] = field(default_factory=dict)
    """What didn't come to a picture; under None what ended the whole job."""
    stopped: Stopped | None = None
    answered: bool = False
    """Nothing more will come."""

    @property
    def active(self) -> bool:
        """Whether there is progress to show."""
        return not self.answered and self.stopped is None and len(self.shown) + len(self.ends) < self.pictures


class Desk:
    """One person's page. Whoever looks at it waits for `changed`."""

    def __init__(self) -> None:
        self.cards: OrderedDict[str, Card] = OrderedDict()
        self.notices: list[tuple[int, Notable]] = []
        """Answers without a picture, each with a number of its own."""
        self.version = 0
        self._open = 0
        self._said = 0
        self._changed = asyncio.Event()

    @property
    def busy(self) -> bool:
        """Whether an answer is being given."""
        return self._open > 0

    async def changed(self, since: int) -> int:
        """Wait until there is a version above `since`, and return it."""
        while self.version <= since:
            event = self._changed
            await event.wait()
        return self.version

    def put(self, update: Update) -> None:
        """Take in anything but a delivery."""
        match update:
            case Queued() | Working():
                self._progress(update)
            case Stopped():
                self._card(update.job).stopped = update
            case Refusal() | Failure() if update.job is not None:
                self._card(update.job).ends[update.index] = update
                self._card(update.job).working.pop(-1 if update.index is None else update.index, None)
            case Removed():
                self._remove(update)
            case Notice(channel=str()):
                # For the moderators, who find it on their own tab.
                return
            case Reply() | Notice() | Refusal() | Failure():
                self._say(update)
            case Delivery():
                self.deliver(update)
        self._tell()

    def deliver(self, delivery: Delivery) -> None:
        """Put finished pictures on the page; once more changes nothing. Their files are read from the cache."""
        card = self._card(delivery.job)
        for picture in delivery.pictures:
            index = picture.image.index
            light = picture.image.model_copy(update={"data": b""})
            card.shown[index] = picture.model_copy(update={"image": light})
            card.working.pop(index, None)
        card.pictures = max(card.pictures, len(card.shown))
        self._tell()

    def clear_notices(self) -> None:
        """A new command makes room for its own answers."""
        if self.notices:
            self.notices = []
            self._tell()

    def following(self, updates: AsyncGenerator[Update, None]) -> AsyncGenerator[Update, None]:
        """The same updates; from now on and while they last, the page is busy."""
        self._open += 1
        return self._followed(updates)

    async def _followed(self, updates: AsyncGenerator[Update, None]) -> AsyncGenerator[Update, None]:
        job: str | None = None
        try:
            async with aclosing(updates):
                async for update in updates:
                    if isinstance(update, Queued | Working | Delivery | Stopped):
                        job = update.job
                    yield update
        finally:
            self._open -= 1
            if job is not None and job in self.cards:
                self.cards[job].answered = True
            self._tell()

    def _progress(self, update: Queued | Working) -> None:
        card = self._card(update.job)
        card.pictures = update.pictures
        if isinstance(update, Queued):
            card.queued, card.working = update, {}
        else:
            card.queued = None
            card.working[update.progress.index] = update

    def _remove(self, removed: Removed) -> None:
        card = self.cards.get(removed.job)
        for index in list(card.shown) if card else ():
            if removed.index in (None, index) and card:
                card.shown.pop(index)
                card.ends[index] = Failure(job=removed.job, index=index, input=True, text=removed.text)
        if card is None:
            self._say(Reply(text=removed.text))

    def _say(self, said: Notable) -> None:
        self._said += 1
        self.notices = [*self.notices, (self._said, said)][-MAX_NOTICES:]

    def _card(self, job: str) -> Card:
        if job not in self.cards:
            self.cards[job] = Card(job=job)
            while len(self.cards) > MAX_CARDS:
                self.cards.popitem(last=False)
        return self.cards[job]

    def _tell(self) -> None:
        self.version += 1
        event, self._changed = self._changed, asyncio.Event()
        event.set()


class Desks:
    """Every person's page, by the person's key."""

    def __init__(self) -> None:
        self._desks: OrderedDict[str, Desk] = OrderedDict()

    def of(self, person: str) -> Desk:
        """This person's page."""
        desk = self._desks.setdefault(person, Desk())
        self._desks.move_to_end(person)
        for other in list(self._desks)[: max(0, len(self._desks) - MAX_DESKS)]:
            if not self._desks[other].busy:
                self._desks.pop(other)
        return desk


class WebSurface:
    """Where the answer to one command goes: its person's page."""

    pace = PACE_SECONDS

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, update: Update) -> None:
        """Put it on the page."""
        self._desk.put(update)

    async def send(self, delivery: Delivery) -> str:
        """Put the pictures on the page."""
        self._desk.deliver(delivery)
        return delivery.nonce

    async def find(self, delivery: Delivery) -> str | None:  # noqa: ARG002  (the protocol's)
        """Nothing to look for: a picture that is put on the page twice is there once."""
        return None

    @classmethod
    def again(cls, desks: Desks, job: Recovered) -> WebSurface:
        """For a job of an earlier process."""
        return cls(desks.of(job.requester.key))
