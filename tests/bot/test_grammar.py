from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bot.errors import BadInputError
from bot.grammar import MAX_TEXT, OPTIONS, SIZE_FLAG, batch_from_options, from_options, parse, parse_batch, render
from bot.grammar.text import KNOWN
from bot.messages import printable
from engine.types import Flags, ImageRequest, Position, Quality, Sampler

EM, EN, MINUS = "\N{EM DASH}", "\N{EN DASH}", "\N{MINUS SIGN}"


def sentence_of(text: str) -> str:
    with pytest.raises(BadInputError) as caught:
        parse(text)
    return caught.value.sentence


def complaint(read: Callable[[], object]) -> str:
    """The sentence of a mistake, or nothing."""
    try:
        read()
    except BadInputError as error:
        return error.sentence
    return ""


def is_printable(sentence: str) -> bool:
    return printable(sentence) == sentence


def test_every_field_is_an_option_with_its_flags() -> None:
    written = {"prompt": ()} | {
        name: mark.names
        for name, field in ImageRequest.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Flags)
    }
    assert {name: option.flags for name, option in OPTIONS.items()} == written
    assert list(OPTIONS) == [name for name in ImageRequest.model_fields if name in written]
    flags = [flag for option in OPTIONS.values() for flag in option.flags]
    assert len(set(flags)) == len(flags)
    assert set(flags) < set(KNOWN)


def test_bounds_are_the_declared_ones() -> None:
    assert (OPTIONS["steps"].low, OPTIONS["steps"].high) == (1, 100)
    assert (OPTIONS["width"].low, OPTIONS["width"].high, OPTIONS["width"].step) == (64, 2048, 8)
    assert OPTIONS["seed"].high == 2**64 - 1
    assert OPTIONS["watermark_text"].limit == 100
    assert OPTIONS["style"].limit == 50
    assert OPTIONS["sampler"].choices == tuple(Sampler)
    assert OPTIONS["watermark_position"].choices == tuple(Position)
    switches = {"strict", "watermark", "force", "spoiler", "private"}
    assert {name for name, option in OPTIONS.items() if option.kind == "boolean"} == switches


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red apple", {}),
        ("  a red apple  ", {}),
        ("a red apple --seed 7", {"seed": 7}),
        ("--seed 7 a red apple", {"seed": 7}),
        ("a red --seed 7 apple", {"seed": 7}),
        ("a red apple --seed=7", {"seed": 7}),
        ("a red apple --SEED 7", {"seed": 7}),
        ("a red apple --size 512x768", {"width": 512, "height": 768}),
        ("a red apple --size 512X768", {"width": 512, "height": 768}),
        ("a red apple --size 512\N{MULTIPLICATION SIGN}768", {"width": 512, "height": 768}),
        ("a red apple --size 512", {"width": 512, "height": 512}),
        ("a red apple --negative blurry", {"negative_prompt": "blurry"}),
        ("a red apple --no hands, feet --seed 1", {"negative_prompt": "hands, feet", "seed": 1}),
        ('a red apple --negative "--seed 3" --seed 1', {"negative_prompt": "--seed 3", "seed": 1}),
        ('--negative "blurry, dark" a red apple', {"negative_prompt": "blurry, dark"}),
        ("--negative 'blurry, dark' a red apple", {"negative_prompt": "blurry, dark"}),
        ('--negative="blurry, dark" a red apple', {"negative_prompt": "blurry, dark"}),
        (f"{EN}{EN}watermark{EN}text=“blurry, dark” a red apple", {"watermark_text": "blurry, dark"}),
        ("--negative “blurry, dark” a red apple", {"negative_prompt": "blurry, dark"}),
        ("--negative „blurry, dark“ a red apple", {"negative_prompt": "blurry, dark"}),
        ("--negative \u2018blurry, dark\u2019 a red apple", {"negative_prompt": "blurry, dark"}),
        (r'--negative "a \"b\" \\ c\d" a red apple', {"negative_prompt": r'a "b" \ c\d'}),
        ("a red apple --strict --force", {"strict": True, "force": True}),
        ("a red apple --no-watermark", {"watermark": False}),
        ("a red apple --watermark", {"watermark": True}),
        (f"a red apple {EM}seed 7", {"seed": 7}),
        (f"a red apple {EN}{EN}seed 7 {MINUS}{MINUS}strict", {"seed": 7, "strict": True}),
        (f"a red apple {EM}watermark{EN}color #FFAA00", {"watermark_color": "#ffaa00"}),
        ("a red apple --watermark_color ffaa00", {"watermark_color": "#ffaa00"}),
        ("a red apple --sampler EULER_A --quality Fast", {"sampler": Sampler.EULER_ANCESTRAL, "quality": Quality.FAST}),
        ("a red apple --guidance 7.5 --watermark-opacity 0", {"guidance": 7.5, "watermark_opacity": 0.0}),
        ('"a red apple" --seed 7', {"seed": 7}),
        ("“a red apple” --seed 7", {"seed": 7}),
        ("a red apple\r\n--seed 7", {"seed": 7}),
    ],
)
def test_reads_prompt_and_options(text: str, expected: dict[str, Any]) -> None:
    assert parse(text) == ImageRequest(prompt="a red apple", **expected)


