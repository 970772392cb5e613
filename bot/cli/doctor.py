"""`easel doctor`: looks at everything that an installation stands on, and says how to mend what is wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from bot import settings as settings_module
from bot.app import connect
from bot.cli import discord, tokens
from bot.clients import local, modal
from bot.errors import BadInputError, BotError, DatabaseError, SettingsError
from bot.messages import bytes_text, listed, quote, say
from bot.settings import Settings
from bot.store import Store
from engine.errors import EngineError, UnreachableError
from engine.types import EngineInfo, ModelInfo

State = Literal["ok", "note", "wrong"]
LEAST_FREE = 2 * 2**30
"""Bytes that should be free for pictures, database and models."""
FULL = 50 * 2**20
"""Bytes free below which the disk counts as full: a handful of pictures more, and nothing can be written."""
EXTRAS = {
    "engine": "torch",
    "discord": "discord",
    "slack": "slack_bolt",
    "web": "gradio",
    "modal": "modal",
    "gpu": "xformers",
}
"""Each extra, and a module that comes with it."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at; `note` is worth knowing, `wrong` must be mended."""

    name: str
    state: State
    text: str
    mend: str = ""


def _found(name: str, state: State, /, *, mend: bool = False, **values: object) -> Check:
    """A check whose sentences are `doctor.NAME_STATE` and, where there is something to do, `doctor.NAME_mend`."""
    hint = say(f"doctor.{name}_mend", **values) if mend else ""
    return Check(name=name, state=state, text=say(f"doctor.{name}_{state}", **values), mend=hint)


async def examine() -> AsyncIterator[Check]:
    """Look at one thing after another; what depends on settings is left out when they can't be read."""
    try:
        settings = settings_module.load()
    except SettingsError as error:
        yield _found("settings", "wrong", mend=True, reason=error.sentence)
        return
    unknown = settings_module.unknown_variables()
    yield _found("settings", "note" if unknown else "ok", names=listed(unknown))
    for check in _styles(settings):
        yield check
    yield await asyncio.to_thread(_home, settings.home)
    yield await _database(settings.database)
    yield _extras(settings)
    async for check in _engine(settings):
        yield check
    discord_token = await _token("discord", settings)
    yield discord_token
    if discord_token.state == "ok" and settings.discord_token is not None:
        for name, values in await discord.findings(settings):
            kind, _, state = name.rpartition("_")
            yield _found(f"discord_{kind}", "wrong" if state == "wrong" else "note", mend=True, **values)
    yield await _token("slack", settings)


def _styles(settings: Settings) -> Iterator[Check]:
    """Whether every style's options are options of a picture; one that isn't would stop everybody who chooses it."""
    from bot.grammar import from_options

    for name, style in settings.styles.items():
        try:
            from_options({"prompt": "-", **style.options})
        except BadInputError as error:
            yield _found("style", "wrong", mend=True, name=quote(name), reason=error.sentence)


def _home(home: Path) -> Check:
    """Whether the home can be written, and has room."""
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        return _found("home", "wrong", mend=True, home=home)
    free = shutil.disk_usage(there).free
    if free < FULL:
        return _found("disk", "wrong", mend=True, home=home, free=bytes_text(free))
    return _found("home", "ok" if free >= LEAST_FREE else "note", home=home, free=bytes_text(free))


async def _database(path: Path) -> Check:
    """Whether the database can be opened and is whole; none is made for this."""
    if not await asyncio.to_thread(path.exists):
        return _found("database", "note", path=path)
    try:
        async with Store.open(path) as store:
            await store.check()
    except DatabaseError as error:
        return Check(name="database", state="wrong", text=error.sentence)
    return _found("database", "ok", path=path)


def _extras(settings: Settings) -> Check:
    """Whether what the settings ask for is installed."""
    installed = {extra for extra, module in EXTRAS.items() if find_spec(module)}
    needed = {
        "engine": settings.engine == "local",
        "modal": settings.engine == "modal",
        "discord": settings.discord_token is not None,
        "slack": settings.slack_bot_token is not None,
    }
    missing = [extra for extra, wanted in needed.items() if wanted and extra not in installed]
    names = listed(sorted(installed)) or say("value.none")
    return _found("extras", "wrong" if missing else "ok", mend=bool(missing), installed=names, missing=listed(missing))


async def _modal(settings: Settings) -> Check:
    """Whether Modal knows this machine, and the engine is deployed; starts nothing there."""
    app = settings.modal.app
    try:
        await modal.look_up(settings)
    except modal.UnknownMachineError:
        return _found("modal_token", "wrong", mend=True)
    except modal.NotDeployedError:
        return _found("modal", "wrong", mend=True, app=app)
    except UnreachableError:
        return _found("modal", "note", app=app)
    except EngineError as error:
        return Check(name="modal", state="wrong", text=error.sentence, mend=str(error.__cause__ or ""))
    return _found("modal", "ok", app=app)


async def _engine(settings: Settings) -> AsyncIterator[Check]:
    """Whether the engine can start, which weights are there, and what it warns of."""
    if settings.engine == "modal":
        deployed = await _modal(settings)
        yield deployed
        if deployed.state != "ok":
            return
    info: EngineInfo | None = None
    try:
        client = connect(settings)
        try:
            info = await client.info()
            await client.start()
        finally:
            await client.close()
    except (BotError, EngineError) as error:
        yield Check(name="engine", state="wrong", text=error.sentence)
    else:
        yield _found("engine", "ok", where=settings.engine, model=info.default_model)
    if info is None:
        return
    for model in info.models:
        yield await _weights(model, settings)
    for warning in info.warnings:
        yield Check(name="engine", state="note", text=warning)


async def _weights(model: ModelInfo, settings: Settings) -> Check:
    """Whether a model's weights are there, and whole as far as that shows without loading them."""
    place = "weights_on_modal" if settings.engine == "modal" else "weights"
    if model.installed and settings.engine == "local":
        fault = await asyncio.to_thread(local.fault, model.name, settings)
        if fault:
            return Check(name="weights", state="wrong", text=fault)
    state: State = "ok" if model.installed else "wrong"
    found = _found(place, state, mend=not model.installed, model=model.name, title=model.title)
    return replace(found, name="weights")


async def _token(platform: tokens.Platform, settings: Settings) -> Check:
    """Whether a platform takes the token."""
    answer = await tokens.ask(platform, settings)
    states: dict[tokens.Verdict, State] = {"unset": "note", "valid": "ok", "unasked": "note", "refused": "wrong"}
    detail = answer.detail or say("doctor.unset")
    return _found(platform, states[answer.verdict], mend=answer.verdict == "refused", reason=detail, name=detail)
