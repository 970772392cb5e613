from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import messages
from bot.chat import Role
from bot.community import Community
from bot.grammar import OPTIONS
from bot.handlers.table import COMMANDS
from bot.store.rows import JobState
from engine.types import (
    Cached,
    Cost,
    Image,
    ImageRequest,
    Layer,
    Note,
    NoteCode,
    Progress,
    ResolvedRequest,
    Sampler,
    Stage,
)

SOURCES = Path(messages.__file__).parent
COMPUTED = (
    "action",
    "argument",
    "caption",
    "column",
    "command",
    "credentials",
    "doctor",
    "duration",
    "note",
    "option",
    "refusal",
    "setting_help",
    "slack_button",
    "slack_error",
    "state",
    "tier",
    "working",
)
"""Sections whose keys are put together from values; the tests below go through those values."""
LITERAL = re.compile(
    r"EASEL_\w*[A-Z]|--[a-z-]+[a-z]|`[^`]+`|pip install '[^']+'|easel (?:fetch|chat)|easel\.\w+"
    r"|[a-z.]+\.com/\w+|/imagine|/invite @easel|/slack/install|xoxb-|xapp-|#rrggbb|30m|12h|7d",
    re.ASCII,
)
"""What people copy as it is: variables, flags, commands, files and addresses."""
LIMITS = {
    r"(command|action|argument|option)\..*": 100,
    r"discord_name\..*": 32,
    r"discord\.menu_.*": 32,
    r"discord\.(form|field)_.*": 45,
    r"discord\.(reroll|subtle|strong|upscale|remix|show|send|delete|parameters|wipe|appeal|confirm)": 80,
    r"discord\.pick": 150,
    r"slack_form\.(.*_title|submit|save|close)": 24,
    r"slack_form\.batch_placeholder": 150,
    r"slack_(button\..*|confirm\..*_title)": 75,
    r"slack_confirm\..*_(confirm|deny)": 30,
    r"slack\.shortcut_[a-z]+": 24,
    r"slack\.shortcut_.*_description": 150,
}
"""Characters that Discord and Slack show of a text; what is longer is cut, or refused."""


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call of `say` in the bot."""
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "say":
                yield str(path.relative_to(SOURCES)), node


def holes(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def forms(template: str) -> set[str]:
    """The choices by number, as they are written."""
    return {spec for _, _, spec, _ in string.Formatter().parse(template) if spec}


def literals() -> set[str]:
    """Every piece of text in the bot's sources that looks like a key."""
    found = set()
    for path in SOURCES.rglob("*.py"):
        found |= set(re.findall(r"""["']([a-z_]+\.[a-z_-]+)["']""", path.read_text("utf-8")))
    return found


def put_together(key: str) -> bool:
    """Whether an adapter makes a key of its own section from a name, or from a beginning like `label_{name}`."""
    section, _, name = key.partition(".")
    folder = SOURCES / "adapters" / section.partition("_")[0]
    text = "".join(path.read_text("utf-8") for path in sorted(folder.rglob("*.py")))
    words = name.split("_")
    beginnings = ("_".join(words[:count]) + "_{" for count in range(1, len(words)))
    return f'"{name}"' in text or section.partition("_")[2] != "" or any(part in text for part in beginnings)


def test_every_sentence_that_is_said_exists_and_has_its_holes_filled() -> None:
    known = messages.catalogue("en")
    for where, call in calls():
        if not isinstance(call.args[0], ast.Constant):
            continue
        key = str(call.args[0].value)
        assert key in known, f"{where} says {key}, which no language has"
        given_names = {keyword.arg for keyword in call.keywords}
        if None not in given_names:
            assert holes(known[key]) <= given_names, f"{where} leaves holes open in {key}"


def test_no_sentence_is_left_over() -> None:
    computed = tuple(f"{section}." for section in COMPUTED)
    kinds = {option.kind for option in OPTIONS.values()} | {"multiple", "text_kind"}
    known = literals() | {f"input.{kind}" for kind in kinds} | {f"role.{role}" for role in Role}
    known |= {f"choice.{value}" for option in OPTIONS.values() for value in option.choices}
    known |= {f"appeal.{verdict}" for verdict in ("allowed", "denied", "done_allowed", "done_denied")}
    known |= {f"limit.{kind}{end}" for kind in ("daily", "daily_here", "community") for end in ("", "_batch")}
    left = {key for key in messages.catalogue("en") if not key.startswith(computed)} - known
    assert {key for key in left if not put_together(key)} == set()


