"""What goes wrong at Slack: rate limits that are waited for, and refusals as one sentence in the person's language."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.async_handler import AsyncRetryHandler
from slack_sdk.http_retry.response import HttpResponse
from slack_sdk.http_retry.state import RetryState

from bot.clock import Clock
from bot.errors import BotError, DeliveryError
from bot.messages import ENGLISH, catalogue, say

LASTING = frozenset(
    {
        "access_denied",
        "account_inactive",
        "cannot_dm_bot",
        "channel_not_found",
        "ekm_access_denied",
        "file_type_not_allowed",
        "file_upload_size_restricted",
        "file_uploads_disabled",
        "invalid_auth",
        "invalid_blocks",
        "is_archived",
        "messages_tab_disabled",
        "missing_scope",
        "msg_blocks_too_long",
        "no_permission",
        "not_allowed_token_type",
        "not_authed",
        "not_in_channel",
        "posting_to_channel_denied",
        "restricted_action",
        "restricted_action_non_threadable_channel",
        "restricted_action_read_only_channel",
        "restricted_action_thread_locked",
        "restricted_action_thread_only_channel",
        "team_access_not_granted",
        "token_expired",
        "token_revoked",
    }
)
"""Errors that another attempt can't mend."""
GENERAL = {code: "restricted_action" for code in LASTING if code.startswith("restricted_action_")} | {
    "posting_to_channel_denied": "restricted_action",
    "rate_limited": "ratelimited",
}
"""Errors of which the sentence on another one says enough."""
PASSING = frozenset(
    {
        "",
        "fatal_error",
        "file_update_failed",
        "internal_error",
        "ratelimited",
        "rate_limited",
        "request_timeout",
        "service_unavailable",
    }
)
"""Errors after which something may have happened, or not; the first stands for an answer that was lost."""
LONGEST_WAIT = 60.0
"""Seconds that a rate limit may ask for; after longer ones the delivery is tried again later."""
RATE_LIMIT_TRIES = 3
HURRY_SECONDS = 5.0

_hurried: ContextVar[bool] = ContextVar("hurried", default=False)


class SlackError(DeliveryError):
    """Slack refuses something, or can't be reached."""

    def __init__(
        self,
        key: str,
        *,
        code: str = "",
        wait: float = 0.0,
        permanent: bool = False,
        away: bool = False,
        **values: object,
    ) -> None:
        """As the sentence of this key says.

        Args:
            key: of the sentence.
            code: Slack's word for it; empty where there was none.
            wait: seconds that a rate limit asks for.
            permanent: another attempt can't mend it.
            away: Slack is down, or asks for a long pause.
            values: for the holes of the sentence.
        """
        self._key = key
        self._values = {**values, "code": code}
        super().__init__(self.told(ENGLISH), permanent=permanent, away=away)
        self.code = code
        self.wait = wait

    def told(self, locale: str) -> str:
        """The sentence in a language."""
        return say(self._key, locale, **self._values)


def told(error: BotError, locale: str) -> str:
    """The sentence on an error, in a person's language where it isn't yet."""
    return error.told(locale) if isinstance(error, SlackError) else error.sentence


@contextmanager
def translated(locale: str) -> Iterator[None]:
    """Let what goes wrong be told in a person's language.

    Raises:
        DeliveryError: something did.
    """
    try:
        yield
    except SlackError as error:
        raise DeliveryError(error.told(locale), permanent=error.permanent, away=error.away) from error


class Patience(AsyncRetryHandler):
    """Waits as long as Slack's Retry-After says, and asks again; not for what is `hurried`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(max_retry_count=RATE_LIMIT_TRIES)
        self._clock = clock

    async def _can_retry_async(self, *, response: HttpResponse | None = None, **_: object) -> bool:
        if response is None or response.status_code != 429 or _hurried.get():
            return False
        return retry_after(response.headers) <= LONGEST_WAIT

    async def prepare_for_next_attempt_async(
        self, *, state: RetryState, response: HttpResponse | None = None, **_: object
    ) -> None:
        """Wait."""
        state.next_attempt_requested = True
        await self._clock.sleep(retry_after(response.headers) if response else 1.0)
        state.increment_current_attempt()


@asynccontextmanager
async def hurried() -> AsyncIterator[None]:
    """Within, nothing takes long, and a rate limit is an error at once: progress must not hold up the picture itself.

    Raises:
        SlackError: it takes too long.
    """
    token = _hurried.set(True)
    try:
        async with asyncio.timeout(HURRY_SECONDS):
            yield
    except TimeoutError as error:
        raise SlackError("slack.unreachable", away=True) from error
    finally:
        _hurried.reset(token)


def retry_after(headers: object) -> float:
    """Seconds that a response with status 429 asks for; 1 if it doesn't say."""
    given = headers.items() if hasattr(headers, "items") else ()
    values = [value for name, value in given if str(name).lower() == "retry-after"]
    text = values[0] if values and isinstance(values[0], str) else "".join(values[0]) if values else ""
    return float(text) if text.isdecimal() else 1.0


@contextmanager
def explained() -> Iterator[None]:
    """Whatever Slack refuses, or the network breaks, as SlackError."""
    try:
        yield
    except SlackApiError as error:
        code = code_of(error)
        wait = retry_after(getattr(error.response, "headers", None)) if code == "ratelimited" else 0.0
        raise refused(code, wait) if code else SlackError("slack.unreachable", away=True) from error
    except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
        raise SlackError("slack.unreachable", away=True) from error


def code_of(error: SlackApiError) -> str:
    """Slack's word for what is wrong; empty where something before Slack answered with a page instead of JSON."""
    data = getattr(error.response, "data", None)
    return str(data.get("error") or "") if isinstance(data, dict) else ""


def refused(code: str, wait: float = 0.0) -> SlackError:
    """The sentence on one of Slack's error codes."""
    key = f"slack_error.{GENERAL.get(code, code)}"
    known = key if key in catalogue(ENGLISH) else "slack.error"
    return SlackError(known, code=code, wait=wait, permanent=code in LASTING, away=code in PASSING)
