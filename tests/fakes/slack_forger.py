"""Somebody who knocks where Slack should: the ways in which a request is not Slack's, or not any more."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Callable

from tests.fakes.slack import SECRET

MARK = "a-word-that-no-log-may-hold"
Headers = list[tuple[bytes, bytes]]
Request = tuple[Headers, bytes]

STALE = (-301, 301, -302, 302, -3600, 86_400, -(10**6), 10**6)
"""Seconds from now that are out of the window."""
ODD_TIMES = (
    *(b"", b"abc", b"1e9", b"+1", b"-1", b"NaN", b"0x10", b"1_000", b"1.0"),
    *(b"9" * 4000, b"\xe0\xa5\xa7", b"\xff\xfe"),
)
BROKEN_BODIES = (
    *(b"\xff\xfe", b"\xc3", b"[]", b"{", b"{}", b"null", b"1", b"", b"text", b"{\xff}"),
    *(b"payload=[]", b"payload=", b"payload=%7B", b"payload=%7B%7D"),
)
"""What no event looks like, signed as it should be."""


def signature(timestamp: bytes, body: bytes, secret: bytes = SECRET.encode()) -> bytes:
    """Slack's, for this moment and body."""
    return b"v0=" + hmac.new(secret, b"v0:" + timestamp + b":" + body, hashlib.sha256).hexdigest().encode()


def request(timestamp: object, body: bytes, sign: bytes | None = None) -> Request:
    """A request with its two headers; signed as it should be unless a signature is given."""
    stamp = timestamp if isinstance(timestamp, bytes) else str(timestamp).encode()
    given = signature(stamp, body) if sign is None else sign
    return [(b"X-Slack-Request-Timestamp", stamp), (b"X-Slack-Signature", given)], body


def command(number: int = 0) -> bytes:
    """A slash command, as a body."""
    return f"command=%2Fimagine&text=a+payload+{MARK}&team_id=T1&user_id=U1&n={number}".encode()


def forged_request(choose: random.Random, now: int, taken: list[Request], number: int) -> Request:
    """One of all ways in turn; `taken` are requests that were accepted before."""
    stamp, body = now + choose.randint(-299, 299), command(number)
    ways: list[Callable[[], Request]] = [
        lambda: request(stamp, body, _bent(signature(str(stamp).encode(), body), choose)),
        lambda: request(stamp, body, _nonsense(signature(str(stamp).encode(), body), choose)),
        lambda: request(stamp, body, signature(str(stamp).encode(), body, b"another secret")),
        lambda: request(stamp + (1 if stamp < now else -1), body, signature(str(stamp).encode(), body)),
        lambda: request(now + choose.choice(STALE), body),
        lambda: request(choose.choice(ODD_TIMES), body),
        lambda: request(stamp, choose.choice(BROKEN_BODIES)),
        lambda: (request(stamp, body)[0], _changed(body, choose)),
        lambda: (_other_headers(request(stamp, body)[0], choose), body),
        lambda: ([], b"ssl_check=1&token=x"),
        lambda: request(stamp, b"ssl_check=1&token=x", b"v0=" + b"0" * 64),
        lambda: choose.choice(taken),
    ]
    return ways[number % len(ways)]()


def _bent(good: bytes, choose: random.Random) -> bytes:
    """Another character at one place."""
    spot = choose.randrange(len(good))
    return good[:spot] + bytes([good[spot] ^ choose.randint(1, 7)]) + good[spot + 1 :]


def _nonsense(good: bytes, choose: random.Random) -> bytes:
    made = (b"", b"v0=", b"v1=" + good[3:], good.upper(), good[:-1], good + b"0", b" " + good[1:])
    return choose.choice([*made, b"v0=" + b"0" * 6000, b"\xff" * 67, b"v0=\xc3\xa9", b"v0=" + b"0" * 64])


def _changed(body: bytes, choose: random.Random) -> bytes:
    place = choose.randrange(len(body))
    flipped = body[:place] + bytes([body[place] ^ (1 << choose.randrange(7))]) + body[place + 1 :]
    return choose.choice([flipped, body[:place], body + b"&x=1", body[::-1], b""])


def _other_headers(headers: Headers, choose: random.Random) -> Headers:
    """One missing, both, or one twice."""
    twice = (b"x-slack-signature", b"v0=" + b"0" * 64)
    more = ([*headers, headers[0]], [*headers, headers[1]], [*headers, twice], [twice, *headers])
    return choose.choice([*more, headers[:1], headers[1:], [], [(b"X-Slack-Request-Timestamp", b"1"), *headers]])
