"""One installation, one page and one browser for all tests of a module: starting them takes most of the time."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Request, async_playwright, expect

from bot.app import running
from bot.chat import Role
from bot.settings import Settings
from engine.engine import Engine
from engine.pipelines.base import Drawing, OnStep
from engine.types import ResolvedRequest
from tests.contract.web import PASSWORD, add_account, served
from tests.engine.scripted_pipeline import ScriptedPipeline

ROOT = Path(__file__).parents[4]
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
PATIENCE = 40_000.0
"""Milliseconds; only a test that fails waits so long."""
expect.set_options(timeout=PATIENCE)
ACCOUNTS = {"ada": Role.MEMBER, "bob": Role.MEMBER, "cleo": Role.MODERATOR}


class SteadyPipeline(ScriptedPipeline):
    """Reports its first step for as long as the gate is closed, as a slow model reports many."""

    def draw(self, requests: Sequence[ResolvedRequest], on_step: OnStep) -> list[Drawing]:
        """Paint."""
        self.batches.append(tuple(request.seed for request in requests))
        while True:
            on_step(1, 2, lambda: {place: self.look(request) for place, request in enumerate(requests)})
            if self.gate.wait(0.2):
                return [self.paint(request) for request in requests]


@dataclass(kw_only=True)
class Studio:
    """The page, what draws behind it, and a browser."""

    address: str
    settings: Settings
    pipeline: ScriptedPipeline
    browser: Browser
    contexts: dict[object, BrowserContext] = field(default_factory=dict)
    """Those of people who have signed in."""
    strangers: list[str] = field(default_factory=list)
    """Requests to anywhere else."""
    complaints: list[str] = field(default_factory=list)
    """Errors that the browser's console showed."""

    @asynccontextmanager
    async def visit(
        self,
        name: str = "",
        *,
        width: int = 1280,
        scheme: Literal["light", "dark"] = "light",
        locale: str = "en-GB",
        address: str = "",
    ) -> AsyncIterator[Page]:
        """A tab of one's own, signed in if a name is given; `address` is another way to the page.

        Who has signed in stays so: the next visit is another tab of the same browser, which knows the page's scripts.
        """
        looks = (name, address, width, scheme, locale)
        context = self.contexts.get(looks) or await self.browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, locale=locale, reduced_motion="reduce"
        )
        context.set_default_timeout(PATIENCE)
        page = await context.new_page()
        page.on("request", self._watch)
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        try:
            await page.goto(address or self.address)
            if looks in self.contexts:
                await page.wait_for_selector(".ez-person-name")
            elif name:
                await self.sign_in(page, name)
                self.contexts[looks] = context
            yield page
        finally:
            await (page if looks in self.contexts else context).close()

    async def sign_in(self, page: Page, name: str, password: str = PASSWORD) -> None:
        """Fill the form in, and wait for the page."""
        await page.fill("#name", name)
        await page.fill("#password", password)
        await page.press("#password", "Enter")
        await page.wait_for_selector(".ez-person-name")

    def _watch(self, request: Request) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.strangers.append(request.url)


def chromium() -> str:
    """The browser's path; installed when it is missing."""
    found = subprocess.run([ROOT / "scripts" / "browser"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.fail(found.stderr.strip().splitlines()[-1])
    return found.stdout.strip().splitlines()[-1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def studio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Studio]:
    path = chromium()
    pipeline = SteadyPipeline()
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, web_port=1, image_check=False, running_per_person=5)
    for name, role in ACCOUNTS.items():
        await add_account(settings, name, role)
    engine = Engine(settings, make_pipeline=pipeline)
    async with (
        running(settings, engine) as app,
        served(settings, app.dispatcher) as address,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield Studio(address=address, settings=settings, pipeline=pipeline, browser=browser)
        await browser.close()
