"""All that marks a picture, in order: visible mark, invisible mark, encoding, signature; and how it is read back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from engine import credentials, provenance, renditions, watermark
from engine.credentials import Credentials
from engine.errors import InputError
from engine.settings import EngineSettings
from engine.types import CredentialState, InvisibleMark, Rendition, Verification, Watermark

SIGNED = frozenset({CredentialState.OWN, CredentialState.UNKNOWN_SIGNER})
"""What a file of ours is read as; the second where the operator's certificate doesn't come with its root."""
INVISIBLE_VERSION = "1"
"""Raised when `engine.invisible` draws the same mark differently; stated here, since a cache hit loads no numpy."""
FOLDER = "credentials"
"""Of the installation's own certificate, in its home."""


class Marks:
    """Marks an installation's pictures as its settings say."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._credentials = Credentials(
            settings.home / FOLDER, certificate=_expanded(settings.c2pa_certificate), key=_expanded(settings.c2pa_key)
        )

    def check(self) -> None:
        """See, without loading anything, that pictures can be marked as the settings ask.

        Raises:
            CredentialsError: they can't.
        """
        if self._settings.content_credentials:
            self._credentials.check()

    @property
    def version(self) -> str:
        """Everything but the visible mark that a finished file depends on beside its picture."""
        settings = self._settings
        parts = [provenance.VERSION, watermark.VERSION, str(settings.parameters_in_file)]
        if settings.invisible_mark:
            parts.append(f"{INVISIBLE_VERSION}-{settings.installation_number}")
        if settings.content_credentials:
            parts.append(f"c2pa-{credentials.VERSION}-{self._credentials.fingerprint}")
        return ":".join(parts)

    def finish(self, image: Image.Image, mark: Watermark | None, parameters: dict[str, Any]) -> tuple[bytes, str]:
        """The file that is delivered, and the letters of the visible mark that no bundled font has.

        Raises:
            InputError: the visible mark doesn't fit.
            CredentialsError: the file can't be signed, so nothing may be delivered.
        """
        settings = self._settings
        marked, missing = watermark.apply(image, mark) if mark else (image, "")
        if settings.invisible_mark:
            from engine import invisible

            marked = invisible.apply(marked, settings.installation_number)
        data = provenance.encode(marked, parameters if settings.parameters_in_file else None)
        return self._credentials.sign(data) if settings.content_credentials else data, missing

    def smaller(self, data: bytes, limit: int) -> Rendition:
        """A finished file in the best encoding of at most `limit` bytes, or in the smallest; signed like the first.

        Both marks are in the picture itself and come along, the invisible one unless little of the picture is left.

        Raises:
            InputError: it is no whole picture, or one that nobody has signed where all of ours are.
            CredentialsError: the new file can't be signed, so nothing may be delivered.
        """
        kind = provenance.media_type(data)
        signed = self._settings.content_credentials
        if kind is None or (signed and self._credentials.read(data, kind).state not in SIGNED):
            raise InputError("Only a picture that was finished here can be made smaller.")
        smallest = Rendition(data=data, media_type=kind)
        for encoded, media_type in renditions.of(data):
            file = self._credentials.sign(encoded, media_type) if signed else encoded
            made = Rendition(data=file, media_type=media_type)
            if len(made.data) <= limit:
                return made
            smallest = min(smallest, made, key=lambda rendition: len(rendition.data))
        return smallest

    def examine(self, data: bytes) -> Verification:
        """What a stranger's file tells of its making.

        Raises:
            InputError: the file is too large.
        """
        told = provenance.read(data)
        kind = provenance.media_type(data)
        if kind is None:
            return told
        return told.model_copy(
            update={
                "credentials": self._credentials.read(data, kind),
                "invisible_mark": _invisible_mark(data) if told.intact else None,
            }
        )


def _invisible_mark(data: bytes) -> InvisibleMark | None:
    from engine import invisible

    with Image.open(io.BytesIO(data)) as image:
        found = invisible.find(image)
    return InvisibleMark(number=found.number, score=found.score, cropped=found.cropped) if found else None


def _expanded(path: Path | None) -> Path | None:
    return path.expanduser() if path else None
