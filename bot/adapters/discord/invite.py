"""What the bot needs on a server, and the link that gives it exactly that. Free of discord.py.

Source: discord.com/developers/docs/topics/permissions and topics/oauth2 (bot authorization flow).
"""

from __future__ import annotations

from urllib.parse import urlencode

AUTHORIZE = "https://discord.com/oauth2/authorize"
SCOPES = "bot applications.commands"
NEEDED: dict[str, int] = {
    "View Channels": 1 << 10,
    "Send Messages": 1 << 11,
    "Send Messages in Threads": 1 << 38,
    "Attach Files": 1 << 15,
    "Read Message History": 1 << 16,
}
"""To post a picture whose interaction has run out, to look whether it is there already, and to take it out again."""
ADMINISTRATOR = 1 << 3


def link(application: str) -> str:
    """Where a server's manager adds the app of this id."""
    query = {"client_id": application, "scope": SCOPES, "permissions": sum(NEEDED.values())}
    return f"{AUTHORIZE}?{urlencode(query)}"


def missing(permissions: int) -> tuple[str, ...]:
    """Needed permissions that are not among these, by the names that Discord shows."""
    if permissions & ADMINISTRATOR:
        return ()
    return tuple(name for name, bit in NEEDED.items() if not permissions & bit)
