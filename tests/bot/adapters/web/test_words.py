"""What people write on the page, and what the page says to them, in a real browser."""

from __future__ import annotations

import pytest
from playwright.async_api import FilePayload, expect

from tests.bot.adapters.web.conftest import Studio
from tests.bot.adapters.web.test_browser import draw, tab, unfold

pytestmark = pytest.mark.asyncio(loop_scope="module")
ATTACKS = (
    "a ${document.title = 'taken'} b",
    "a {{constructor.constructor('document.title = 1')()}} b",
    "a `+(document.title='taken')+` b",
    'a <img src=x onerror="document.title=1"> b',
    "a </script><script>document.title=1</script> b",
    '__i18n__{"key": "easel_draw"} b',
    "__i18n__{ b",
)


async def test_nothing_in_a_prompt_is_run(studio: Studio) -> None:
    async with studio.visit("ada") as page:
        studio.complaints.clear()
        for prompt in ATTACKS:
            await page.fill("#prompt textarea", f"{prompt} --seed 1 --steps 2")
            await page.click("#draw")
            figure = page.locator(".ez-figure").first
            await expect(figure.locator(".ez-prompt")).to_have_text(prompt)
            await expect(figure.get_by_role("img")).to_have_attribute("alt", f"Generated picture: {prompt}")
        await tab(page, "History")
        for entry, prompt in enumerate(reversed(ATTACKS)):
            await expect(page.locator(".ez-entry").nth(entry).locator(".ez-prompt")).to_have_text(prompt)
        await expect(page).to_have_title("Easel")
        assert studio.complaints == []


async def test_what_is_written_stays_with_its_picture(studio: Studio) -> None:
    async with studio.visit("bob") as page:
        for strict in ("a naked statue --strict", "a naked man --strict"):
            before = await page.locator(".ez-refused").count()
            await page.fill("#prompt textarea", strict)
            await page.click("#draw")
            await expect(page.locator(".ez-refused")).to_have_count(before + 1)
        first = page.locator(".ez-refused").last
        await first.get_by_text("Ask a moderator", exact=True).click()
        await first.get_by_label("Why it should be allowed").fill("It is by Bosch.")
        figure = await draw(page, "a cup of tea --seed 4")
        await figure.get_by_text("All parameters").click()
        await draw(page, "a cup of milk --seed 4")
        await expect(first.get_by_label("Why it should be allowed")).to_have_value("It is by Bosch.")
        fields = page.locator(".ez-refused [data-field]")
        assert [await field.input_value() for field in await fields.all()] == ["", "It is by Bosch."]
        unfolded = page.locator("details[open]")
        await expect(unfolded).to_have_count(2)
        await expect(page.locator(".ez-figure", has=unfolded)).to_contain_text("a cup of tea")


async def test_the_page_speaks_the_browser_s_language(studio: Studio) -> None:
    async with studio.visit("ada", locale="de-DE") as page:
        await expect(page.get_by_role("button", name="Zeichnen")).to_be_visible()
        await expect(page.locator("html")).to_have_attribute("lang", "de")
        await expect(page.get_by_role("combobox", name="Stil")).to_have_value("Kein Stil")
        await tab(page, "Prüfen")
        await expect(page.locator("#panel-verify .ez-hint")).to_contain_text("hier")


async def test_what_can_not_be_undone_asks_twice(studio: Studio) -> None:
    async with studio.visit("ada") as ada, studio.visit("cleo") as cleo:
        figure = await draw(ada, "a short life --seed 12")
        await figure.get_by_role("button", name="Delete").click()
        await expect(figure.get_by_role("button", name="Really?")).to_be_visible()
        await expect(figure).to_be_visible()
        await tab(cleo, "Moderation")
        await tab(cleo, "People")
        await cleo.fill("#person textarea", "web:ada")
        await cleo.get_by_role("button", name="Remove all their pictures").click()
        await cleo.get_by_role("button", name="Really?").click()
        await expect(cleo.locator("#moderation-said")).to_contain_text("removed from the cache")


async def test_a_chosen_file_offers_no_way_to_the_server(studio: Studio) -> None:
    async with studio.visit("bob") as page:
        await unfold(page, "Several pictures at once")
        text = FilePayload(name="prompts.txt", mimeType="text/plain", buffer=b"a fox")
        await page.set_input_files("#batch-file input", text)
        await expect(page.get_by_role("row", name="prompts.txt")).to_be_visible()
        await expect(page.locator("#batch-file").get_by_role("link")).to_have_count(0)
        await page.get_by_role("button", name="Clear").click()
        await expect(page.locator("#batch-file").get_by_text("Drop File Here")).to_be_visible()
