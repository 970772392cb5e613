from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.adapters.web import charts, html
from bot.adapters.web.desk import Desk
from bot.chat import Button, Delivery, Failure, Notice, Picture, Queued, Refusal, Reply, Stopped, Working
from engine.types import Cached, Cost, Image, Layer, Progress, ResolvedRequest, Sampler, Stage
from tests.fakes.web_person import SHOWN_TAGS

REQUEST = ResolvedRequest(
    prompt="a red apple", steps=4, guidance=3.0, width=64, height=96, seed=7, sampler=Sampler.EULER, model="emoji"
)


def picture(prompt: str = "a red apple", *, spoiler: bool = False, cached: Cached = Cached.NONE) -> Picture:
    image = Image(
        index=0,
        data=b"\x89PNG",
        request=REQUEST.model_copy(update={"prompt": prompt}),
        key="a" * 64,
        generation_key="b" * 64,
        cached=cached,
        seconds={"draw": 1.25},
        cost=Cost(gpu="A10", gpu_seconds=1.0, dollars=0.0003),
    )
    return Picture(
        image=image, file_name="j-1.png", alt_text=prompt, caption="", notes=("Drawn small.",), spoiler=spoiler
    )


def delivery(*pictures: Picture) -> Delivery:
    return Delivery(job="j0", part=1, parts=1, nonce="n", attempt=1, pictures=pictures)


CHART_TAGS = frozenset(["table", "caption", "thead", "tbody", "tr", "th", "td", "svg", "rect", "line", "text", "title"])


class Strict(HTMLParser):
    """Fails on tags that are not ours and on those that don't close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.handlers: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SHOWN_TAGS | CHART_TAGS
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in ("img", "input", "rect", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("line", "rect")

    def handle_endtag(self, tag: str) -> None:
        if tag == "rect":
            return
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(markup: str) -> Strict:
    reader = Strict()
    reader.feed(markup)
    reader.close()
    assert reader.open == []
    assert reader.handlers == []
    return reader


@settings(deadline=None)
@given(st.text(min_size=1, max_size=60))
def test_whatever_people_write_stays_text(text: str) -> None:
    desk = Desk()
    desk.deliver(delivery(picture(text)))
    desk.put(Refusal(job="j1", index=None, layer=Layer.KEYWORDS, categories=(text,), appealable=True, text=text))
    desk.put(Reply(text=text, confirm=text))
    desk.put(Notice(text=text, buttons=(Button(label=text, command=text, text=text),)))
    desk.put(Queued(job="j2", pictures=2, position=1, eta_seconds=2.0, text=text))
    for markup in (html.pictures(desk, (), "en"), html.notices(desk, "en"), html.progress(desk, "en")):
        read(markup)
    read(charts.bars(text, {text: 1.0}))
    read(charts.columns(text, [(text, (1, 2))], (text, text)))
    read(html.table(text, [text], [[html.esc(text)]]))


@pytest.mark.parametrize("attack", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onclick='x"])
def test_markup_in_a_prompt_does_nothing(attack: str) -> None:
    desk = Desk()
    desk.deliver(delivery(picture(attack)))
    assert attack in read(html.pictures(desk, (), "en")).text


def test_a_picture_has_everything_that_is_to_be_known() -> None:
    text = read(html.figure("j0", picture(), "en")).text
    for told in (
        "a red apple",
        "64\N{MULTIPLICATION SIGN}96",
        "4 steps",
        "emoji",
        "1.2 s",
        "$0.0003",
        "seed 7",
        "Drawn small.",
        "euler",
    ):
        assert told in text
    markup = html.figure("j0", picture(), "en")
    assert 'alt="a red apple"' in markup
    assert 'href="/pictures/j0/1/file?save" download' in markup
    assert "ez-spoiler" not in markup
    assert "from cache" in html.figure("j0", picture(cached=Cached.UNMARKED), "en")


def test_a_covered_picture_is_covered() -> None:
    markup = html.figure("j0", picture(spoiler=True), "en")
    assert "ez-spoiler" in markup
    assert 'data-do="uncover"' in markup


def test_progress_is_a_bar_with_a_preview() -> None:
    desk = Desk()
    progress = Progress(index=1, stage=Stage.DRAWING, step=3, steps=20)
    desk.put(Working(job="j0", pictures=2, progress=progress, eta_seconds=12.0, text="", preview=b"\x89PNGx"))
    markup = html.progress(desk, "en")
    assert 'value="3" max="20"' in markup
    assert "data:image/png;base64," in markup
    told = read(markup).text
    for part in ("Picture 2", "Step 3 of 20", "about 12 seconds to go", "Cancel"):
        assert part in told


@pytest.mark.parametrize("layer", [*Layer, None])
def test_a_refusal_names_its_layer(layer: Layer | None) -> None:
    end = Refusal(job="j0", index=2, layer=layer, categories=("gluttony",), appealable=layer is not None, text="No.")
    markup = html.refused(end, "en")
    assert "No." in markup
    assert ('data-do="appeal" data-job="j0" data-number="3"' in markup) is (layer is not None)
    read(markup)


def test_a_stopped_job_and_a_failure_are_told() -> None:
    desk = Desk()
    desk.put(Stopped(job="j0", text="Job j0 was cancelled."))
    desk.put(Failure(job="j1", index=0, text="The weights are gone."))
    told = read(html.pictures(desk, (), "en")).text
    assert "Job j0 was cancelled." in told
    assert "The weights are gone." in told
    assert html.progress(desk, "en") != html.pictures(desk, (), "en")


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=10), st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))), max_size=40))
def test_columns_stay_within_their_chart(days: list[tuple[str, tuple[int, int]]]) -> None:
    markup = charts.columns("Pictures", days, ("drawn", "cached"))
    read(markup)
    assert 'y="-' not in markup
