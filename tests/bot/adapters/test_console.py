from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.console import Console, ConsoleSurface, Screen, attachment, commands, lines, split
from bot.app import running
from bot.chat import MAX_ATTACHMENT, Button, Delivery, Failure, Notice, Picture, Place, Refusal, Removed, Reply, Sent
from bot.errors import BadInputError, DeliveryError
from bot.settings import Settings
from engine.types import Cached, Image, Layer, ResolvedRequest, Sampler
from tests.fakes.engine_client import ScriptedEngine, picture

PATIENCE = 10.0
"""Seconds in which a process must end."""


async def stream(texts: Iterable[str]) -> AsyncGenerator[str, None]:
    for text in texts:
        yield text


async def parsed(*texts: str) -> list[tuple[str | None, str]]:
    return [command async for command in commands(stream(texts))]


def delivery(*prompts: str) -> Delivery:
    pictures = []
    for index, prompt in enumerate(prompts):
        request = ResolvedRequest(prompt=prompt, steps=1, guidance=1.0, width=64, height=64, seed=7,
                                  sampler=Sampler.DDIM, model="emoji")  # fmt: skip
        image = Image(index=index, data=picture(request), request=request, key="k", generation_key="g",
                      cached=Cached.NONE, seconds={})  # fmt: skip
        pictures.append(Picture(image=image, file_name=f"k3-{index + 1}.png", alt_text="", caption=f"seed {index}",
                                notes=("A note.",)))  # fmt: skip
    return Delivery(job="k3", part=1, parts=1, nonce="n", attempt=1, pictures=tuple(pictures))


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def surface(out: io.StringIO, tmp_path: Path) -> ConsoleSurface:
    return ConsoleSurface(Screen(out), tmp_path / "new" / "folder", 0.0)


async def test_commands_are_lines_that_start_with_a_slash() -> None:
    assert await parsed("/imagine a cat", "", "  /HELP  ", "hello", "/show  k3 ") == [
        ("imagine", "a cat"),
        ("help", ""),
        (None, "hello"),
        ("show", "k3"),
    ]
    assert split("/") == ("", "")


async def test_a_batch_takes_the_lines_that_follow() -> None:
    assert await parsed("/batch", "a cat", "a dog", "", "/help") == [("batch", "\na cat\na dog"), ("help", "")]
    assert await parsed("/batch --steps 4", "a cat", "/help") == [("batch", "--steps 4\na cat"), ("help", "")]
    assert await parsed("/batch a cat", "a dog") == [("batch", "a cat\na dog")]
    assert await parsed("/batch", "/batch a cat") == [("batch", ""), ("batch", "a cat")]


async def read(*chunks: bytes) -> list[str]:
    source, sink = os.pipe()
    for chunk in chunks:
        os.write(sink, chunk)
    os.close(sink)
    try:
        return [line async for line in lines(source)]
    finally:
        os.close(source)


async def test_lines_are_put_together_from_whatever_arrives() -> None:
    assert await read(b"/imagine a c", b"at\r\n/he", b"lp") == ["/imagine a cat", "/help"]
    assert await read("é\n".encode()[:1], "é\n".encode()[1:], b"\xff\n") == ["é", "\ufffd"]
    assert await read() == []


async def test_a_closed_descriptor_is_the_end_of_the_input() -> None:
    source, sink = os.pipe()
    os.close(source)
    os.close(sink)
    assert [line async for line in lines(source)] == []


@given(st.text())
def test_nothing_commands_the_terminal(text: str) -> None:
    out = io.StringIO()
    Screen(out).line(text, "k3")
    shown = out.getvalue().replace("\n", "")
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2066\u200f" for c in shown)


def test_every_line_is_headed_by_its_job(out: io.StringIO) -> None:
    Screen(out).line("one [bold]two[/bold] :smile:\nthree", "k3")
    assert out.getvalue() == "[k3] one [bold]two[/bold] :smile:\n[k3] three\n"


def test_asides_are_for_people_at_a_terminal(out: io.StringIO) -> None:
    Screen(out).aside("hello")
    assert out.getvalue() == ""


