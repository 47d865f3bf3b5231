from __future__ import annotations

import base64
import html
import json
import random
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from nvoi.log.forms import build_encoded, build_escaped
from nvoi.log.masking import Masker

KEY = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("secret", "form"),
    [
        ('p&ss<w>rd"x\\y', json.dumps(json.dumps('p&ss<w>rd"x\\y')[1:-1])[1:-1]),
        ("p&ss<w>rd", "p\\u0026ss\\u003cw\\u003erd"),
        ("pässwörd", "p\\u00E4ssw\\u00F6rd"),
        ("key😀end", "key\\uD83D\\uDE00end"),
        ("pass(word)!*$x", "pass(word)!*%24x"),
        ("pa@ss$w&ord", "pa%40ss$w&ord"),
        ("it's-hunter2", "it'\\''s-hunter2"),
        ("it's-hunter2", "it'\"'\"'s-hunter2"),
        ("hunter2 $ecret&x", "hunter2\\ \\$ecret\\&x"),
        ("pässwörd", "p\\xc3\\xa4ssw\\xc3\\xb6rd"),
        ("pässwörd", "p\\303\\244ssw\\303\\266rd"),
        ("a<b&c>'defg", html.escape("a<b&c>'defg")),
        ("hunter2secret", b"hunter2secret".hex()),
        ("hunter2secret", b"hunter2secret".hex().upper()),
        ("aaaa bbbb cccc dddd", "aaaa bbbb\n  cccc dddd"),
        ("!@#$%^&*()", "!@#$%^&*()"),
    ],
)
def test_a_secret_is_masked_whole_in_a_form_that_programs_give_it(secret: str, form: str) -> None:
    assert Masker([secret]).mask_text(f"said {form}, then") == "said [REDACTED], then"


@pytest.mark.parametrize("secret", [KEY, "ghp_" + "Zx9Q" * 15])
@pytest.mark.parametrize("width", [64, 76])
def test_each_line_of_wrapped_base64_is_masked(secret: str, width: int) -> None:
    encoded = base64.b64encode(secret.encode()).decode()
    masker = Masker([secret])
    for start in range(0, len(encoded), width):
        line = encoded[start : start + width]
        assert masker.mask_text(line) == "[REDACTED]"


@pytest.mark.parametrize("before", range(60))
def test_base64_is_masked_wherever_in_a_text_it_begins_and_is_wrapped(before: int) -> None:
    lines = base64.encodebytes(b"\xff" * before + KEY.encode()).decode().splitlines()
    masker = Masker([KEY])
    masked = [masker.mask_text(line) for line in lines]
    assert "[REDACTED]" in "".join(masked)
    encoded = {form for form in build_encoded(KEY) if len(form) > 60}
    for line in masked:
        pieces = (line[start : start + 11] for start in range(len(line) - 10))
        assert not any(piece in form for piece in pieces for form in encoded)


def test_a_key_in_base64_is_masked_and_a_certificate_in_it_is_not() -> None:
    body = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\nAADVwNqzTZtTc0bE1L6NdrT3Yp1h\n"
    key = f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n"
    masker = Masker([key])
    masked = masker.mask_text(base64.b64encode(key.encode()).decode())
    assert "[REDACTED]" in masked
    assert base64.b64encode(body.encode()).decode()[5:-5] not in masked
    certificate = base64.b64encode(b"-----BEGIN PRIVATE KEY-----\nMIIB/other").decode()
    assert masker.mask_text(certificate) == certificate


def test_overlapping_secrets_are_masked_to_the_end_of_the_last() -> None:
    masker = Masker(["abcdefghij", "fghijklmnop"])
    assert masker.mask_text("<abcdefghijklmnop>") == "<[REDACTED]>"
    masker = Masker(["user1", "1-verylongpassword"])
    assert masker.mask_text("login user1-verylongpassword") == "login [REDACTED]"


@pytest.mark.parametrize(
    "text",
    [
        "it is a hunter, 2 of them",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqYW5lQGV4YW1wbGUub3JnIn0",
        "C:\\hunter2 \\n 'quoted' %20 &amp;",
    ],
)
def test_what_only_resembles_a_secret_stays(text: str) -> None:
    assert Masker(["it's-hunter2", "p&ss<w>rd", KEY]).mask_text(text) is text


def escape_for_bash(text: str) -> str:
    return "".join(sign if sign.isalnum() else f"\\{sign}" for sign in text)


@pytest.mark.parametrize(
    "escape",
    [
        str,
        quote,
        quote_plus,
        html.escape,
        escape_for_bash,
        lambda text: json.dumps(text)[1:-1],
        lambda text: repr(text)[1:-1],
        lambda text: ascii(text)[1:-1],
        lambda text: repr(text.encode())[2:-1],
        lambda text: text.replace("'", "'\\''"),
    ],
)
def test_the_quick_look_misses_no_form_of_any_secret(escape: Callable[[str], str]) -> None:
    chance = random.Random(9)
    alphabet = "abcXYZ0123456789" + "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" + "éü€😀п"
    for _ in range(150):
        length = chance.randint(5, 30)
        secret = "".join(chance.choice(alphabet) for _ in range(length))
        form = escape(secret)
        masked = Masker([secret]).mask_text(" " * chance.randint(0, 6) + form + " |")
        assert masked.lstrip().startswith("[REDACTED]"), (secret, form)
        # Where a quote or its like is the last character, the end of its form may stay.
        assert len(masked.strip()) <= len("[REDACTED] |") + 6, (secret, form)


def test_values_under_five_characters_have_no_forms() -> None:
    assert not list(build_escaped(" abc ", 11))
    assert not list(build_encoded("abcd"))


def test_a_secret_is_not_shown_by_what_finds_it() -> None:
    assert "hunter2" not in repr(list(build_escaped("hunter2secret", 11)))


def test_a_long_text_is_masked_in_a_short_time() -> None:
    chance = random.Random(7)
    lines = [base64.b64encode(chance.randbytes(48)).decode() for _ in range(45)]
    secrets = ["\n".join(lines), *(chance.randbytes(16).hex() for _ in range(49))]
    masker = Masker(secrets)
    text = 'web: request 12 took 12.5 ms, said \\"p&ss%20\\" \'\n' * 100_000
    began = time.process_time()
    masked = masker.mask_text(text + secrets[-1])
    # About 0.4 s, and 11 s when each form was an alternative of one expression.
    assert time.process_time() - began < 4
    assert masked == text + "[REDACTED]"


def test_a_text_full_of_the_beginnings_of_a_secret_is_looked_through_once() -> None:
    secret = "a b\n" * 50 + "c"
    text = ("a b\n" * 49 + "\n") * 200
    began = time.process_time()
    masked = Masker([secret]).mask_text(text)
    # About 0.1 s; more than 50 s when the surroundings of each beginning were looked through.
    assert time.process_time() - began < 3
    assert masked is text
