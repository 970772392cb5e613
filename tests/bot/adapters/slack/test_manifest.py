"""The manifest in the checkout is the one that the code needs, and one that Slack takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from bot.adapters.slack.incoming import GLOBAL_SHORTCUT, PICTURE_SHORTCUT, REMIX_SHORTCUT, SLASH_COMMANDS
from bot.adapters.slack.manifest import EVENTS, SCOPES, manifest, written
from bot.cli.main import run

ROOT = Path(__file__).parents[4]
pytestmark = pytest.mark.usefixtures("logging_as_before")


@pytest.fixture
def shipped() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "app_manifest.yaml").read_text("utf-8")))


def test_the_shipped_manifest_is_current(shipped: dict[str, Any]) -> None:
    text = (ROOT / "app_manifest.yaml").read_text("utf-8")
    assert text == written(), "run: easel slack manifest > app_manifest.yaml"
    assert shipped == manifest()


def test_the_command_writes_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["slack", "manifest"]) == 0
    assert capsys.readouterr().out == written()


def test_it_declares_what_the_code_listens_to(shipped: dict[str, Any]) -> None:
    commands = [command["command"] for command in shipped["features"]["slash_commands"]]
    assert commands == list(SLASH_COMMANDS)
    shortcuts = {shortcut["callback_id"]: shortcut["type"] for shortcut in shipped["features"]["shortcuts"]}
    assert shortcuts == {GLOBAL_SHORTCUT: "global", PICTURE_SHORTCUT: "message", REMIX_SHORTCUT: "message"}
    assert shipped["settings"]["socket_mode_enabled"] is True
    assert shipped["settings"]["event_subscriptions"]["bot_events"] == list(EVENTS)
    assert shipped["features"]["app_home"]["home_tab_enabled"] is True


def test_mentions_arrive_as_such_where_people_or_channels_are_named(shipped: dict[str, Any]) -> None:
    commands = shipped["features"]["slash_commands"]
    escaped = {command["command"] for command in commands if command["should_escape"]}
    assert escaped == {"/imagine-cache", "/imagine-moderation"}


def test_in_http_mode_everything_goes_to_one_address(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["slack", "manifest", "--url", "https://easel.example.org/"]) == 0
    made = yaml.safe_load(capsys.readouterr().out)
    events = "https://easel.example.org/slack/events"
    assert {command["url"] for command in made["features"]["slash_commands"]} == {events}
    assert made["settings"]["interactivity"]["request_url"] == events
    assert made["settings"]["event_subscriptions"]["request_url"] == events
    assert made["settings"]["socket_mode_enabled"] is False
    assert made["oauth_config"]["redirect_urls"] == ["https://easel.example.org/slack/oauth_redirect"]


@pytest.mark.parametrize("url", ["http://easel.example.org", "easel.example.org", "https://x/y", "https://"])
def test_an_address_that_slack_would_not_take_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["slack", "manifest", "--url", url]) == 2
    assert "--url takes an address" in capsys.readouterr().err


def test_its_texts_are_as_short_as_slack_wants_them(shipped: dict[str, Any]) -> None:
    """docs.slack.dev/reference/app-manifest."""
    shown = shipped["display_information"]
    assert len(shown["name"]) <= 35
    assert len(shown["description"]) <= 140
    assert len(shipped["features"]["slash_commands"]) <= 50
    for command in shipped["features"]["slash_commands"]:
        assert len(command["command"]) <= 32
        assert len(command["description"]) <= 2000
        assert len(command.get("usage_hint", "")) <= 1000
    for shortcut in shipped["features"]["shortcuts"]:
        assert len(shortcut["name"]) <= 24
        assert len(shortcut["description"]) <= 150


@pytest.mark.parametrize("scope", SCOPES)
def test_every_scope_is_explained(scope: str) -> None:
    assert f"`{scope}`" in (ROOT / "docs" / "slack.md").read_text("utf-8")


@pytest.mark.parametrize("command", SLASH_COMMANDS)
def test_every_slash_command_is_documented(command: str) -> None:
    page = (ROOT / "docs" / "slack.md").read_text("utf-8")
    assert f"`{command}" in page or f"`{command.removeprefix('/imagine')}`" in page
