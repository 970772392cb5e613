"""Names for jobs and messages."""

from __future__ import annotations

import hashlib
import secrets

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letter can be taken for a digit (crockford.com/base32.html)."""
ID_LENGTH = 8
NONCE_LENGTH = 24
"""Characters; Discord takes up to 25."""
_MISREAD = str.maketrans("ilo", "110", "-")


def new_job_id() -> str:
    """A job's name: short enough to type, and not to be guessed; one of 2^40."""
    return "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH))


def canonical(typed: str) -> str:
    """A job's name as somebody typed it, with misread letters put right."""
    return typed.strip().lower().translate(_MISREAD)


def nonce(job: str, part: int) -> str:
    """The mark of a message, the same after a restart, by which a platform or an adapter knows it again."""
    return hashlib.sha256(f"{job}:{part}".encode()).hexdigest()[:NONCE_LENGTH]
