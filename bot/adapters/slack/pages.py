"""The two sentences that a browser shows around an installation."""

from __future__ import annotations

import html
from collections.abc import Sequence

from slack_bolt.response import BoltResponse

HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
TEMPLATE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Easel</title>
<style>body {{ font: 18px/1.5 system-ui, sans-serif; max-width: 32em; margin: 20vh auto; padding: 0 1em }}</style>
</head>
<body><p>{sentence}</p></body>
</html>
"""


def page(status: int, sentence: str, cookie: str | None = None) -> BoltResponse:
    """One sentence as a page."""
    headers: dict[str, str | Sequence[str]] = {**HEADERS, **({"Set-Cookie": cookie} if cookie else {})}
    return BoltResponse(status=status, headers=headers, body=TEMPLATE.format(sentence=html.escape(sentence)))
