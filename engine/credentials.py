"""Content credentials: a signed statement inside the file that a trained model made it (C2PA 2.2, c2pa.org).

They say which program made the picture and that its digital source type is trainedAlgorithmicMedia (IPTC), and they are
bound to every byte of the file, so that a change shows. Nothing in them names a person or a prompt. Signing is the last
thing that happens to a file: whatever encodes it anew loses them, and has to be signed again.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock

from engine.errors import CredentialsError
from engine.types import ContentCredentials, CredentialState

VERSION = "1"
"""Raised when the same statement is written differently, so that files signed the old way are made again."""

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
GENERATOR = {"name": "Easel"}
PACKAGE = "c2pa"
CERTIFICATE = "certificate.pem"
KEY = "key.pem"
YEARS = 10
"""For which a certificate of our own making is valid."""
MAX_PEM = 64 * 1024
"""Bytes of a certificate or key file that is read."""
MAX_TEXT = 200
"""Characters of a name that a foreign file may have shown."""
_MARKS = (b"jumb", b"c2pa")
"""What every file with embedded credentials holds (ISO 19566-5)."""
_OFFLINE = {
    "version": 1,
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"verify_after_sign": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
}
"""Settings of the library: small, and never on the network on behalf of a stranger's file."""
_STATES = {"Trusted": CredentialState.OWN, "Valid": CredentialState.UNKNOWN_SIGNER}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What files are signed with."""

    certificate: bytes
    """The chain, PEM, the signer's own first."""
    key: bytes
    """PEM."""
    algorithm: bytes


class Credentials:
    """Signs files in an installation's name and reads what files say. Any thread may use it."""

    def __init__(self, folder: Path, *, certificate: Path | None = None, key: Path | None = None) -> None:
        """`folder` holds a certificate of our own making, which is used unless the operator names another."""
        self._folder = folder
        self._certificate = certificate
        self._key = key

    def check(self) -> None:
        """See, without loading the library, that files can be signed.

        Raises:
            CredentialsError: they can't; the sentence says why.
        """
        if find_spec(PACKAGE) is None:
            raise CredentialsError(
                "Content credentials need the package c2pa-python, which isn't installed: run pip install '.[engine]' "
                "in Easel's folder, or set EASEL_CONTENT_CREDENTIALS=false."
            )
        if (self._certificate is None) != (self._key is None):
            raise CredentialsError("EASEL_C2PA_CERTIFICATE and EASEL_C2PA_KEY belong together: set both or neither.")
        for path in (self._certificate, self._key):
            if path is not None:
                _read(path)

    @property
    def fingerprint(self) -> str:
        """Of the operator's certificate, for a new one makes new files; empty for one of our own making."""
        import hashlib

        return hashlib.sha256(_read(self._certificate)).hexdigest()[:16] if self._certificate else ""

    def sign(self, data: bytes, media_type: str = "image/png") -> bytes:
        """The file with credentials; signing twice gives different bytes, since they bear the time.

        Raises:
            CredentialsError: there is no usable certificate and key, or the file can't be signed.
        """
        import c2pa

        identity = self._identity
        signed = io.BytesIO()
        try:
            signer = c2pa.Signer.from_info(
                c2pa.C2paSignerInfo(
                    alg=identity.algorithm, sign_cert=identity.certificate, private_key=identity.key, ta_url=None
                )
            )
            with (
                signer,
                _context() as context,
                c2pa.Builder.from_json(json.dumps(_statement(media_type)), context) as b,
            ):
                b.sign(signer, media_type, io.BytesIO(data), signed)
        except c2pa.C2paError as error:
            raise CredentialsError("The picture could not be signed; the operator's log says why.") from error
        return signed.getvalue()

    def read(self, data: bytes, media_type: str) -> ContentCredentials:
        """What a PNG, JPEG or WebP file of a stranger says, and whether it is true; nothing is fetched."""
        if not all(mark in data for mark in _MARKS) or find_spec(PACKAGE) is None:
            return ContentCredentials(state=CredentialState.ABSENT)
        import c2pa

        try:
            with _context(self._known()) as context:
                reader = c2pa.Reader.try_create(media_type, io.BytesIO(data), context=context)
                if reader is None:
                    return ContentCredentials(state=CredentialState.ABSENT)
                with reader:
                    return _told(json.loads(reader.json()), reader.get_validation_state())
        except (c2pa.C2paError, ValueError):
            return ContentCredentials(state=CredentialState.UNREADABLE)

    # The installation's identity.

    @cached_property
    def _identity(self) -> Identity:
        if self._certificate and self._key:
            certificate, key = _read(self._certificate), _read(self._key)
        else:
            certificate, key = self._own()
        return Identity(certificate=certificate, key=key, algorithm=_checked(certificate, key))

    def _known(self) -> bytes:
        """Certificates that this installation signs with; empty before its first signature."""
        paths = (self._certificate, self._folder / CERTIFICATE)
        return b"".join(path.read_bytes() for path in paths if path is not None and path.is_file())

    def _own(self) -> tuple[bytes, bytes]:
        """The certificate and key in the folder, made when there are none yet."""
        certificate, key = self._folder / CERTIFICATE, self._folder / KEY
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / ".lock"):
                if not (certificate.is_file() and key.is_file()):
                    made = _make()
                    _write(key, made[1])
                    _write(certificate, made[0])
        except OSError as error:
            raise CredentialsError(
                f"The certificate that signs pictures can't be written to {self._folder}: "
                f"{error.strerror or 'no access'}."
            ) from error
        return _read(certificate), _read(key)


