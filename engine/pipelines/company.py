"""Pictures of one loaded model on their way together, each step a forward pass for all of one size."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from engine.errors import MemoryExhaustedError
from engine.pipelines.commission import Commission
from engine.pipelines.room import Room, Size
from engine.pipelines.stepping import Stepper, Way


@dataclass(frozen=True, kw_only=True, eq=False)
class _Member:
    """A picture on its way."""

    commission: Commission
    place: int
    """Of its request in the commission."""
    way: Way

    @property
    def gone(self) -> bool:
        """Whether it was stopped, went wrong, or must start over."""
        return self.commission.ended or self.commission.alone


class Company:
    """Those who take steps together. What goes wrong with one ends its commission and no other."""

    def __init__(self, stepper: Stepper, most: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`most`: members at most."""
        self._stepper = stepper
        self._most = most
        self._monotonic = monotonic
        self._room = Room(most, monotonic=monotonic)
        self._members: list[_Member] = []

    @property
    def empty(self) -> bool:
        """Whether nobody is on the way."""
        return not self._members

    @property
    def full(self) -> bool:
        """Whether nobody may join."""
        return len(self._members) >= self._most

    def takes(self, commission: Commission) -> bool:
        """Whether a commission's pictures could join."""
        return not commission.alone and self._stepper.takes(commission.requests[0])

    def join(self, commission: Commission) -> None:
        """Begin a commission's next picture."""
        place = commission.next_place()
        with _memory_minded(commission):
            way = self._stepper.begin(commission.requests[place], commission.on_step_of(place))
            self._members.append(_Member(commission=commission, place=place, way=way))

    def let_go(self) -> None:
        """Forget the pictures that nobody waits for any more."""
        self._members = [member for member in self._members if not member.gone]

    def step(self) -> None:
        """One step for each size of latents; where not all take it together, who came first goes first."""
        by_size: defaultdict[Size, list[_Member]] = defaultdict(list)
        for member in self._members:
            by_size[member.way.size].append(member)
        for size, candidates in by_size.items():
            members = [member for member in candidates if not member.gone]
            if members:
                count = self._room.best(size, [member.way.rows for member in members])
                self._step_together(size, members[:count])

    def _step_together(self, size: Size, members: Sequence[_Member]) -> None:
        ways = [member.way for member in members]
        rows = sum(way.rows for way in ways)
        for member in members:
            member.commission.start()
        started = self._monotonic()
        try:
            answers = self._stepper.answer(ways)
        except MemoryExhaustedError:
            self._room.narrow(size, len(members))
            if len(members) == 1:
                members[0].commission.start_over_alone()
            return
        except Exception as error:  # noqa: BLE001  (it crosses to the event loop, whose boundary logs it)
            for member in members:
                member.commission.fail(error)
            return
        self._room.measured(size, rows, self._monotonic() - started)
        for member, answer in zip(members, answers, strict=True):
            with _memory_minded(member.commission):
                self._stepper.resume(member.way, answer)

    def deliver(self) -> None:
        """Decode the pictures that have taken their last step."""
        for member in [member for member in self._members if member.way.latents is not None]:
            self._members.remove(member)
            if not member.gone:
                with _memory_minded(member.commission):
                    member.commission.deliver(member.place, self._stepper.finish(member.way))
        self.let_go()


@contextmanager
def _memory_minded(commission: Commission) -> Iterator[None]:
    """What goes wrong inside ends the commission, except that want of memory has it drawn as a whole, more frugally."""
    with commission.answering():
        try:
            yield
        except MemoryExhaustedError:
            commission.start_over_alone()
