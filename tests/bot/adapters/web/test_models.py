"""Two models on one page, in a real browser: which values the form has after what."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright, expect

from bot.app import running
from bot.settings import Settings
from engine.types import EngineInfo
from tests.bot.adapters.web.conftest import FLAGS, Studio, chromium
from tests.contract.web import add_account, served
from tests.engine.scripted_pipeline import ScriptedPipeline
from tests.fakes.engine_client import MODEL, ScriptedEngine

pytestmark = pytest.mark.asyncio(loop_scope="module")
OTHER = MODEL.model_copy(update={"name": "other", "title": "Other", "default_side": 128, "steps": 20, "guidance": 8.0})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def studio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Studio]:
    path = chromium()
    settings = Settings(home=tmp_path_factory.mktemp("home"), web_port=1)
    await add_account(settings, "ada")
    engine = ScriptedEngine(EngineInfo(models=(MODEL, OTHER), default_model=MODEL.name))
    async with (
        running(settings, engine) as app,
        served(settings, app.dispatcher) as address,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield Studio(address=address, settings=settings, pipeline=ScriptedPipeline(), browser=browser)
        await browser.close()


async def test_a_picture_s_settings_are_its_own_whatever_model_is_selected(studio: Studio) -> None:
    async with studio.visit("ada") as page:
        model, width = (page.locator(f"#field-{name} input") for name in ("model", "width"))
        await expect(width).to_have_value("64")
        await page.fill("#prompt textarea", "a cow --model other --width 256 --steps 9")
        await page.click("#draw")
        await page.locator(".ez-figure").get_by_role("button", name="Use settings").click()
        await expect(model).to_have_value("Other")
        # Whatever that sets off is over before another picture is there.
        await page.fill("#prompt textarea", "a pig")
        await page.click("#draw")
        await expect(page.locator(".ez-figure", has_text="a pig")).to_contain_text("256\N{MULTIPLICATION SIGN}128")
        await expect(width).to_have_value("256")
        await model.click()
        await page.get_by_role("option", name=MODEL.title).click()
        await expect(width).to_have_value("64")
        await model.click()
        await page.get_by_role("option", name="Other").click()
        await expect(width).to_have_value("128")