def _context(known: bytes = b"") -> Any:  # noqa: ANN401  (c2pa is not typed)
    import c2pa

    trust = {"trust": {"user_anchors": known.decode("ascii", "replace")}} if known else {}
    return c2pa.Context(c2pa.Settings.from_dict(_OFFLINE | trust))


def _statement(media_type: str) -> dict[str, Any]:
    created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": GENERATOR}
    return {
        "claim_generator_info": [GENERATOR],
        "format": media_type,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }


def _told(report: Mapping[str, Any], state: str | None) -> ContentCredentials:
    """What matters of the library's report; every name in it is the file's own word."""
    manifest = report.get("manifests", {}).get(report.get("active_manifest"), {})
    generators = manifest.get("claim_generator_info") or [{"name": manifest.get("claim_generator")}]
    signature = manifest.get("signature_info") or {}
    actions = [
        action
        for assertion in manifest.get("assertions", [])
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in assertion.get("data", {}).get("actions", [])
    ]
    sources = [action["digitalSourceType"] for action in actions if action.get("digitalSourceType")]
    return ContentCredentials(
        state=_STATES.get(state or "", CredentialState.TAMPERED),
        generator=_short(generators[0].get("name")),
        signer=_short(signature.get("common_name") or signature.get("issuer")),
        source_type=_short(str(sources[0]).rpartition("/")[2]) if sources else None,
    )


def _short(text: object) -> str | None:
    return "".join(letter for letter in str(text) if letter.isprintable())[:MAX_TEXT] if text else None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_PEM + 1)
    except OSError as error:
        raise CredentialsError(f"{path} can't be read: {error.strerror or 'no access'}.") from error
    if len(content) > MAX_PEM or b"-----BEGIN" not in content:
        raise CredentialsError(f"{path} holds no certificate or key in PEM form.")
    return content


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and readable by its owner alone."""
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _checked(certificate: bytes, key: bytes) -> bytes:
    """The signature algorithm that a certificate and key are for.

    Raises:
        CredentialsError: they don't fit each other, are expired, or of a kind that content credentials don't know.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        signer, secret = x509.load_pem_x509_certificates(certificate)[0], load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        raise CredentialsError("The certificate or the key for content credentials can't be read.") from error
    if signer.public_key() != secret.public_key():
        raise CredentialsError("The certificate and the key for content credentials don't belong together.")
    if signer.not_valid_after_utc < datetime.now(UTC):
        raise CredentialsError(
            f"The certificate for content credentials expired on {signer.not_valid_after_utc:%d %B %Y}: renew it."
        )
    if isinstance(secret, ec.EllipticCurvePrivateKey):
        algorithm = {256: b"es256", 384: b"es384", 521: b"es512"}.get(secret.key_size)
    elif isinstance(secret, rsa.RSAPrivateKey):
        algorithm = b"ps256"
    else:
        algorithm = b"ed25519" if isinstance(secret, ed25519.Ed25519PrivateKey) else None
    if algorithm is None:
        raise CredentialsError("The key for content credentials is of a kind that they don't know.")
    return algorithm


def _make() -> tuple[bytes, bytes]:
    """A certificate that signs itself, as C2PA 2.2 (section 14.5) asks of signers, and its key; both PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    names = ((NameOID.COMMON_NAME, "Easel installation"), (NameOID.ORGANIZATION_NAME, "Easel, self-signed"))
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in names])
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
