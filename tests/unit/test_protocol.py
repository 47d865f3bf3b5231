from __future__ import annotations

import json
import logging
import subprocess
import sys
import uuid
from urllib.parse import unquote

import pytest

import nvoi
from nvoi import protocol
from nvoi.errors import UsageError
from nvoi.log import levels

KEY = "0123456789abcdef" * 4
BODY = b'{"logs": []}'


def build_headers(
    request: protocol.Request, *, counts: tuple[int, int] | None = None, **run: str
) -> dict[str, str]:
    return protocol.build_headers(
        request,
        request.encode(),
        key=KEY,
        deploy_id="ü",
        run=protocol.Run(id=str(uuid.UUID(int=1)), **run),
        timestamp=1,
        counts=counts,
    )


def test_the_levels_are_those_of_logging_and_of_the_log() -> None:
    numbers = logging.getLevelNamesMapping()
    assert {name: numbers[name.upper()] for name in protocol.LEVELS} == protocol.LEVELS
    assert (levels.STEP, levels.OK, levels.SUCCESS) == (22, 23, 25)


def test_a_line_is_the_protocols_object_byte_for_byte() -> None:
    line = protocol.encode_line((logging.INFO, 1705314600.123, 'say "hi"\n'))
    assert line == (
        '{"level": "info", "message": "say \\"hi\\"\\n", "logged_at": "2024-01-15T10:30:00.123Z"}'
    )


@pytest.mark.parametrize(("first", "numbers"), [(4, ["4-4", "5-6"]), (0, [None, None])])
def test_halves_have_the_numbers_of_their_lines_where_there_are_any(
    first: int, numbers: list[str | None]
) -> None:
    batch = protocol.LogBatch(["a", "b", "c"], first)
    halves = batch.halve()
    assert [part.lines for part in halves] == [["a"], ["b", "c"]]
    assert [build_headers(part).get("X-Nvoi-Sequence") for part in halves] == numbers
    assert len({part.id for part in (batch, *halves)}) == 3


@pytest.mark.parametrize("text", ["x" * 100_000, "ü" * 100_000, '"\n' * 50_000, "🚀" * 30_000])
@pytest.mark.parametrize("most", [500, 5_000, 50_000])
def test_a_long_line_is_cut_to_fit_and_says_so(text: str, most: int) -> None:
    cut = protocol.cut_line(protocol.encode_line((20, 0.0, text)), most)
    assert most * 0.5 < protocol.measure(cut) <= most
    message = json.loads(cut)["message"]
    kept, _, note = message.partition("… [")
    assert text.startswith(kept)
    assert note == f"{len(text) - len(kept)} characters cut]"


@pytest.mark.parametrize(
    ("deploy_id", "segment"),
    [
        ("123", "123"),
        ("a/b", "a%2Fb"),
        ("a b", "a%20b"),
        ("..a", "..a"),
        ("ü?#%", "%C3%BC%3F%23%25"),
        ("x" * 255, "x" * 255),
    ],
)
def test_a_deploy_id_is_one_path_segment(deploy_id: str, segment: str) -> None:
    assert protocol.check_deploy_id(deploy_id) == deploy_id
    url = protocol.build_url("https://example.com/api/", deploy_id, "logs")
    assert url == f"https://example.com/api/{segment}/logs"


@pytest.mark.parametrize(
    "deploy_id", ["", ".", "..", "a\r\nb", "a\x00", "\x7f", "\x85", "x" * 256, "ü" * 128, "\ud800"]
)
def test_a_deploy_id_that_would_change_the_path_is_refused(deploy_id: str) -> None:
    with pytest.raises(UsageError) as caught:
        protocol.check_deploy_id(deploy_id)
    assert "NVOI_DEPLOY_ID" in str(caught.value)
    assert str(caught.value).isprintable()


def test_started_leaves_out_what_is_not_known() -> None:
    context = {"git_sha": "abc", "git_ref": None, "ci_provider": "", "other": "x"}
    context |= {"commit_title": None, "commit_author": "", "dirty": ""}
    event = protocol.build_started(context)
    assert event.payload == {"status": "started", "git_sha": "abc"}
    assert event.headers == {}


def test_started_tells_of_the_commit_in_its_headers_alone() -> None:
    title = "Prix en €: 100 %\n" + "x" * 500
    context = {"commit_title": title, "commit_author": "Zoë \udcff", "dirty": "1"}
    event = protocol.build_started(context)
    assert event.payload == {"status": "started"}
    headers = build_headers(event)
    assert all(value.isascii() and value.isprintable() for value in event.headers.values())
    assert unquote(headers["X-Nvoi-Commit-Title"], errors="strict") == title[:200]
    assert unquote(headers["X-Nvoi-Commit-Author"], errors="strict") == "Zoë ?"
    assert headers["X-Nvoi-Dirty"] == "1"


