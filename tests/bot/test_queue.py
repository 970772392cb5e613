"""The fair queue: whoever waits gets the next turn, and the promised order is the order of service."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bot.jobs.fair_queue import FairQueue, Ticket

PEOPLE = st.sampled_from("abcde")


def ticket(job: str, person: str, pictures: int = 1) -> Ticket:
    return Ticket(job=job, person=person, pictures=pictures)


def test_people_take_turns_and_their_own_jobs_keep_their_order() -> None:
    queue = FairQueue(workers=9, running_per_person=9)
    for job, person in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("c1", "c"), ("b2", "b")):
        queue.put(ticket(job, person))
    assert [queue.take().job for _ in range(6)] == ["a1", "b1", "c1", "a2", "b2", "a3"]  # type: ignore[union-attr]
    assert queue.take() is None


def test_a_person_at_their_limit_is_passed_over_and_keeps_their_turn() -> None:
    queue = FairQueue(workers=2, running_per_person=1)
    for job, person in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b"), ("c1", "c")):
        queue.put(ticket(job, person))
    assert queue.take() == ticket("a1", "a")
    assert queue.take() == ticket("b1", "b")
    assert queue.take() is None
    queue.done("b1")
    assert queue.take() == ticket("c1", "c")
    queue.done("a1")
    assert queue.take() == ticket("a2", "a")
    queue.done("a2")
    queue.done("c1")
    assert [queue.of(person) for person in "abc"] == [0, 1, 0]
    assert not queue._at_work, "whoever has nothing at work is forgotten"


def test_positions_count_pictures() -> None:
    queue = FairQueue(workers=1, running_per_person=1)
    for job, person, pictures in (("a1", "a", 4), ("a2", "a", 2), ("b1", "b", 3)):
        queue.put(ticket(job, person, pictures))
    assert queue.ahead() == {"a1": 0, "b1": 4, "a2": 7}
    assert queue.remove("b1")
    assert not queue.remove("b1")
    assert queue.ahead() == {"a1": 0, "a2": 4}
    assert (queue.waiting, queue.of("a"), queue.of("b")) == (2, 2, 0)


@settings(deadline=None)
@given(st.lists(st.tuples(PEOPLE, st.integers(1, 20)), max_size=30))
def test_the_promised_order_is_the_order_of_service(jobs: list[tuple[str, int]]) -> None:
    queue = FairQueue(workers=100, running_per_person=100)
    for number, (person, pictures) in enumerate(jobs):
        queue.put(ticket(str(number), person, pictures))
    promised = queue.ahead()
    served = 0
    for _ in jobs:
        taken = queue.take()
        assert taken is not None
        assert promised[taken.job] == served
        served += taken.pictures


class Line(RuleBasedStateMachine):
    """Any order of arrivals, departures and endings."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = FairQueue(workers=3, running_per_person=1)
        self.waiting: dict[str, list[str]] = {}
        self.running: dict[str, str] = {}
        self.passed: dict[str, Counter[str]] = {}
        """For each person who could be served: how often others were served since."""
        self.number = 0

    @rule(person=PEOPLE)
    def arrive(self, person: str) -> None:
        self.number += 1
        self.queue.put(ticket(str(self.number), person))
        self.waiting.setdefault(person, []).append(str(self.number))

    @rule()
    def serve(self) -> None:
        taken = self.queue.take()
        able = [person for person, jobs in self.waiting.items() if jobs and person not in self.running.values()]
        if len(self.running) == 3 or not able:
            assert taken is None
            return
        assert taken is not None
        assert taken.person in able
        assert taken.job == self.waiting[taken.person].pop(0)
        self.running[taken.job] = taken.person
        for person in able:
            counts = self.passed.setdefault(person, Counter())
            counts[taken.person] += 1
            assert counts[taken.person] <= 1
        self.passed.pop(taken.person)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.running)))
        self.queue.done(job)
        del self.running[job]

    @precondition(lambda self: any(self.waiting.values()))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        person = data.draw(st.sampled_from(sorted(person for person, jobs in self.waiting.items() if jobs)))
        job = data.draw(st.sampled_from(self.waiting[person]))
        assert self.queue.remove(job)
        self.waiting[person].remove(job)
        if not self.waiting[person]:
            self.passed.pop(person, None)

    @invariant()
    def nobody_is_lost(self) -> None:
        jobs = {job for line in self.waiting.values() for job in line}
        assert set(self.queue.ahead()) == jobs
        assert self.queue.waiting == len(jobs)
        assert {ticket.job for ticket in self.queue.running} == set(self.running)


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