@pytest.mark.parametrize("locale", messages.offered())
def test_every_language_has_every_sentence_with_the_same_holes(locale: str) -> None:
    english, other = messages.catalogue("en"), messages.catalogue(locale)
    declared = set() if locale == "en" else {f"option.{name}" for name in OPTIONS}
    assert english.keys() | declared == other.keys()
    for key in english:
        assert holes(other[key]) == holes(english[key]), key
        assert all(spec.count("|") == 1 for spec in forms(other[key])), key
        assert other[key].strip(), key


@pytest.mark.parametrize("locale", messages.offered())
def test_every_language_leaves_what_people_copy_as_it_is(locale: str) -> None:
    english, other = messages.catalogue("en"), messages.catalogue(locale)
    for key in english:
        assert sorted(LITERAL.findall(other[key])) == sorted(LITERAL.findall(english[key])), key


@pytest.mark.parametrize("locale", messages.offered())
def test_every_language_keeps_within_what_the_platforms_show(locale: str) -> None:
    lines = messages.catalogue(locale)
    for pattern, limit in LIMITS.items():
        found = {key: line for key, line in lines.items() if re.fullmatch(pattern, key)}
        assert found, f"{pattern} limits nothing"
        assert {key for key, line in found.items() if len(line) > limit} == set()


@pytest.mark.parametrize("locale", messages.offered())
def test_every_language_says_what_each_option_does(locale: str) -> None:
    told = {name: messages.option_help(name, locale) for name in (*OPTIONS, "size", "no_watermark")}
    assert all(told.values())
    assert locale == "en" or not {name for name, text in told.items() if text == messages.option_help(name)}


@pytest.mark.parametrize("locale", messages.offered())
def test_everything_that_is_put_together_exists(locale: str) -> None:
    known = messages.catalogue(locale)
    keys = {f"note.{code}" for code in NoteCode} | {f"refusal.{layer}" for layer in Layer}
    keys |= {f"working.{stage}" for stage in Stage} | {f"state.{state}" for state in JobState}
    keys |= {f"command.{name}" for name in COMMANDS} | {"role.moderator", "role.operator"}
    keys |= {f"setting_help.{name}" for name in Community.model_fields}
    keys |= {f"appeal.{verdict}" for verdict in ("allowed", "denied", "done_allowed", "done_denied")}
    assert keys <= known.keys()


def test_a_locale_falls_back_to_its_language_and_then_to_english() -> None:
    assert messages.language("en") == "en"
    assert messages.language("en-GB") == "en"
    assert messages.language("EN_us") == "en"
    assert messages.language("tlh-Latn") == "en"
    assert messages.say("failure.incident", "tlh", incident="abc").endswith("abc.")


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        *(("de", "de"), ("de-DE", "de"), ("de_AT", "de"), ("fr", "fr"), ("fr-FR", "fr"), ("FR-ca", "fr")),
        *(("es-ES", "es"), ("es-419", "es"), ("es-LA", "es"), ("ja", "ja"), ("ja-JP", "ja")),
        *(("pt-BR", "pt-BR"), ("pt_br", "pt-BR"), ("pt", "pt-BR"), ("pt-PT", "pt-BR")),
        *(("", "en"), ("d", "en"), ("fro", "en"), ("es419", "en")),
    ],
)
def test_what_discord_slack_and_browsers_call_a_language_is_understood(asked: str, served: str) -> None:
    assert messages.language(asked) == served


@pytest.mark.parametrize(
    ("locale", "said"),
    [
        *(("en", ["0 pictures", "1 picture", "2 pictures"]), ("de", ["0 Bilder", "1 Bild", "2 Bilder"])),
        *(("fr-CA", ["0 image", "1 image", "2 images"]), ("es", ["0 imágenes", "1 imagen", "2 imágenes"])),
        ("pt", ["0 imagem", "1 imagem", "2 imagens"]),
    ],
)
def test_every_language_counts_by_its_own_rule(locale: str, said: list[str]) -> None:
    told = [messages.say("quota.unlimited", locale, used=used) for used in range(3)]
    assert all(re.search(rf"\b{count}\b", text) for count, text in zip(said, told, strict=True))


def test_an_open_hole_is_a_fault() -> None:
    with pytest.raises(KeyError):
        messages.say("failure.incident")


def test_values_are_never_templates() -> None:
    assert "{incident} {0} %s" in messages.say("failure.incident", incident="{incident} {0} %s")


def test_numbers_choose_their_form() -> None:
    assert messages.duration(1) == "1 second"
    assert messages.duration(0) == "1 second"
    assert messages.duration(2.1) == "3 seconds"
    assert messages.duration(119.5) == "120 seconds"
    assert messages.duration(121) == "3 minutes"
    assert messages.duration(7_200) == "2 hours"
    assert messages.duration(200_000) == "3 days"
    assert messages.queued("k3", 1, 0) == "Accepted a picture as job k3; it is next."
    assert messages.queued("k3", 2, 1).endswith("2 pictures as job k3; 1 picture is ahead of it.")
    assert messages.queued("k3", 2, 3, 12.0).endswith("3 pictures are ahead of it. About 12 seconds to go.")


