"""Under which name the records keep somebody who asked to be forgotten.

It is made from the person's key by HMAC-SHA-256 (RFC 2104) under a secret of this database: nobody can read the person
off it, and a ban still holds when the same person comes back.
"""

from __future__ import annotations

import hmac

from bot.store.database import Transaction

PREFIX = "forgotten:"
DIGITS = 32


async def pseudonym(transaction: Transaction, person: str) -> str:
    """The name of `platform:id` in records that outlive them."""
    row = await transaction.one("SELECT value FROM secrets WHERE name = 'pseudonyms'")
    if row is None:
        raise LookupError("the database has no secret for pseudonyms")
    return PREFIX + hmac.new(bytes.fromhex(row["value"]), person.encode(), "sha256").hexdigest()[:DIGITS]