async def test_updates_are_lines(surface: ConsoleSurface, out: io.StringIO) -> None:
    await surface.show(Reply(text="hello"))
    await surface.show(Failure(job="k3", index=None, text="no"))
    await surface.show(Failure(job=None, index=None, text="no"))
    assert out.getvalue() == "hello\n[k3] no\nno\n"


async def test_pictures_are_saved_and_announced(surface: ConsoleSurface, out: io.StringIO, tmp_path: Path) -> None:
    folder, sent = tmp_path / "new" / "folder", delivery("a cat", "a dog")
    assert await surface.find(sent) is None
    message = await surface.send(sent)
    assert sorted(path.name for path in folder.iterdir()) == ["k3-1.png", "k3-2.png"]
    assert (folder / "k3-2.png").read_bytes() == sent.pictures[1].image.data
    assert out.getvalue().splitlines()[:3] == [f"[k3] Saved {folder / 'k3-1.png'}", "[k3] seed 0", "[k3] A note."]
    assert await surface.find(sent) == message


async def test_a_delivery_is_found_only_if_every_file_is_whole(surface: ConsoleSurface, tmp_path: Path) -> None:
    sent = delivery("a cat", "a dog")
    await surface.send(sent)
    (tmp_path / "new" / "folder" / "k3-2.png").write_bytes(b"torn")
    assert await surface.find(sent) is None
    await surface.send(sent)
    assert await surface.find(sent) is not None


async def test_a_folder_that_cannot_be_written_is_a_refused_delivery(out: io.StringIO, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DeliveryError, match="can't be written to"):
        await ConsoleSurface(Screen(out), tmp_path / "file", 0.0).send(delivery("a cat"))


async def test_file_names_cannot_leave_the_folder(surface: ConsoleSurface, tmp_path: Path) -> None:
    sent = delivery("a cat")
    bad = sent.pictures[0].model_copy(update={"file_name": "../../evil.png"})
    await surface.send(sent.model_copy(update={"pictures": (bad,)}))
    assert (tmp_path / "new" / "folder" / "evil.png").exists()


async def transcript(tmp_path: Path, text: str) -> str:
    """What the console answers to an input that ends."""
    source, sink = os.pipe()
    os.write(sink, text.encode())
    os.close(sink)
    out = io.StringIO()
    async with running(Settings(home=tmp_path / "home"), ScriptedEngine()) as app:
        await Console(source=source, out=out, folder=tmp_path / "pictures").run(app.dispatcher)
    os.close(source)
    return out.getvalue()


async def test_at_the_end_of_the_input_it_waits_for_the_pictures(tmp_path: Path) -> None:
    text = await transcript(tmp_path, "/imagine a cat\n/batch --steps 3\na dog\na cow")
    assert text.count("Saved") == 3
    assert len(list((tmp_path / "pictures").iterdir())) == 3


async def test_quitting_ends_the_input(tmp_path: Path) -> None:
    text = await transcript(tmp_path, "/imagine a cat\n/quit\n/help\n")
    assert text.count("Saved") == 1
    assert "Commands" not in text


async def test_answers_come_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = await transcript(tmp_path, "/moderation ban discord:1 rude\n/moderation bans\nhello\n/quota\n")
    assert [text.index(part) for part in ("no longer", "rude", "slash", "today")] == sorted(
        text.index(part) for part in ("no longer", "rude", "slash", "today")
    )


