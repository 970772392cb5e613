"""What the contract needs of an adapter's test harness: to drive it as a person would, and to see what they see."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from bot.dispatch import Dispatcher


class Harness(Protocol):
    """One adapter, with a platform (or a fake that speaks its wire protocol) on the other side."""

    member: str
    """Key of the person who types, `platform:id`: an ordinary member."""
    hostile: tuple[str, ...]
    """Texts that a prompt may hold, and that must not reach the platform as they are."""

    def running(self, dispatcher: Dispatcher) -> AbstractAsyncContextManager[None]:
        """Run the adapter; leaving the context stops it at once, as SIGTERM does. May be entered again: a restart."""

    async def say(self, command: str, text: str = "", event: str | None = None) -> None:
        """Give a command; an `event` given twice is the same event, sent again by the platform."""

    async def until(self, text: str, times: int = 1) -> None:
        """Wait until the person has seen this text so often; fails after some seconds."""

    async def until_pictures(self, count: int) -> None:
        """Wait until the person has so many pictures; fails after some seconds."""

    def transcript(self) -> str:
        """Everything that the person has been shown, in order."""

    def pictures(self) -> list[bytes]:
        """Every picture that has arrived, in order; one that came twice is there twice."""


class AfterwardsHarness(Harness, Protocol):
    """What it takes to see what becomes of pictures after they have arrived, and to whom they are shown."""

    def standing(self) -> list[bytes]:
        """The pictures that can still be seen, in order: those that arrived and were not taken out again."""

    def shown_to_all(self) -> list[bytes]:
        """The pictures that others in the channel can see, too; none on a platform without others."""

    async def until_gone(self, count: int) -> None:
        """Wait until so many pictures are left; fails after some seconds."""
