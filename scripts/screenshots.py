"""Takes all of the web page's pictures for the documentation anew: `.venv/bin/python -m scripts.screenshots`.

With the bundled model as it is at the time, in a Chromium, at 1280 and at 375 pixels, light and dark; a minute or two.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, Page, async_playwright

from bot.app import running
from bot.chat import Role
from bot.settings import Settings
from tests.contract.web import PASSWORD, add_account, served

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
PATIENCE_MS = 300_000.0
PROMPTS = ("a red apple", "a smiling cat", "a slice of pizza", "a snowman")
REUSED = ("a red apple", "a red apple", "a smiling cat")
REFUSED = "a naked statue --strict"
SEED = 7


async def main() -> None:
    """Draw some pictures, and take the pages'."""
    found = subprocess.run([ROOT / "scripts" / "browser"], stdout=subprocess.PIPE, text=True, check=True)  # noqa: ASYNC221, S603
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), web_port=1)
        await add_account(settings, "ada", Role.MODERATOR)
        async with (
            running(settings) as app,
            served(settings, app.dispatcher) as address,
            async_playwright() as playwright,
        ):
            browser = await playwright.chromium.launch(executable_path=found.stdout.split("\n")[0], args=FLAGS)
            await _draw(browser, address)
            await _take(browser, address)
            await browser.close()


async def _draw(browser: Browser, address: str) -> None:
    page = await _page(browser, address)
    for prompt in (REFUSED, *REUSED, *PROMPTS):
        flags = "" if "--" in prompt else f" --seed {SEED}"
        before = await page.locator(".ez-figure, .ez-refused").count()
        await page.fill("#prompt textarea", prompt + flags)
        await page.click("#draw")
        await page.wait_for_function(
            "count => document.querySelectorAll('.ez-figure, .ez-refused').length > count", arg=before
        )
    await page.context.close()


async def _take(browser: Browser, address: str) -> None:
    page = await _page(browser, address)
    await page.fill("#prompt textarea", "a tropical fish --steps 100")  # so that its preview is seen
    await page.click("#draw")
    await page.mouse.move(0, 0)
    await page.wait_for_function("document.querySelector('.ez-working img')?.naturalWidth > 0")
    await page.screenshot(path=IMAGES / "web.png")
    await page.wait_for_function("document.querySelectorAll('.ez-job').length === 0")
    await page.get_by_role("tab", name="Moderation").click()
    await page.wait_for_selector(".ez-panel")
    await page.screenshot(path=IMAGES / "web-moderation.png")
    await page.context.close()
    for width, height, scheme, name in ((1280, 900, "dark", "web-dark.png"), (375, 1500, "light", "web-375.png")):
        page = await _page(browser, address, width, height, "dark" if scheme == "dark" else "light")
        await page.wait_for_function("document.querySelector('.ez-figure img')?.naturalWidth > 0")
        await page.screenshot(path=IMAGES / name)
        await page.context.close()


async def _page(
    browser: Browser, address: str, width: int = 1280, height: int = 900, scheme: Literal["light", "dark"] = "light"
) -> Page:
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE_MS)
    await context.request.post(f"{address}/sign-in", form={"name": "ada", "password": PASSWORD})
    page = await context.new_page()
    await page.goto(address)
    await page.wait_for_selector(".ez-person-name")
    return page


if __name__ == "__main__":
    asyncio.run(main())
