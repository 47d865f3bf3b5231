"""Host certificates: whether one lets a key stand for a host. OpenSSH, PROTOCOL.certkeys."""

from __future__ import annotations

import base64
import time
from collections.abc import Collection, Iterator
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.serialization.ssh import (
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)
from paramiko import Message

from nvoi.ssh.ssh_config import fits

#: Kinds of RSA's signatures without ssh-rsa, which is made with SHA-1.
RSA_SIGNATURES = (b"rsa-sha2-256", b"rsa-sha2-512")


def find_authority(blob: bytes) -> bytes | None:
    """The public key that a certificate says it is signed with; None where there is none."""
    certificate = _read(blob) if blob else None
    return None if certificate is None else _get_authority(certificate)


def find_fault(blob: bytes, name: str, authorities: Collection[bytes]) -> str:
    """Why a certificate does not show that its key is that of the host ``name``; or nothing.

    Args:
        blob: the certificate, empty where the host shows none.
        name: what the host is called.
        authorities: public keys, of which one must have signed it.
    """
    return next(_list_faults(blob, name, authorities), "")


def _list_faults(blob: bytes, name: str, authorities: Collection[bytes]) -> Iterator[str]:
    if not blob:
        yield "it shows no host certificate"
    certificate = _read(blob)
    if certificate is None:
        yield "its host certificate cannot be read"
        return
    if _get_authority(certificate) not in authorities:
        yield "its host certificate is signed by another authority"
    if not _is_signed(certificate, blob):
        yield "the signature of its host certificate is wrong"
    if certificate.type is not SSHCertificateType.HOST:
        yield "its host certificate is one of a user"
    principals = [one.decode(errors="replace") for one in certificate.valid_principals]
    if principals and not any(fits(one.lower(), name.lower()) for one in principals):
        yield f"its host certificate is for {', '.join(principals)} and not for {name}"
    if certificate.critical_options:
        options = ", ".join(one.decode(errors="replace") for one in certificate.critical_options)
        yield f"its host certificate has an option that nvoi does not know: {options}"
    now = time.time()
    if now < certificate.valid_after:
        yield f"its host certificate is valid from {_format(certificate.valid_after)} on"
    if now >= certificate.valid_before:
        yield f"its host certificate was valid until {_format(certificate.valid_before)}"


def _format(moment: int) -> str:
    try:
        return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return "a year that no calendar has"


def _read(blob: bytes) -> SSHCertificate | None:
    try:
        kind = Message(blob).get_text()
        loaded = load_ssh_public_identity(f"{kind} ".encode() + base64.b64encode(blob))
        if not isinstance(loaded, SSHCertificate):
            return None
        loaded.signature_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return loaded


def _get_authority(certificate: SSHCertificate) -> bytes:
    text = certificate.signature_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(text.split()[1])


def _is_signed(certificate: SSHCertificate, blob: bytes) -> bool:
    key = certificate.signature_key()
    if isinstance(key, RSAPublicKey):
        # At its end are the signature's kind and, behind its length, the signature: RFC 8332, 3.
        size = (key.key_size + 7) // 8
        if not blob[: -(size + 4)].endswith(RSA_SIGNATURES):
            return False
    try:
        certificate.verify_cert_signature()
    except (InvalidSignature, ValueError):
        return False
    return True
