"""A page whose line to the server breaks while a picture is drawn, in a real browser."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.bot.adapters.web.conftest import Studio
from tests.fakes.line import Line

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_broken_line_is_taken_up_again(studio: Studio) -> None:
    studio.pipeline.gate.clear()
    try:
        async with Line(studio.address).open() as line, studio.visit("ada", address=line.address) as page:
            await page.fill("#prompt textarea", "a patient snail")
            await page.click("#draw")
            await expect(page.locator(".ez-job progress[value]")).to_be_visible()
            await page.fill("#prompt textarea", "what I was just writing")
            line.cut()
            await expect(page.get_by_text("Connection to the server was lost")).to_be_visible()
            studio.pipeline.gate.set()
            line.mend()
            await expect(page.locator(".ez-figure", has_text="a patient snail")).to_be_visible()
            await expect(page.locator(".ez-job")).to_have_count(0)
            await expect(page.locator("#prompt textarea")).to_have_value("what I was just writing")
    finally:
        studio.pipeline.gate.set()


async def test_a_line_that_falls_silent_is_noticed(studio: Studio) -> None:
    studio.pipeline.gate.clear()
    try:
        async with Line(studio.address).open() as line, studio.visit("bob", address=line.address) as page:
            await page.fill("#prompt textarea", "a silent snail")
            await page.click("#draw")
            await expect(page.locator(".ez-job progress[value]")).to_be_visible()
            line.silence()
            studio.pipeline.gate.set()
            await expect(page.locator(".ez-figure", has_text="a silent snail")).to_be_visible()
            await expect(page.locator(".ez-job")).to_have_count(0)
    finally:
        studio.pipeline.gate.set()


async def test_another_of_one_s_pages_is_brought_up_to_date(studio: Studio) -> None:
    async with studio.visit("cleo") as page, page.context.expect_page() as opened:
        await page.evaluate("address => window.open(address)", studio.address)
        other = await opened.value
        await expect(other.locator(".ez-person-name")).to_be_visible()
        await page.fill("#prompt textarea", "a shared snail")
        await page.click("#draw")
        await expect(page.locator(".ez-figure", has_text="a shared snail")).to_be_visible()
        await other.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await expect(other.locator(".ez-figure", has_text="a shared snail")).to_be_visible()


async def test_who_was_signed_out_meanwhile_is_asked_to_sign_in(studio: Studio) -> None:
    async with studio.visit("cleo") as page:
        await page.context.clear_cookies()
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await expect(page).to_have_url(f"{studio.address}/sign-in")
