"""Files that people choose on the page, and those that they try to reach by it."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from PIL import Image

from bot.adapters.web.uploads import ALTOGETHER, MAX_UPLOAD, OF_ONE_PERSON, SECONDS, Uploads
from bot.app import running
from bot.chat import MAX_ATTACHMENT
from bot.settings import Settings
from tests.bot.adapters.web.test_page import visit
from tests.contract.web import add_account, served
from tests.fakes.engine_client import ScriptedEngine
from tests.fakes.web_person import chosen

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory, engine: ScriptedEngine) -> AsyncIterator[str]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), web_port=1, image_input=True, running_per_person=5)
    for name in ("ada", "bob", "cy", "dee"):
        await add_account(settings, name)
    async with running(settings, engine) as app, served(settings, app.dispatcher) as address:
        yield address


class HandClock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def png(side: int = 64) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), "green").save(out, "PNG")
    return out.getvalue()


async def test_a_file_of_prompts_is_drawn(address: str, engine: ScriptedEngine) -> None:
    async with visit(address, "ada") as ada:
        file = await ada.choose("prompts.txt", b"a fox\na yak\n")
        await ada.draw("", lines="a cow", batch_file=file)
        await ada.until(lambda: len(ada.pictures) == 3)
        assert [request.prompt for request in engine.orders[-1].requests] == ["a cow", "a fox", "a yak"]


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"\xff\xfe\x00", "is not a text in UTF-8"), (b"a cow\n" * 20_000, "is too long")],
    ids=["no text", "too long"],
)
async def test_a_file_that_is_no_list_of_prompts_is_refused(address: str, data: bytes, said: str) -> None:
    async with visit(address, "ada") as ada:
        await ada.draw("", batch_file=await ada.choose("prompts.txt", data))
        await ada.sees("notices", said)


async def test_an_image_to_start_from_reaches_the_engine(address: str, engine: ScriptedEngine) -> None:
    async with visit(address, "ada") as ada:
        await ada.draw("a hill", start_image=await ada.choose("hill.png", png()))
        await ada.sees("pictures", "a hill")
        assert engine.orders[-1].requests[0].image is not None


async def test_nothing_that_is_chosen_is_written_to_disk(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    async with visit(address, "bob") as bob:
        assert await bob.choose("huge.png", b"\0" * MAX_UPLOAD)


async def test_a_file_that_is_too_large_is_told_so(address: str) -> None:
    async with visit(address, "ada") as ada:
        file = await ada.choose("huge.png", b"\0" * (MAX_ATTACHMENT + 1))
        await ada.draw("a hill", start_image=file)
        await ada.sees("notices", "is too large")


@pytest.mark.parametrize("where", ["batch-file", "start-image", "prompt", "field-seed"])
async def test_no_path_of_the_server_is_read(address: str, tmp_path: Path, where: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the operator's token")
    async with visit(address, "dee") as dee:
        listener = dee.listener("click", "draw")
        names = {c["id"]: c["props"].get("elem_id") for c in dee.config["components"]}
        data = [chosen(str(secret)) if names[number] == where else None for number in listener["inputs"]]
        assert await dee.send(listener, data) == 400
        verify = dee.listener("change", "verify-file")
        assert await dee.send(verify, [chosen(str(secret))]) == 400


async def test_no_address_is_fetched(address: str) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as elsewhere, visit(address, "dee") as dee:
        port = elsewhere.sockets[0].getsockname()[1]
        for url in (f"http://127.0.0.1:{port}/a.png", "https://example.com/a.png", "file:///etc/passwd"):
            assert await dee.send(dee.listener("change", "verify-file"), [chosen(url)]) == 400
        await dee.draw("/quota")
        await dee.sees("notices", "today")
    assert asked == []


async def test_a_file_is_its_owner_s_alone(address: str) -> None:
    async with visit(address, "ada") as ada, visit(address, "bob") as bob:
        file = await ada.choose("prompts.txt", b"a secret prompt")
        await bob.draw("", batch_file=file)
        await bob.sees("notices", "The file is no longer kept here")
        assert not [text for text in bob.log if "secret" in text]


async def test_what_is_no_upload_is_not_taken_in(address: str) -> None:
    async with visit(address, "cy") as cy:
        for field, size, status in (("files", None, 400), ("other", 9, 400), ("files", MAX_UPLOAD + 1, 413)):
            form = aiohttp.FormData()
            if size is None:
                form.add_field(field, "a text")
            else:
                form.add_field(field, io.BytesIO(bytes(size)), filename="a.png")
            async with cy.session.post("/gradio_api/upload", data=form) as answer:
                assert answer.status == status
        async with cy.session.post("/gradio_api/upload", data=b"neither") as answer:
            assert answer.status == 400


async def test_a_person_s_files_are_few_and_all_together_bounded() -> None:
    uploads = Uploads()
    first, *others = (uploads.keep("ada", f"{number}", b"x") for number in range(OF_ONE_PERSON + 1))
    assert uploads.get("ada", first) is None
    assert all(uploads.get("ada", name) for name in others)
    half = b"x" * (ALTOGETHER // 2)
    names = [uploads.keep(f"person {number}", "", half) for number in range(3)]
    assert [uploads.get(f"person {number}", name) is not None for number, name in enumerate(names)] == [
        False,
        True,
        True,
    ]


async def test_many_guests_of_one_network_have_no_more_files_than_one() -> None:
    uploads = Uploads()
    adas = uploads.keep("ada", "", b"x" * (ALTOGETHER // 2))
    for number in range(20):
        name = uploads.keep(f"guest {number}", "", b"x" * (ALTOGETHER // 10), payer="192.0.2.7")
    assert uploads.get("guest 19", name) is not None
    assert uploads.get("guest 18", name) is None, "files are no less somebody's own for that"
    assert uploads.get("ada", adas) is not None


async def test_a_file_is_forgotten_after_a_while() -> None:
    clock = HandClock()
    uploads = Uploads(clock)
    name = uploads.keep("ada", "a.txt", b"x")
    assert uploads.get("ada", name) == ("a.txt", b"x")
    assert uploads.get("bob", name) is None
    clock.time = SECONDS
    assert uploads.get("ada", name) is None
    assert len(uploads) == 0