def test_progress_has_a_bar_of_text() -> None:
    progress = Progress(index=1, stage=Stage.DRAWING, step=5, steps=20)
    assert messages.working(progress) == "Drawing ███░░░░░░░░░ step 5 of 20."
    assert messages.working(progress, 3, 4.0) == (
        "Picture 2 of 3: Drawing ███░░░░░░░░░ step 5 of 20. About 4 seconds to go."
    )
    assert messages.working(Progress(index=0, stage=Stage.WARMING), 1, 4.0) == "Loading the model."
    assert messages.working(Progress(index=0, stage=Stage.DRAWING)) == "Drawing begins."
    assert messages.text_bar(0, 0) == "░" * 12
    assert messages.text_bar(9, 3) == "█" * 12


@pytest.mark.parametrize("layer", Layer)
def test_refusals_say_which_layer_why_and_what_to_do(layer: Layer) -> None:
    sentence = messages.refusal(layer, ("gore", "threat"))
    assert "(gore, threat)" in sentence
    assert ("ask a moderator" in sentence) is layer.waivable
    assert messages.refusal(layer, (), 1, 3).startswith("Picture 2 of 3: ")


@pytest.mark.parametrize("code", NoteCode)
def test_notes_are_sentences(code: NoteCode) -> None:
    sentence = messages.note(Note(code=code, detail="d\x1b"))
    assert sentence.endswith(".")
    assert sentence.isprintable()


def test_bans_say_why_and_how_long() -> None:
    assert messages.banned("rude", None).endswith("here: rude.")
    assert messages.banned("", 3600 * 5).endswith("another 5 hours: no reason given.")


def drawn(cached: Cached = Cached.NONE, style: str | None = None) -> Image:
    request = ResolvedRequest(prompt="a cat", steps=1, guidance=3.0, width=64, height=128, seed=7,
                              sampler=Sampler.EULER, model="emoji", style=style)  # fmt: skip
    return Image(index=0, data=b"", request=request, key="k", generation_key="g", cached=cached,
                 seconds={"draw": 1.04, "mark": 0.2})  # fmt: skip


def test_the_caption_holds_what_it_takes_to_repeat_it() -> None:
    assert messages.caption(drawn()) == "seed 7 · 64x128 · 1 step · emoji · 1.2 s"
    rented = drawn().model_copy(update={"cost": Cost(gpu="A10", gpu_seconds=1.1, dollars=0.00034)})
    assert messages.caption(rented).endswith(" · 1.2 s · about $0.0003")
    assert messages.caption(drawn(Cached.FINISHED, "ink")) == "seed 7 · 64x128 · 1 step · emoji · ink · from cache"


def test_alternative_text_fits_every_platform() -> None:
    assert messages.alt_text(ImageRequest(prompt="a cat\non a mat")) == "Generated picture: a cat on a mat"
    assert len(messages.alt_text(ImageRequest(prompt="x" * 2000))) == messages.MAX_ALT


@given(st.text(max_size=60), st.integers(1, 30))
def test_shortened_text_is_one_printable_line(text: str, limit: int) -> None:
    short = messages.shorten(text, limit)
    assert len(short) <= limit
    assert messages.printable(short) == short
    assert "\n" not in short


def test_what_people_gave_is_quoted_but_numbers_are_not() -> None:
    assert messages.quote("red") == '"red"'
    assert messages.quote(-2.5) == "-2.5"
    assert messages.quote("\x1b[31m\x9b\ue000\U000e0041") == '"\\x1b[31m\\x9b\\ue000\\U000e0041"'
    assert messages.quote("👩\N{ZERO WIDTH JOINER}🚀") == '"👩\N{ZERO WIDTH JOINER}🚀"'


def test_tables_line_up_and_hold_one_line_a_row() -> None:
    text = messages.table(("job", "prompt"), [("k3", "a\ncat"), ("longer", "x" * 99)])
    assert text.split("\n") == ["job     prompt", "k3      a cat", f"longer  {'x' * 47}…"]


def test_bytes_have_a_unit_that_suits_them() -> None:
    assert [messages.bytes_text(n) for n in (0, 1023, 2048, 5 * 2**20, 3 * 2**40)] == [
        *("0 B", "1023 B", "2 KiB", "5 MiB", "3072.0 GiB")
    ]
