"""What the public check says of certificates, by real connections on this machine."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from nvoi.domains.domain import Site
from nvoi.domains.public import BadAnswerError, Way, ask_once

SITE = Site("web", "example.com", ("shop.example.com",), "shop-web", 80)


def build_traefiks_own(folder: Path) -> ssl.SSLContext:
    """What Traefik shows while it has nothing better: signed by itself, for no real name."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "TRAEFIK DEFAULT CERT")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("x.traefik.default")]), False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "own.pem"
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, *form)
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[Way]:
    """Take one connection; the way there."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                connection, _ = server.accept()
                with context.wrap_socket(connection, server_side=True):
                    pass
            except OSError:
                pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Way(
            "here",
            lambda: urllib3.HTTPSConnectionPool(
                "127.0.0.1", server.getsockname()[1], server_hostname=SITE.hostname
            ),
        )
        thread.join()


def test_traefiks_own_certificate_is_told_from_one_that_is_wrong(tmp_path: Path) -> None:
    with serving(build_traefiks_own(tmp_path)) as way, pytest.raises(BadAnswerError) as raised:
        ask_once(SITE, way)
    assert str(raised.value).startswith("TLS: there is no certificate for shop.example.com yet")
    assert "at port 80 of the first server" in raised.value.hint


def test_a_certificate_of_an_authority_that_nobody_knows_is_told(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(SITE.hostname).configure_cert(context)
    with serving(context) as way, pytest.raises(BadAnswerError) as raised:
        ask_once(SITE, way)
    assert str(raised.value).startswith("TLS: the certificate is not good for shop.example.com")
