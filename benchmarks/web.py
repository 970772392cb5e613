"""How quick the web page is: `python -m benchmarks.web [--people N] [--json]`.

A page in a browser of its own, with an engine whose pictures are plain colours, so that what is timed is the page:

- `ready_s`: from the address to a page that can be used, in a browser that has never seen it.
- `round_trip_s`: Gradio's own: from a press to the field that its event changes.
- `cached_s`: from the press of Draw to the picture's pixels, for a picture that the cache holds.
- `people_s` and `errors`: so many people sign in, open the page and ask for a picture at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import structlog
from argon2 import PasswordHasher
from playwright.async_api import Browser, Page, async_playwright
from rich.console import Console
from rich.table import Table

from bot.app import running
from bot.settings import Settings
from engine.engine import Engine
from tests.contract.web import PASSWORD, add_account, served
from tests.engine.scripted_pipeline import ScriptedPipeline
from tests.fakes.web_person import WebPerson

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
VISITS, PRESSES = 5, 15
PATIENCE_MS = 120_000.0
TIMED = """(what) => new Promise((resolve) => {
    const latest = () => document.querySelector(".ez-figure");
    const before = latest().dataset.job;
    const drawn = (job, image) => job !== before && image.src.includes(job) && image.complete && image.naturalWidth > 0;
    const seen = () => what.field
        ? document.querySelector(what.field).value === what.value
        : drawn(latest().dataset.job, latest().querySelector("img"));
    const started = performance.now();
    const look = () => seen() ? resolve((performance.now() - started) / 1000) : requestAnimationFrame(look);
    document.querySelector(what.press).click();
    look();
})"""
Figures = dict[str, float | int]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the web page.")
    parser.add_argument("--people", type=int, default=20, help="people at once")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory(prefix="easel-web-") as folder:
        figures = asyncio.run(measure(Path(folder), given.people))
    if given.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        table = Table("figure", "value", title="The web page")
        for name, value in figures.items():
            table.add_row(name, f"{value:g}")
        Console().print(table)


async def measure(home: Path, people: int) -> Figures:
    """Serve a page, and time it."""
    settings = Settings(home=home, web_port=1, image_check=False, daily_pictures=0, waiting_per_person=50)
    hasher = PasswordHasher()  # as people have it, not the tests' quick one
    names = [f"person{number}" for number in range(people)]
    for name in names:
        await add_account(settings, name, hasher=hasher)
    engine = Engine(settings, make_pipeline=ScriptedPipeline())
    async with running(settings, engine) as app, served(settings, app.dispatcher, hasher) as address:
        figures = await _in_a_browser(address, names[0])
        return figures | await _at_once(address, names)


async def _in_a_browser(address: str, name: str) -> Figures:
    path = subprocess.run(["scripts/browser"], stdout=subprocess.PIPE, text=True, check=True)  # noqa: ASYNC221, S607
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path.stdout.split("\n")[0], args=FLAGS)
        ready = [await _visit(browser, address, name) for _ in range(VISITS)]
        page = await _signed_in(browser, address, name)
        trips, cached = await _presses(page)
        await browser.close()
    return {
        "ready_s": round(statistics.median(ready), 2),
        "round_trip_s": round(trips, 3),
        "cached_s": round(cached, 3),
        "beyond_round_trip_s": round(cached - trips, 3),
    }


async def _visit(browser: Browser, address: str, name: str) -> float:
    """Seconds until the page can be used, by somebody who has signed in and has nothing of it in store."""
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    await context.request.post(f"{address}/sign-in", form={"name": name, "password": PASSWORD})
    page = await context.new_page()
    started = time.perf_counter()
    await page.goto(address, wait_until="commit")
    await page.wait_for_selector(".ez-person-name")
    await page.wait_for_selector("#draw")
    taken = time.perf_counter() - started
    await context.close()
    return taken


async def _signed_in(browser: Browser, address: str, name: str) -> Page:
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    await context.request.post(f"{address}/sign-in", form={"name": name, "password": PASSWORD})
    page = await context.new_page()
    await page.goto(address)
    await page.wait_for_selector(".ez-person-name")
    return page


async def _presses(page: Page) -> tuple[float, float]:
    """Median seconds of Gradio's round trip, and of a picture from the cache."""
    await page.fill("#prompt textarea", "a red apple --seed 7")
    await page.click("#draw")
    await page.wait_for_selector(".ez-figure img")
    await page.locator(".label-wrap", has_text="More options").click()
    seed = "#field-seed textarea"
    await page.wait_for_selector(seed)
    trips: list[float] = []
    cached: list[float] = []
    for _ in range(PRESSES):
        await page.fill(seed, "-1")
        trips.append(await page.evaluate(TIMED, {"press": "[data-do=seed]", "field": seed, "value": "7"}))
        cached.append(await page.evaluate(TIMED, {"press": "#draw"}))
    return statistics.median(trips), statistics.median(cached)


async def _at_once(address: str, names: list[str]) -> Figures:
    """Everybody signs in, opens the page and asks for a picture."""
    started = time.perf_counter()
    ends = await asyncio.gather(*(_person(address, name) for name in names), return_exceptions=True)
    errors = [end for end in ends if isinstance(end, BaseException)]
    for error in errors:
        sys.stderr.write(f"{error!r}\n")
    return {"people": len(names), "people_s": round(time.perf_counter() - started, 2), "errors": len(errors)}


async def _person(address: str, name: str) -> None:
    person = WebPerson(address)
    try:
        await person.open(name, PASSWORD)
        await person.draw(f"a garden of {name}")
        await person.until(lambda: any(f"a garden of {name}" in text for text in person.log))
        await person.until(lambda: len(person.pictures) > 0)
    except aiohttp.ClientError as error:
        raise RuntimeError(f"{name} was turned away") from error
    finally:
        await person.close()


if __name__ == "__main__":
    main()
