"""Forms: what opens when something needs more words than a command or a button holds.

Limits: discord.com/developers/docs/components/reference (five parts, title 45, label 45, text 4000).
"""

from __future__ import annotations

import re
from typing import Any

import discord

from bot import messages
from bot.grammar import render
from engine.types import MAX_PROMPT, ImageRequest

BATCH, REMIX, APPEAL, REPORT = "batch", "remix", "appeal", "report"
NAME = re.compile(
    rf"v1:(?P<form>{BATCH}|{REMIX}|{APPEAL}|{REPORT})(?::(?P<job>[0-9a-z]{{1,32}}))?(?::(?P<index>[0-9]{{1,2}}))?"
)
PROMPTS, PROMPT, NEGATIVE, OPTIONS, REASON, NUMBER, FILE = (
    "prompts",
    "prompt",
    "negative",
    "options",
    "reason",
    "number",
    "file",
)
MAX_TEXT = 4000
MAX_REASON = 300
MAX_TITLE = 45
EXAMPLE = "--steps 20 --size 512x768"

Field = discord.ui.TextInput[discord.ui.Modal]


def batch(locale: str) -> discord.ui.Modal:
    """What `/batch` opens: prompts to type or to upload, and options for all."""
    upload: discord.ui.FileUpload[discord.ui.Modal] = discord.ui.FileUpload(custom_id=FILE, required=False)
    return _form(
        BATCH,
        locale,
        (PROMPTS, Field(style=discord.TextStyle.paragraph, custom_id=PROMPTS, max_length=MAX_TEXT, required=False)),
        (FILE, upload),
        (OPTIONS, Field(custom_id=OPTIONS, required=False, max_length=MAX_TEXT, placeholder=EXAMPLE)),
    )


def remix(job: str, index: int, request: ImageRequest, locale: str) -> discord.ui.Modal:
    """A picture's two texts and its options, to be changed."""
    flags = render(request.model_copy(update={"prompt": "x", "negative_prompt": ""})).removeprefix("x").strip()
    long = discord.TextStyle.paragraph
    return _form(
        f"{REMIX}:{job}:{index}",
        locale,
        (PROMPT, Field(style=long, custom_id=PROMPT, max_length=MAX_PROMPT, default=request.prompt)),
        (
            NEGATIVE,
            Field(
                style=long,
                custom_id=NEGATIVE,
                max_length=MAX_PROMPT,
                required=False,
                default=request.negative_prompt or None,
            ),
        ),
        (OPTIONS, Field(style=long, custom_id=OPTIONS, max_length=MAX_TEXT, required=False, default=flags or None)),
    )


def appeal(job: str, index: int, locale: str) -> discord.ui.Modal:
    """Why a moderator should decide otherwise."""
    return _form(f"{APPEAL}:{job}:{index}", locale, (REASON, _reason()))


def report(job: str, numbers: tuple[int, ...], locale: str) -> discord.ui.Modal:
    """What is wrong with a picture, and with which one if a message holds several."""
    if len(numbers) == 1:
        return _form(f"{REPORT}:{job}:{numbers[0] - 1}", locale, (REASON, _reason()))
    number = Field(custom_id=NUMBER, max_length=2, placeholder=f"{min(numbers)}-{max(numbers)}")
    return _form(f"{REPORT}:{job}", locale, (REASON, _reason()), (NUMBER, number))


def _reason() -> Field:
    return Field(style=discord.TextStyle.paragraph, custom_id=REASON, max_length=MAX_REASON, required=False)


def _form(name: str, locale: str, *parts: tuple[str, discord.ui.Item[Any]]) -> discord.ui.Modal:
    """A form that is ended from the start: it is known by its name, so discord.py need not remember it."""
    title = messages.say(f"discord.form_{name.partition(':')[0]}", locale)
    form = discord.ui.Modal(title=messages.shorten(title, MAX_TITLE), custom_id=f"v1:{name}", timeout=None)
    for key, part in parts:
        label = messages.shorten(messages.say(f"discord.field_{key}", locale), MAX_TITLE)
        form.add_item(discord.ui.Label(text=label, component=part))
    form.stop()
    return form
