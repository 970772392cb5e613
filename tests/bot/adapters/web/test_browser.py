"""The page as people use it, in a real browser."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import Literal

import pytest
from playwright.async_api import FilePayload, Locator, Page, expect

from tests.bot.adapters.web.conftest import Studio

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def draw(page: Page, prompt: str) -> Locator:
    """Ask for a picture, and wait for its figure."""
    await page.fill("#prompt textarea", prompt)
    await page.click("#draw")
    words = prompt.partition(" --")[0]
    figure = page.locator(".ez-figure", has_text=words).first
    await expect(figure).to_be_visible()
    return figure


async def tab(page: Page, name: str) -> None:
    await page.get_by_role("tab", name=name, exact=True).click()


async def unfold(page: Page, name: str) -> None:
    await page.locator(".label-wrap", has_text=name).click()


async def test_nobody_comes_in_without_a_password(studio: Studio) -> None:
    async with studio.visit() as page:
        await expect(page).to_have_url(f"{studio.address}/sign-in")
        await page.fill("#name", "ada")
        await page.fill("#password", "not the password")
        await page.press("#password", "Enter")
        await expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
        await studio.sign_in(page, "ada")
        await expect(page.locator(".ez-person-name")).to_contain_text("ada")
        await page.get_by_role("button", name="Sign out").click()
        await expect(page).to_have_url(f"{studio.address}/sign-in")


async def test_a_picture_and_what_can_be_done_with_it(studio: Studio) -> None:
    async with studio.visit("ada") as page:
        figure = await draw(page, "a red apple --seed 255")
        image = figure.get_by_role("img")
        await expect(image).to_have_attribute("alt", "Generated picture: a red apple")
        assert await image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        await expect(figure).to_contain_text("seed 255")

        await figure.get_by_role("button", name="Use seed 255 again").click()
        await unfold(page, "More options")
        await expect(page.get_by_role("textbox", name="Seed")).to_have_value("255")

        async with page.expect_download() as download:
            await figure.get_by_role("link", name="Download").click()
        data = (await (await download.value).path()).read_bytes()
        saved = FilePayload(name="apple.png", mimeType="image/png", buffer=data)
        await figure.get_by_role("button", name="Re-roll").click()
        await expect(page.locator(".ez-figure")).to_have_count(2)

        await tab(page, "Verify")
        await page.set_input_files("#verify-file input", saved)
        await expect(page.locator("#verification")).to_contain_text("It was made by this installation.")
        await expect(page.locator("#verification")).to_contain_text("a red apple")


async def test_progress_is_seen_and_can_be_stopped(studio: Studio) -> None:
    studio.pipeline.gate.clear()
    try:
        async with studio.visit("ada") as page:
            await page.fill("#prompt textarea", "a slow snail --seed 3")
            await page.click("#draw")
            bar = page.locator(".ez-job progress[value]")
            await expect(bar).to_have_attribute("max", "2")
            await expect(page.locator(".ez-working img")).to_have_attribute("src", re.compile("^data:image/"))
            await page.reload()
            await expect(bar).to_have_attribute("value", "1")
            await page.get_by_role("button", name="Cancel").click()
            studio.pipeline.gate.set()
            await expect(page.locator(".ez-ended")).to_contain_text("was cancelled")
            await expect(page.locator(".ez-job")).to_have_count(0)
    finally:
        studio.pipeline.gate.set()


async def test_a_refusal_says_why_and_offers_an_appeal(studio: Studio) -> None:
    async with studio.visit("bob") as page:
        await page.fill("#prompt textarea", "a naked statue --strict")
        await page.click("#draw")
        refused = page.locator(".ez-refused")
        await expect(refused).to_contain_text("Refused by the word filter")
        await expect(refused).to_contain_text("The word filter refused the prompt")
        await refused.get_by_text("Ask a moderator", exact=True).click()
        await refused.get_by_label("Why it should be allowed").fill("It is a painting by Bosch.")


async def test_bad_input_is_answered_beside_the_form(studio: Studio) -> None:
    async with studio.visit("bob") as page:
        await page.fill("#prompt textarea", "a cat --steps 1000")
        await page.click("#draw")
        await expect(page.locator("#notices [role=alert]")).to_contain_text(
            "--steps takes a whole number from 1 to 100"
        )
        await page.fill("#prompt textarea", "/quota")
        await page.click("#draw")
        await expect(page.locator("#notices")).to_contain_text("today")
        await expect(page.locator("#notices [role=alert]")).to_have_count(0)


async def test_a_batch_is_a_picture_for_each_line(studio: Studio) -> None:
    async with studio.visit("bob") as page:
        await unfold(page, "Several pictures at once")
        await page.fill("#lines textarea", "a cow\na pig\na hen")
        await page.click("#draw")
        await expect(page.locator(".ez-figure")).to_have_count(3)
        await page.fill("#lines textarea", "")
        await page.set_input_files(
            "#panel-draw input[type=file][accept*='.txt']",
            {"name": "prompts.txt", "mimeType": "text/plain", "buffer": b"a fox\na yak\n"},
        )
        await expect(page.get_by_role("row", name="prompts.txt")).to_be_visible()
        await page.click("#draw")
        await expect(page.locator(".ez-figure")).to_have_count(5)


async def test_another_mark_needs_no_drawing(studio: Studio) -> None:
    async with studio.visit("ada") as page:
        await draw(page, "a green hill --seed 77")
        drawn = len(studio.pipeline.batches)
        await unfold(page, "Visible mark")
        await page.fill("#field-watermark_text textarea", "Ada's own")
        look = page.locator("#look img")
        await expect(look).to_have_attribute("src", re.compile("^data:image/webp"))
        first = await look.get_attribute("src")
        await page.fill("#field-watermark_margin textarea", "40")
        await expect(look).not_to_have_attribute("src", first or "")
        await page.click("#draw")
        await expect(page.locator(".ez-figure", has_text="a green hill")).to_have_count(2)
        await expect(page.locator(".ez-figure").first).to_contain_text("from cache")
        assert len(studio.pipeline.batches) == drawn


async def test_two_people_do_not_see_each_other_s_pictures(studio: Studio) -> None:
    async with studio.visit("ada") as ada, studio.visit("bob") as bob:
        figure = await draw(ada, "a secret garden --seed 9")
        address = await figure.get_by_role("link").first.get_attribute("href")
        await draw(bob, "a plain fence --seed 9")
        await tab(bob, "History")
        await expect(bob.locator(".ez-entry").first).to_be_visible()
        await expect(bob.get_by_text("a secret garden")).to_have_count(0)
        assert (await bob.request.get(f"{studio.address}{address}")).status == 404
        assert (await ada.request.get(f"{studio.address}{address}")).status == 200
        await expect(bob.get_by_role("tab", name="Moderation")).to_have_count(0)
        await tab(ada, "History")
        await expect(ada.locator("#history")).to_contain_text("a secret garden")
        await ada.fill("#history-search textarea", "no such thing")
        await expect(ada.locator("#history")).to_contain_text("No prompt of yours holds that.")


async def test_a_moderator_removes_a_picture(studio: Studio) -> None:
    async with studio.visit("ada") as ada, studio.visit("cleo") as cleo:
        figure = await draw(ada, "a doomed castle --seed 11")
        address = await figure.get_by_role("link").first.get_attribute("href")
        await tab(cleo, "Moderation")
        await expect(cleo.locator(".ez-panel")).to_have_count(5)
        await tab(cleo, "Pictures")
        await cleo.fill("#entries-search textarea", "doomed")
        entries = cleo.locator("#entries .ez-small")
        await expect(entries.first).to_contain_text("a doomed castle")
        assert await entries.first.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)")
        await expect(entries).to_have_count(2)  # the file, and the unmarked picture that it was made of
        for left in (1, 0):
            await entries.first.get_by_role("button", name="Delete").click()
            await entries.first.get_by_role("button", name="Really?").click()
            await expect(entries).to_have_count(left)
        await expect(cleo.locator("#moderation-said")).to_contain_text("removed from the cache")
        await tab(cleo, "Log")
        await expect(cleo.locator("#audit")).to_contain_text("cache.delete")
        assert (await cleo.request.get(f"{studio.address}{address}")).status == 404


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_telephone(studio: Studio, scheme: Literal["light", "dark"]) -> None:
    async with studio.visit("ada", width=375, scheme=scheme) as page:
        await draw(page, "a tall tower --seed 6")
        for name in ("More options", "Visible mark"):
            await unfold(page, name)
        wide = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        assert len(set(await page.evaluate(wide))) == 1
        for name in ("History", "Verify"):
            await tab(page, name)
            assert len(set(await page.evaluate(wide))) == 1


async def test_everything_has_a_name_and_a_place_for_the_keyboard(studio: Studio) -> None:
    async with studio.visit("ada") as page:
        for name in ("More options", "Visible mark", "Several pictures at once"):
            await unfold(page, name)
        await expect(page.get_by_label("Margin")).to_be_visible()
        nameless = await page.evaluate(NAMELESS)
        assert nameless == []
        await page.focus("#prompt textarea")
        for _ in range(3):
            await page.keyboard.press("Tab")
        focused = await page.evaluate("document.activeElement.closest('.block, button')?.id")
        assert focused.startswith("field-")


NAMELESS = """() => [...document.querySelectorAll('#panel-draw :is(input, textarea, button, img)')]
  .filter((e) => e.offsetParent !== null && e.type !== 'file')
  .filter((e) => !(e.labels?.length || e.ariaLabel || e.alt || e.title || e.textContent.trim()))
  .map((e) => e.outerHTML.slice(0, 200))"""


async def test_the_page_asks_nobody_else_and_complains_of_nothing(studio: Studio) -> None:
    assert studio.strangers == []
    studio.complaints.clear()  # of visits that were broken off
    async with studio.visit("cleo") as page:
        await draw(page, "a quiet lake --seed 5")
        for name in ("History", "Verify", "Moderation", "People", "Appeals", "Log"):
            await tab(page, name)
        await expect(page.locator("#audit")).not_to_be_empty()
        assert studio.complaints == []
    assert studio.strangers == []


async def test_every_press_has_a_name_of_its_own(studio: Studio) -> None:
    async with studio.visit("ada") as page:
        await draw(page, "a small shed --seed 6")
    with closing(sqlite3.connect(studio.settings.database)) as database:
        events = [event for (event,) in database.execute("SELECT event FROM jobs")]
    assert events
    assert all(re.fullmatch(r"(ada|bob|cleo)/[0-9a-f]{24}", event) for event in events)