def test_completed_has_whole_seconds_and_a_list_of_tunnels() -> None:
    assert protocol.build_completed([], 119.6).payload == {
        "status": "completed",
        "tunnels": [],
        "duration_seconds": 120,
    }
    named = {"service_name": "web", "hostname": "www.example.com"}
    for tunnel in (("web", "www.example.com"), protocol.Tunnel(**named)):
        assert protocol.build_completed([tunnel], 0).payload["tunnels"] == [named]


def test_a_status_of_text_that_is_no_unicode_is_sent() -> None:
    body = protocol.build_started({"git_ref": "caf\udce9"}).encode()
    assert json.loads(body.decode()) == {"status": "started", "git_ref": "caf?"}


@pytest.mark.parametrize("second", [0, 1705314600, -1])
def test_a_time_has_its_milliseconds(second: int) -> None:
    for number in range(1000):
        assert protocol.format_time(second + number / 1000).endswith(f".{number:03d}Z")


def test_a_very_long_reason_is_cut() -> None:
    error = protocol.build_failed("x" * 1_000_000).payload["error"]
    assert len(error) < 33_000
    assert error.endswith("characters cut]")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:4000",
        "HTTPS://Example.com/a/",
        "https://user:p%40ss@example.com",
        "https://token@example.com",
        "http://my_dashboard:8080/x",
        "http://example.com:/x",
        "http://example.com./",
        "http://[::1]:80/x",
        "http://[fe80::1%25eth0]/",
        "https://xn--bcher-kva.example/",
    ],
)
def test_a_url_to_which_paths_can_be_appended_is_allowed(url: str) -> None:
    assert protocol.find_url_fault(url) is None
    assert protocol.check_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "http://",
        "http:///path",
        "http://user@/",
        "http://:80/",
        "http://example.com/?",
        "http://example.com/#x",
        "http://example.com/\n",
        "http://exa\tmple.com/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:x/",
        "http://[::1/",
        "http://[::1]x/",
        "http://::1/",
        "http://[v1.a]/",
        "http://a..b/",
        "http://a%2eb/",
        f"http://{'a' * 64}.example/",
        "http://bücher.example/",
        "http://exa\udcffmple.com/",
        "http://example.com/100%/",
        "http://example.com/%zz/",
    ],
)
def test_a_url_that_cannot_be_called_or_extended_is_refused(url: str) -> None:
    fault = protocol.find_url_fault(url)
    assert fault is not None
    with pytest.raises(UsageError) as caught:
        protocol.check_url(url)
    assert fault in str(caught.value)


def test_the_signature_is_the_known_one() -> None:
    openssl = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", KEY], input=BODY, capture_output=True, check=True
    )
    known = "sha256=" + openssl.stdout.decode().split()[-1]
    assert protocol.sign(BODY, KEY) == known


def test_verify_accepts_its_own_signature_only() -> None:
    signature = protocol.sign(BODY, KEY)
    assert nvoi.verify(BODY, signature, KEY)
    assert not nvoi.verify(BODY + b" ", signature, KEY)
    assert not nvoi.verify(BODY, signature, KEY[:-1] + "0")


@pytest.mark.parametrize("signature", [None, "", "sha256=", "sha1=00", "é", "\udcff", "x" * 9999])
def test_verify_refuses_what_is_no_signature(signature: str | None) -> None:
    assert not nvoi.verify(BODY, signature, KEY)


def test_the_webhook_signature_covers_id_and_time() -> None:
    signature = protocol.sign_webhook(BODY, KEY, "msg_1", 1700000000)

    def verify(**changes: object) -> bool:
        values = {
            "webhook_id": "msg_1",
            "timestamp": "1700000000",
            "now": 1700000100.0,
            **changes,
        }
        return protocol.verify_webhook(BODY, signature, KEY, **values)  # type: ignore[arg-type]  # changes vary

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
    good = protocol.sign_webhook(BODY, KEY, "msg_1", 1700000000)
    several = f"v1,AAAA v1a,BBBB {good}"
    assert protocol.verify_webhook(
        BODY, several, KEY, webhook_id="msg_1", timestamp="1700000000", now=1700000000
    )


def test_the_verifier_needs_the_standard_library_only() -> None:
    code = (
        "import sys; from nvoi.protocol import verify; "
        "print([name for name in sys.modules if name.partition('.')[0] in "
        "('urllib3', 'cryptography', 'ruamel', 'paramiko')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
