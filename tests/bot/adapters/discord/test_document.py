"""The judge of what is sent to Discord can find fault; where its document is absent, this says so."""

from __future__ import annotations

import pytest

from tests.fakes.discord_schema import DOCUMENT, violations

pytestmark = pytest.mark.skipif(
    not DOCUMENT.exists(), reason="Discord's OpenAPI document is not beside this checkout: requests are not judged"
)
MESSAGES = "/channels/1/messages"
JSON = "application/json"


def test_a_sound_message_passes() -> None:
    assert violations("POST", MESSAGES, JSON, {"content": "a red apple", "nonce": "x", "enforce_nonce": True}) == []


@pytest.mark.parametrize(
    "body", [{"content": 7}, {"content": "x" * 5000}, {"embeds": "none"}, {"allowed_mentions": {"parse": ["moon"]}}]
)
def test_a_wrong_message_is_found(body: dict[str, object]) -> None:
    assert violations("POST", MESSAGES, JSON, body)


def test_a_path_that_does_not_exist_is_found() -> None:
    assert violations("POST", "/no/such/path", JSON, {})
