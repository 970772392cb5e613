"""The waiting line: people take turns, and each person's own jobs keep their order."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A job's place in the line."""

    job: str
    person: str
    pictures: int


class FairQueue:
    """Round-robin over people, first in first out within a person.

    While somebody waits and could be served, nobody else is served twice. A person has at most `running_per_person`
    jobs at work, and all together at most `workers`. It belongs to the event loop.
    """

    def __init__(self, *, workers: int, running_per_person: int) -> None:
        self._workers = workers
        self._running_per_person = running_per_person
        self._lines: dict[str, deque[Ticket]] = {}
        """People in the order of their turns; nobody in it has an empty line."""
        self._running: dict[str, Ticket] = {}
        self._at_work: Counter[str] = Counter()
        """Jobs at work by person."""

    @property
    def waiting(self) -> int:
        """Jobs in the line; any thread may ask."""
        return sum(map(len, tuple(self._lines.values())))

    @property
    def running(self) -> tuple[Ticket, ...]:
        """Jobs at work."""
        return tuple(self._running.values())

    def of(self, person: str) -> int:
        """A person's jobs, waiting or at work."""
        return len(self._lines.get(person, ())) + self._at_work[person]

    def put(self, ticket: Ticket) -> None:
        """Join the line; a person who has nobody in it yet gets the last turn."""
        self._lines.setdefault(ticket.person, deque()).append(ticket)

    def take(self) -> Ticket | None:
        """The next job that may be worked on now; `done` must follow."""
        if len(self._running) >= self._workers:
            return None
        for person, line in self._lines.items():
            if self._at_work[person] < self._running_per_person:
                ticket = line.popleft()
                self._running[ticket.job] = ticket
                self._at_work[person] += 1
                del self._lines[person]
                if line:
                    self._lines[person] = line
                return ticket
        return None

    def done(self, job: str) -> None:
        """A job that was taken is no longer at work."""
        person = self._running.pop(job).person
        self._at_work[person] -= 1
        if not self._at_work[person]:
            del self._at_work[person]

    def remove(self, job: str) -> bool:
        """Leave the line; False if the job isn't in it."""
        for person, line in self._lines.items():
            for ticket in line:
                if ticket.job == job:
                    line.remove(ticket)
                    if not line:
                        del self._lines[person]
                    return True
        return False

    def ahead(self) -> dict[str, int]:
        """Pictures that come before each waiting job if nobody else joins, in the order of service."""
        lines = deque(deque(line) for line in self._lines.values())
        result: dict[str, int] = {}
        pictures = 0
        while lines:
            line = lines.popleft()
            ticket = line.popleft()
            result[ticket.job] = pictures
            pictures += ticket.pictures
            if line:
                lines.append(line)
        return result