@pytest.mark.parametrize(
    "prompt",
    [
        'a sign that says "hello"',
        "don't, it's the dogs' 'own'",
        'a 5" nail',
        f"a cat {EM} sitting {EM}quietly",
        "a -1 degree -x -- y --- z",
        "(a:1.2) [b] {c} <d> & | ; $e `f` %s {prompt}",
        "line one\n  line two",
        "👩\N{ZERO WIDTH JOINER}🚀 一个苹果 é",
        'unclosed "quote',
    ],
)
def test_leaves_prompts_alone(prompt: str) -> None:
    assert parse(prompt).prompt == prompt


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "Say what the picture should show, for example: a red apple"),
        (" \n\t", "Say what the picture should show, for example: a red apple"),
        ("\u200b\u2060", "Say what the picture should show, for example: a red apple"),
        ('""', "Say what the picture should show, for example: a red apple"),
        ("--seed 7", "Say what the picture should show, for example: a red apple"),
        ("x" * 5000, "The prompt may have at most 2000 characters; this one has 5000."),
        ("x" * (MAX_TEXT + 1), f"This message is too long; at most {MAX_TEXT} characters are read."),
        ("a\x1b[31m", "The prompt must not hold control characters."),
        ("a\x9b31m", "The prompt must not hold control characters."),
        ("a\ud800", "The prompt must not hold control characters."),
        ("a --model e\x07", "--model must not hold control characters."),
        ("a --steps 0", "--steps takes a whole number from 1 to 100, not 0."),
        ("a --steps 1000", "--steps takes a whole number from 1 to 100, not 1000."),
        ("a --steps many", '--steps takes a whole number from 1 to 100, not "many".'),
        ("a --steps -5", "--steps takes a whole number from 1 to 100, not -5."),
        ("a --guidance nan", '--guidance takes a number from 0 to 30, not "nan".'),
        ("a --guidance inf", '--guidance takes a number from 0 to 30, not "inf".'),
        ("a --seed 18446744073709551616", f"--seed takes a whole number from 0 to {2**64 - 1}, not {2**64}."),
        ("a --width 100", "--width takes a multiple of 8 from 64 to 2048, not 100."),
        ("a --size 100x100", '--size takes WIDTHxHEIGHT, each a multiple of 8 from 64 to 2048, not "100x100".'),
        ("a --size 8x", '--size takes WIDTHxHEIGHT, each a multiple of 8 from 64 to 2048, not "8x".'),
        ("a --size 512x4096", '--size takes WIDTHxHEIGHT, each a multiple of 8 from 64 to 2048, not "512x4096".'),
        ("a --size 64x64 --width 64", "Give either --size, or --width and --height."),
        ("a --height 64 --size 64x64", "Give either --size, or --width and --height."),
        ("a --size 64x64 --size 64x64", "--size is given more than once."),
        ("a --seed 1 --seed 1", "--seed is given more than once."),
        ("a --negative b --no c", "--no is given more than once."),
        ("a --watermark --no-watermark", "--no-watermark is given more than once."),
        ("a --seed", "--seed needs a value."),
        ("a --seed --steps 4", "--seed needs a value."),
        ("a --seed=", "--seed needs a value."),
        ("a --model ''", "--model needs a value."),
        ("a --strict=yes", '--strict stands alone and takes no value, not "yes".'),
        ("a --stpes 4", 'There is no option "--stpes"; did you mean --steps?'),
        ("a --zzz 4", 'There is no option "--zzz".'),
        (f"a {EM}step 4", 'There is no option "--step"; did you mean --steps?'),
        ("a --sampler dpm", f'--sampler is one of {", ".join(Sampler)}, not "dpm".'),
        ("a --quality best", '--quality is one of exact, balanced, fast, not "best".'),
        ("a --watermark-opacity 2", "--watermark-opacity takes a number from 0 to 1, not 2."),
        ("a --watermark-color red", '--watermark-color takes a colour like #rrggbb, not "red".'),
        ("a --watermark-text \u200b", "--watermark-text needs at least one visible character."),
        (f"a --watermark-text {'w' * 101}", "--watermark-text may have at most 100 characters; this one has 101."),
        (f"a --style {'s' * 51}", "--style may have at most 50 characters; this one has 51."),
    ],
)  # fmt: skip
def test_each_mistake_is_one_sentence(text: str, expected: str) -> None:
    assert sentence_of(text) == expected


