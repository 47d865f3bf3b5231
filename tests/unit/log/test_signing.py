from __future__ import annotations

import subprocess
import sys

import pytest

import nvoi
from nvoi.log import signing

KEY = "0123456789abcdef" * 4
BODY = b'{"logs": []}'


def test_the_signature_is_the_known_one() -> None:
    # printf '{"logs": []}' | openssl dgst -sha256 -hmac 0123456789abcdef...
    known = "sha256=5ebf7a7fd44f7a5dd5b7b04ad9c4dbb6ac2e7f3f4c7e6f7a0a4ff8c5b0f0e1d2"
    openssl = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", KEY], input=BODY, capture_output=True, check=True
    )
    known = "sha256=" + openssl.stdout.decode().split()[-1]
    assert signing.sign(BODY, KEY) == known


def test_verify_accepts_its_own_signature_only() -> None:
    signature = signing.sign(BODY, KEY)
    assert nvoi.verify(BODY, signature, KEY)
    assert not nvoi.verify(BODY + b" ", signature, KEY)
    assert not nvoi.verify(BODY, signature, KEY[:-1] + "0")


@pytest.mark.parametrize("signature", [None, "", "sha256=", "sha1=00", "é", "\udcff", "x" * 9999])
def test_verify_refuses_what_is_no_signature(signature: str | None) -> None:
    assert not nvoi.verify(BODY, signature, KEY)


def test_the_webhook_signature_covers_id_and_time() -> None:
    signature = signing.sign_webhook(BODY, KEY, "msg_1", 1700000000)

    def verify(**changes: object) -> bool:
        values = {
            "webhook_id": "msg_1",
            "timestamp": "1700000000",
            "now": 1700000100.0,
            **changes,
        }
        return signing.verify_webhook(BODY, signature, KEY, **values)  # type: ignore[arg-type]  # changes vary

    assert verify()
    assert not verify(webhook_id="msg_2")
    assert not verify(timestamp="1700000001")
    assert not verify(now=1700000301.0)
    assert not verify(now=1699999699.0)
    assert not verify(timestamp=None)
    assert not verify(timestamp="soon")
    assert not verify(timestamp="9" * 20)
    assert not verify(webhook_id="")


def test_one_of_several_webhook_signatures_is_enough() -> None:
    good = signing.sign_webhook(BODY, KEY, "msg_1", 1700000000)
    several = f"v1,AAAA v1a,BBBB {good}"
    assert signing.verify_webhook(
        BODY, several, KEY, webhook_id="msg_1", timestamp="1700000000", now=1700000000
    )


def test_the_verifier_needs_the_standard_library_only() -> None:
    code = (
        "import sys; from nvoi.log.signing import verify; "
        "print([name for name in sys.modules if name.partition('.')[0] in "
        "('urllib3', 'cryptography', 'ruamel', 'paramiko')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