def start(home: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.bot.adapters.console_bot", str(home), *options]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def say(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    return process.stdout.readline()


@pytest.mark.parametrize("blocked", [False, True])
def test_sigterm_ends_a_process_that_waits_for_input(tmp_path: Path, blocked: bool) -> None:
    with start(tmp_path, *["blocked"] * blocked) as process:
        if blocked:
            assert "Accepted" in say(process, "/imagine a cat")
        else:
            assert "today" in say(process, "/quota")
        began = time.monotonic()
        process.terminate()
        process.wait(PATIENCE)
        assert time.monotonic() - began < PATIENCE


def test_a_killed_process_is_taken_up_by_the_next_one(tmp_path: Path) -> None:
    with start(tmp_path, "blocked") as process:
        assert "Accepted" in say(process, "/imagine a cat --seed 7")
        process.kill()
    with start(tmp_path) as process:
        output, _ = process.communicate(timeout=PATIENCE)
    (saved,) = (tmp_path / "pictures").iterdir()
    assert b'"seed":7' in saved.read_bytes()
    assert output.count(f"Saved {saved}") == 1


async def test_removed_pictures_are_taken_from_their_folder_and_nothing_else(
    surface: ConsoleSurface, out: io.StringIO, tmp_path: Path
) -> None:
    message = await surface.send(delivery("a cat", "a dog"))
    other = tmp_path / "new" / "folder" / "k3.txt"
    other.write_text("mine")
    place = Place(platform="console", workspace="local", channel="terminal")
    sent = Sent(part=1, message=message, place=place, reply_to="", private=False, left=(1,))
    await surface.show(Removed(job="k3", index=0, text="Gone.", messages=(sent,)))
    assert sorted(path.name for path in other.parent.iterdir()) == ["k3-2.png", "k3.txt"]
    elsewhere = sent.model_copy(update={"left": (), "place": place.model_copy(update={"platform": "discord"})})
    await surface.show(Removed(job="k3", index=None, text="Gone.", messages=(elsewhere,)))
    assert (other.parent / "k3-2.png").exists()
    await surface.show(Removed(job="k3", index=None, text="Gone.", messages=(sent.model_copy(update={"left": ()}),)))
    assert [path.name for path in other.parent.iterdir()] == ["k3.txt"]
    assert out.getvalue().count("[k3] Gone.") == 3


async def test_buttons_of_others_stand_there_as_commands(surface: ConsoleSurface, out: io.StringIO) -> None:
    buttons = (Button(label="Allow", command="moderation", text="allow a1"),)
    await surface.show(Notice(text="Somebody asks.", job="k3", buttons=buttons))
    await surface.show(Notice(text="By the way."))
    refusal = Refusal(job="k3", index=1, layer=Layer.KEYWORDS, appealable=True, text="Refused.")
    await surface.show(refusal)
    await surface.show(refusal.model_copy(update={"layer": Layer.IMAGE, "appealable": False}))
    assert out.getvalue().splitlines() == [
        "[k3] Somebody asks.",
        "[k3] Allow: /moderation allow a1",
        "By the way.",
        "[k3] Refused.",
        "[k3] To ask a moderator: /appeal k3 2",
        "[k3] Refused.",
    ]


async def test_a_spoiler_is_said(surface: ConsoleSurface, out: io.StringIO) -> None:
    covered = delivery("a cat")
    pictures = tuple(picture.model_copy(update={"spoiler": True}) for picture in covered.pictures)
    await surface.send(covered.model_copy(update={"pictures": pictures}))
    assert "k3-1.png (spoiler)" in out.getvalue()


async def test_a_file_goes_with_the_next_command(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat\na dog\n")
    out, engine = io.StringIO(), ScriptedEngine()
    source, sink = os.pipe()
    text = f"/attach {prompts}\n/batch\n\n/attach {tmp_path}/none.txt\n/verify\n/attach {tmp_path}\n"
    os.write(sink, text.encode())
    os.close(sink)
    async with running(Settings(home=tmp_path / "home"), engine) as app:
        await Console(source=source, out=out, folder=tmp_path / "out").run(app.dispatcher)
    os.close(source)
    assert [request.prompt for request in engine.orders[0].requests] == ["a cat", "a dog"]
    assert '"prompts.txt" goes with the next command.' in out.getvalue()
    assert 'The file "none.txt" can\'t be read: no such file or directory.' in out.getvalue()
    assert "Attach the one picture" in out.getvalue()
    assert "is a directory" in out.getvalue()


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(MAX_ATTACHMENT + 1)
    with pytest.raises(BadInputError, match="too large; at most 10 MiB"):
        attachment(large)
    with pytest.raises(BadInputError, match="can't be read"):
        attachment(Path("\0"))