def test_what_was_given_is_cut_and_made_printable() -> None:
    sentence = sentence_of("a --steps " + "9" * 10_000)
    assert len(sentence) < 120
    assert "…" in sentence
    assert sentence_of("a --x\N{RIGHT-TO-LEFT OVERRIDE}").isascii()
    assert "\\u202e" in sentence_of("a --steps \N{RIGHT-TO-LEFT OVERRIDE}")


@given(st.text(max_size=300) | st.text(alphabet=f"ab \"'“”„\\-{EM}={EN}\n--x7\x1b", max_size=60))
def test_never_raises_anything_else(text: str) -> None:
    assert is_printable(complaint(lambda: parse(text)))
    assert is_printable(complaint(lambda: parse_batch(text, 10)))


@given(st.dictionaries(st.sampled_from([*OPTIONS, "size", "bogus"]),
                       st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)))  # fmt: skip
def test_typed_options_never_raise_anything_else(options: dict[str, Any]) -> None:
    assert is_printable(complaint(lambda: from_options(options)))


def texts(limit: int, least: int = 0) -> SearchStrategy[str]:
    """What validation leaves as it is: stripped, no control characters, something to see."""
    letters = st.characters(exclude_categories=["Cc", "Cs", "Cf", "Z", "Mn", "Me", "Co"])
    inner = st.text(letters | st.sampled_from(f" \"'\\-{EM}“”\u2019"), min_size=least, max_size=limit - 2)
    return inner.map(str.strip).map(lambda text: f"x{text}" if least or text else text)


requests = st.builds(
    ImageRequest,
    prompt=texts(80, 1),
    negative_prompt=texts(40),
    steps=st.none() | st.integers(1, 100),
    guidance=st.none() | st.floats(0, 30),
    width=st.none() | st.integers(8, 256).map(lambda n: 8 * n),
    height=st.none() | st.integers(8, 256).map(lambda n: 8 * n),
    seed=st.none() | st.integers(0, 2**64 - 1),
    sampler=st.none() | st.sampled_from(Sampler),
    model=st.none() | texts(30, 1),
    style=st.none() | texts(30, 1),
    quality=st.sampled_from(Quality),
    strict=st.booleans(),
    watermark=st.booleans(),
    watermark_text=st.none() | texts(30, 1),
    watermark_position=st.none() | st.sampled_from(Position),
    watermark_opacity=st.none() | st.floats(0, 1),
    watermark_size=st.none() | st.integers(6, 256),
    watermark_color=st.none() | st.integers(0, 0xFFFFFF).map(lambda n: f"#{n:06x}"),
    watermark_margin=st.none() | st.integers(0, 512),
    force=st.booleans(),
    strength=st.none() | st.floats(0.05, 1),
    spoiler=st.booleans(),
    private=st.booleans(),
)


