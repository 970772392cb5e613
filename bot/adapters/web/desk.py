"""What stands on each person's page: their jobs of this process, in the order of asking, and the last answers."""

from __future__ import annotations

import asyncio
import secrets
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

MAX_DESKS = 2_000
"""People whose pages are kept; the one who was away longest goes first."""
MAX_CARDS = 40
"""Jobs on one page."""
MAX_NOTICES = 6
MAX_FOLLOWERS = 8
"""Open pages of one person that are kept up to date."""
PACE_SECONDS = 0.2
FORGET = "forget-me"
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
    def done(self) -> int:
        """How many pictures have come or won't come any more."""
        return min(self.pictures, len(self.shown) + len(self.ends))

    @property
    def active(self) -> bool:
        """Whether there is progress to show."""
        return not self.answered and self.stopped is None and self.done < self.pictures


class Desk:
    """One person's page. Whoever looks at it `follow`s it."""

    def __init__(self) -> None:
        self.cards: OrderedDict[str, Card] = OrderedDict()
        self.notices: list[tuple[int, Notable]] = []
        """Answers without a picture, each with a number of its own."""
        self.version = 0
        self.gallery = 0
        """Version of what is more than progress, which comes often and is drawn anew in a moment; this takes longer."""
        self.gone = 0
        """How often pictures were deleted: what was read of earlier visits before may be of them."""
        self.since: float | None = None
        """When the account was made whose page it is, once somebody has looked."""
        self._name = secrets.token_hex(4)
        self._followers: OrderedDict[str, Follower] = OrderedDict()
        self._open = 0
        self._said = 0
        self._changed = asyncio.Event()

    @property
    def busy(self) -> bool:
        """Whether an answer is being given."""
        return self._open > 0

    @property
    def stamp(self) -> str:
        """Names what stands on it now; a desk of another process has other stamps."""
        return f"{self._name}-{self.version}"

    def follow(self, page: str) -> Follower:
        """Keep an open page up to date, instead of whatever did so for the same page before."""
        follower = self._followers[page] = Follower(self)
        self._followers.move_to_end(page)
        while len(self._followers) > MAX_FOLLOWERS:
            self._followers.popitem(last=False)
        self._wake()
        return follower

    def leave(self, page: str, follower: Follower) -> None:
        """A page needs no more."""
        if self.is_followed_by(follower):
            del self._followers[page]

    def is_followed_by(self, follower: Follower) -> bool:
        """Whether no later one has taken its place."""
        return follower in self._followers.values()

    async def wait(self) -> None:
        """Wait for something to happen."""
        await self._changed.wait()

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
        self._tell(gallery=not isinstance(update, Queued | Working))

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

    def answering(self, command: str, updates: AsyncGenerator[Update, None]) -> AsyncGenerator[Update, None]:
        """The updates that answer a command; from now on and while they last, the page is busy."""
        self._open += 1
        return self._answering(command.casefold(), updates)

    async def _answering(self, command: str, updates: AsyncGenerator[Update, None]) -> AsyncGenerator[Update, None]:
        job: str | None = None
        try:
            async with aclosing(updates):
                async for update in updates:
                    if isinstance(update, Queued | Working | Delivery | Stopped):
                        job = update.job
                    elif command == FORGET and isinstance(update, Reply) and not update.confirm:
                        self.cards.clear()
                        self.gone += 1
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
        self.gone += 1
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
            self.gallery += 1
            while len(self.cards) > MAX_CARDS:
                self.cards.popitem(last=False)
        return self.cards[job]

    def _tell(self, *, gallery: bool = True) -> None:
        self.version += 1
        self.gallery += gallery
        self._wake()

    def _wake(self) -> None:
        event, self._changed = self._changed, asyncio.Event()
        event.set()


class Follower:
    """Somebody who looks at a desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def changed(self, since: int) -> bool:
        """Wait until there is a version above `since`; False if another follower has taken this one's place."""
        while self._desk.version <= since and self._desk.is_followed_by(self):
            await self._desk.wait()
        return self._desk.is_followed_by(self)


class Desks:
    """Every person's page, by the person's key."""

    def __init__(self) -> None:
        self._desks: OrderedDict[str, Desk] = OrderedDict()

    def stamp(self, person: str) -> str:
        """Names what stands on a person's page now; nothing if they have none yet."""
        desk = self._desks.get(person)
        return desk.stamp if desk else ""

    def of(self, person: str, since: float | None = None) -> Desk:
        """This person's page; whoever had the same name before `since` left another one, which goes."""
        desk = self._desks.setdefault(person, Desk())
        if since is not None:
            if desk.since not in (None, since):
                desk = self._desks[person] = Desk()
            desk.since = since
        self._desks.move_to_end(person)
        if len(self._desks) > MAX_DESKS:
            for other in list(self._desks)[: len(self._desks) - MAX_DESKS]:
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
