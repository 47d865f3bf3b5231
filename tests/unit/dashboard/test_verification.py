"""Which signatures are believed."""

from __future__ import annotations

import pytest

from nvoi.dashboard.verification import ForgeryError, verify_request
from nvoi.protocol import sign, sign_webhook
from nvoi.secret import Secret

KEY, OTHER = Secret("ab" * 32), Secret("cd" * 32)
BODY = b'{"logs": []}'
NOW = 1_700_000_000.0


def build_headers(
    key: Secret = KEY, *, body: bytes = BODY, webhook_id: str = "msg_1", timestamp: float = NOW
) -> dict[str, str]:
    text = key.reveal()
    return {
        "x-nvoi-signature": sign(body, text),
        "webhook-id": webhook_id,
        "webhook-timestamp": f"{timestamp:.0f}",
        "webhook-signature": sign_webhook(body, text, webhook_id, int(timestamp)),
    }


def test_a_right_request_gives_its_webhook_id() -> None:
    assert verify_request(BODY, build_headers(), [KEY], now=NOW) == "msg_1"


def test_the_plain_signature_alone_will_do_and_gives_no_id() -> None:
    headers = {"x-nvoi-signature": sign(BODY, KEY.reveal())}
    assert verify_request(BODY, headers, [KEY], now=NOW) is None


@pytest.mark.parametrize("keys", [[KEY, OTHER], [OTHER, KEY]])
def test_every_key_is_tried(keys: list[Secret]) -> None:
    assert verify_request(BODY, build_headers(KEY), keys, now=NOW) == "msg_1"


@pytest.mark.parametrize("off", [-300, 0, 300])
def test_a_time_within_five_minutes_is_now(off: int) -> None:
    assert verify_request(BODY, build_headers(timestamp=NOW + off), [KEY], now=NOW) == "msg_1"


@pytest.mark.parametrize("off", [-301, 301, -(10**6)])
def test_a_request_of_another_time_is_refused_and_its_sender_told_so(off: int) -> None:
    with pytest.raises(ForgeryError, match=f"{abs(off)} s off this server's clock"):
        verify_request(BODY, build_headers(timestamp=NOW + off), [KEY], now=NOW)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param(build_headers(OTHER), id="of another key"),
        pytest.param(build_headers(body=b"{}"), id="of another body"),
        pytest.param(build_headers() | {"x-nvoi-signature": ""}, id="empty"),
        pytest.param(build_headers() | {"x-nvoi-signature": "sha256=é\udcff"}, id="not ASCII"),
        pytest.param(
            build_headers() | {"x-nvoi-signature": sign(BODY, OTHER.reveal())},
            id="of two keys",
        ),
        pytest.param(build_headers() | {"webhook-id": "msg_2"}, id="another id"),
        pytest.param(build_headers() | {"webhook-timestamp": f"{NOW + 1:.0f}"}, id="another time"),
        pytest.param(build_headers() | {"webhook-timestamp": "now"}, id="no time"),
        pytest.param(build_headers() | {"webhook-timestamp": "1" * 400}, id="endless time"),
        pytest.param(build_headers() | {"webhook-signature": "v1,AAAA"}, id="webhook wrong"),
        pytest.param(build_headers(webhook_id="a.b"), id="an id with a dot"),
        pytest.param(build_headers(webhook_id="x" * 256), id="a long id"),
        pytest.param(build_headers(webhook_id=""), id="an empty id"),
    ],
)
def test_what_is_not_signed_as_it_should_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ForgeryError, match="the signature is missing or wrong"):
        verify_request(BODY, headers, [KEY], now=NOW)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_where_one_webhook_header_is_there_all_must_be(missing: str) -> None:
    headers = build_headers()
    del headers[missing]
    with pytest.raises(ForgeryError):
        verify_request(BODY, headers, [KEY], now=NOW)


def test_one_of_several_webhook_signatures_will_do() -> None:
    headers = build_headers()
    headers["webhook-signature"] = f"v1,AAAA {headers['webhook-signature']}"
    assert verify_request(BODY, headers, [KEY], now=NOW) == "msg_1"


def test_without_a_key_nothing_is_right() -> None:
    zero = Secret("0" * 64)
    with pytest.raises(ForgeryError):
        verify_request(BODY, build_headers(zero), [], now=NOW)


def test_no_refusal_names_a_key_or_a_signature() -> None:
    with pytest.raises(ForgeryError) as caught:
        verify_request(BODY, build_headers(OTHER), [KEY], now=NOW)
    text = str(caught.value)
    assert KEY.reveal() not in text
    assert sign(BODY, KEY.reveal())[7:] not in text