@given(requests)
def test_what_is_written_is_read_back(request: ImageRequest) -> None:
    assert parse(render(request)) == request
    assert parse_batch(render(request), 1) == (request,)


@given(requests)
def test_typed_options_give_the_same_request(request: ImageRequest) -> None:
    assert from_options(request.model_dump(include=set(OPTIONS))) == request


def test_simple_requests_are_written_simply() -> None:
    request = ImageRequest(prompt="a red apple", seed=7, width=512, watermark=False, model="sd-turbo")
    assert render(request) == "a red apple --width 512 --seed 7 --model sd-turbo --no-watermark"


def test_a_batch_is_a_prompt_a_line() -> None:
    assert [r.prompt for r in parse_batch("a cat\r\n\n  a dog  \na cow", 3)] == ["a cat", "a dog", "a cow"]


def test_a_first_line_of_options_holds_for_all_and_each_line_may_differ() -> None:
    cat, dog = parse_batch("--steps 4 --seed 7\na cat\na dog --steps 9", 10)
    assert (cat.steps, cat.seed, dog.steps, dog.seed) == (4, 7, 9, 7)
    cat, dog = parse_batch("a cat --steps 4\na dog", 10)
    assert (cat.steps, dog.steps) == (4, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "A batch needs at least one prompt, one on each line."),
        ("\n \n", "A batch needs at least one prompt, one on each line."),
        ("--steps 4", "A batch needs at least one prompt, one on each line."),
        ("a\nb\nc\nd", "A batch may have at most 3 prompts; this one has 4."),
        ("a\nb --steps 0", "Line 2: --steps takes a whole number from 1 to 100, not 0."),
        ("--steps 0\nb", "--steps takes a whole number from 1 to 100, not 0."),
    ],
)
def test_batches_out_of_bounds(text: str, expected: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_batch(text, 3)
    assert expected in caught.value.sentence


def test_a_batch_from_typed_options_takes_its_lines_literally() -> None:
    requests = batch_from_options({"prompts": "a --cat\na dog\n", "steps": "4", "size": "64x128"}, 10)
    assert [(r.prompt, r.steps, r.width, r.height) for r in requests] == [
        ("a --cat", 4, 64, 128),
        ("a dog", 4, 64, 128),
    ]
    with pytest.raises(BadInputError, match="at least one prompt"):
        batch_from_options({"steps": 4}, 10)


def test_typed_options_are_judged_like_text() -> None:
    assert from_options({"prompt": "a --cat", "watermark": "off", "seed": "7", "steps": None}) == ImageRequest(
        prompt="a --cat", watermark=False, seed=7
    )
    cases: list[tuple[dict[str, Any], str]] = [
        ({"prompt": "a", "steps": True}, "--steps takes a whole number"),
        ({"prompt": "a", "strict": "maybe"}, "--strict is on or off"),
        ({"prompt": "a", "model": 5}, "--model takes text"),
        ({"prompt": 5}, "The prompt takes text"),
        ({"prompt": "a", "size": "64x64", "width": 64}, f"Give either {SIZE_FLAG}"),
        ({"prompt": "a", "colour": "red"}, 'There is no option "colour"'),
    ]
    for options, named in cases:
        with pytest.raises(BadInputError, match=named):
            from_options(options)


@pytest.mark.parametrize(
    "unit", ["“a ", f"{EM}s ", '"a ', '\\" ', "--", "' ", '--a=" ', "„a ", "--no a ", "\n", "a=", f"{EM}{EM}x="]
)
def test_time_grows_with_the_length_alone(unit: str) -> None:
    def seconds(length: int) -> float:
        text = (unit * length)[:length]
        spent = []
        for _ in range(3):
            began = time.process_time()
            complaint(lambda: parse(text))
            complaint(lambda: parse_batch(text, 10))
            spent.append(time.process_time() - began)
        return min(spent)

    assert seconds(24_000) < 80 * max(seconds(1_500), 0.001), "16 times the text may not take 80 times as long"
