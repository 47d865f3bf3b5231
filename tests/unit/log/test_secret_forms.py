from __future__ import annotations

import base64
import html
import json
import random
import time
import unicodedata
from collections.abc import Callable
from typing import Literal
from urllib.parse import quote, quote_plus

import pytest

from nvoi.log.masking import Masker
from nvoi.log.secret_forms import build_encoded, build_forms

KEY = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("secret", "form"),
    [
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
        ("aaaa bbbb cccc dddd", "aaaa bbbb\n  cccc dddd"),
        ("he llo-hunter", f"he{' ' * 300}llo-hunter"),
        ("!@#$%^&*()", "!@#$%^&*()"),
    ],
)
def test_a_secret_is_masked_whole_in_a_form_that_programs_give_it(secret: str, form: str) -> None:
    assert Masker([secret]).mask_text(f"said {form}, then") == "said [REDACTED], then"


@pytest.mark.parametrize("secret", ["tiger\\", "tige\\", "tiger-hunter\\\\", "tiger-hunter\\'"])
@pytest.mark.parametrize("escape", [quote, lambda text: json.dumps(text)[1:-1]])
def test_a_secret_that_ends_in_a_backslash_is_masked(
    secret: str, escape: Callable[[str], str]
) -> None:
    # The backslashes at its end may stay.
    assert Masker([secret]).mask_text(f"said {escape(secret)} then").startswith("said [REDACTED]")


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


def dump_as_javascript(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def dump_as_go(text: str) -> str:
    escaped = dump_as_javascript(text)
    return escaped.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def test_a_key_in_base64_is_masked_and_a_certificate_in_it_is_not() -> None:
    body = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\nAADVwNqzTZtTc0bE1L6NdrT3Yp1h\n"
    key = f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n"
    masker = Masker([key])
    masked = masker.mask_text(base64.b64encode(key.encode()).decode())
    assert "[REDACTED]" in masked
    assert base64.b64encode(body.encode()).decode()[5:-5] not in masked
    certificate = base64.b64encode(b"-----BEGIN PRIVATE KEY-----\nMIIB/other").decode()
    assert masker.mask_text(certificate) == certificate


@pytest.mark.parametrize("secret", ['pa"ss\\word99x', "hunter2&<secret>", "pässwörd-hünter"])
@pytest.mark.parametrize("escape", [json.dumps, dump_as_go, dump_as_javascript])
def test_a_secret_is_found_in_the_base64_of_json(secret: str, escape: Callable[[str], str]) -> None:
    config = f'{{"auths": {{"example.org": {{"password": {escape(secret)}}}}}}}'
    masked = Masker([secret]).mask_text(base64.b64encode(config.encode()).decode())
    begun, ended = masked.split("[REDACTED]")
    for cut in range(4):
        shown = base64.b64decode(begun[: len(begun) // 4 * 4]) + base64.b64decode(
            ended[cut : cut + (len(ended) - cut) // 4 * 4]
        )
        assert escape(secret)[2:-2].encode() not in shown
    assert len(begun + ended) <= len(base64.b64encode(config.encode())) - len(secret)


@pytest.mark.parametrize(
    "secret",
    [
        "Pass\\éclair-99",
        "S3cret!é\\",
        "pass\u212aword1234",
        "\u212a\u212a\u212ab\u212a",
        "n\u0303andu\u0301-xyz",
        "éèêëàù",
    ],
)
@pytest.mark.parametrize("escape", [str, quote, ascii, json.dumps, repr])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_secret_is_found_as_it_is_and_with_its_accents_composed_or_not(
    secret: str, escape: Callable[[str], str], form: Literal["NFC", "NFD"]
) -> None:
    masker = Masker([secret])
    for text in (escape(secret), escape(unicodedata.normalize(form, secret))):
        assert "[REDACTED]" in masker.mask_text(f"pw {text} end")
        assert secret[:4] not in masker.mask_text(f"pw {text} end")


def test_an_accent_is_no_part_of_a_code_before_it() -> None:
    masker = Masker(["hunter-100%2école"])
    decomposed = unicodedata.normalize("NFD", "hunter-100%2école")
    assert masker.mask_text(f"pw {decomposed} end") == "pw [REDACTED] end"


def test_overlapping_secrets_are_masked_to_the_end_of_the_last() -> None:
    masker = Masker(["abcdefghij", "fghijklmnop"])
    assert masker.mask_text("<abcdefghijklmnop>") == "<[REDACTED]>"
    masker = Masker(["user1", "1-verylongpassword"])
    assert masker.mask_text("login user1-verylongpassword") == "login [REDACTED]"
    masker = Masker(["user1", "first-line\nuser1-verylongpassword\nlast-line"])
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


def test_a_secret_is_not_shown_by_what_finds_it() -> None:
    assert "hunter2" not in repr(build_forms("hunter2secret")[0])


def test_a_long_text_is_masked_in_a_short_time() -> None:
    chance = random.Random(7)
    lines = [base64.b64encode(chance.randbytes(48)).decode() for _ in range(45)]
    secrets = ["\n".join(lines), *(chance.randbytes(16).hex() for _ in range(49))]
    masker = Masker(secrets)
    text = 'web: request 12 took 12.5 ms, said \\"p&ss%20\\" \'\n' * 50_000
    began = time.process_time()
    masked = masker.mask_text(text + secrets[-1])
    # About 0.2 s, and 5.5 s when each form was an alternative of one expression.
    assert time.process_time() - began < 2
    assert masked == text + "[REDACTED]"


def test_only_what_is_near_a_secret_is_folded() -> None:
    masker, secret = Masker(["p&ss-hunter2hunter2"]), "p%26ss-hunter2hunter2"
    text = 'said \\"p&ss%20\\" \'\n' * 40_000

    def measure(text: str, masked: str) -> float:
        began = time.process_time()
        assert masker.mask_text(text) == masked
        return time.process_time() - began

    without = min(measure(f"{text}{number}", f"{text}{number}") for number in range(3))
    having = min(measure(text + secret, f"{text}[REDACTED]") for _ in range(3))
    # About 3, and 30 where all of the text is folded.
    assert having < 10 * without


def test_a_text_full_of_the_beginnings_of_a_secret_is_looked_through_once() -> None:
    secret = "a b\n" * 50 + "c"
    text = ("a b\n" * 49 + "\n") * 200
    began = time.process_time()
    masked = Masker([secret]).mask_text(text)
    # About 0.1 s; more than 50 s when the surroundings of each beginning were looked through.
    assert time.process_time() - began < 3
    assert masked is text


BODY = "".join(base64.b64encode(random.Random(5).randbytes(48)).decode() for _ in range(12))


def wrap(text: str, width: int, end: str = "\n") -> str:
    return end.join(text[start : start + width] for start in range(0, len(text), width))


def build_pem(width: int, end: str = "\n") -> str:
    frames = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
    return end.join((frames[0], wrap(BODY, width, end), frames[1], ""))


def find_leak(text: str, value: str, length: int = 11) -> str:
    """A piece of ``value`` that ``text`` shows, or nothing."""
    pieces = (value[start : start + length] for start in range(len(value) - length + 1))
    return next((piece for piece in pieces if piece in text), "")


@pytest.mark.parametrize("registered", [build_pem(64), build_pem(64, "\\n")])
@pytest.mark.parametrize(
    "shown", [build_pem(76), build_pem(48, "\\n"), build_pem(70, "\r\n"), BODY]
)
def test_a_key_is_masked_however_its_lines_are_cut(registered: str, shown: str) -> None:
    masker = Masker([registered])
    masked = masker.mask_text(f"the key {shown}")
    assert not find_leak(masked, BODY)
    # The first line of a key is that of every other.
    assert shown is BODY or masked.startswith("the key -----BEGIN PRIVATE KEY-----")
    assert not find_leak("".join(map(masker.mask_text, shown.splitlines())), BODY)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_key_inside_a_json_is_masked_outside_of_it(indent: int | None) -> None:
    account = {
        "type": "service_account",
        "private_key": build_pem(64),
        "n": [{"password": "hunter2"}],
    }
    masker = Masker([json.dumps(account, indent=indent)])
    assert not find_leak(masker.mask_text(build_pem(48)), BODY)
    assert masker.mask_text("as hunter2, then") == "as [REDACTED], then"
    assert not find_leak(masker.mask_text(str(account)), BODY)
    assert masker.mask_text("a service_account") == "a service_account"


@pytest.mark.parametrize(
    ("name", "value", "is_masked"),
    [
        ("type", "service_account", False),
        ("project_id", "my-project-123456", False),
        ("region", "eu-central-1", False),
        ("auth_uri", "https://accounts.example.com/o/oauth2/auth", False),
        ("database", "https://u:pw@db.example.com/x", True),
        ("database", "https://db.example.com:5432/@x", False),
        ("token_url", "https://u:pw@db.example.com/x", True),
        ("apiKey", "brown-fox", True),
        ("monkey", "banana", False),
        ("client_secret", "tiger5", True),
        ("data", "9f86d081884c7d659a2feaa0c55ad015", True),
        ("data", '{"token": "inner-token"}', True),
        ("token", "abc", False),
    ],
)
def test_which_values_of_a_json_are_secrets(name: str, value: str, is_masked: bool) -> None:
    masker = Masker([json.dumps({"outer": [{name: value}]})])
    shown = json.loads(value)["token"] if value.startswith("{") else value
    text = f"it is {shown}, then"
    assert masker.mask_text(text) == ("it is [REDACTED], then" if is_masked else text)


def test_a_key_without_a_body_hides_nothing() -> None:
    empty = "-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----"
    assert Masker([empty]).mask_text("nothing") == "nothing"
    assert Masker([empty]).mask_text(f"<{empty}>") == "<[REDACTED]>"


def test_what_only_begins_like_json_is_a_secret_like_any_other() -> None:
    for secret in ("[12345", "{not json}", "[" * 50_000, '{"a": 12345}'):
        assert Masker([secret]).mask_text(f"<{secret}>") == "<[REDACTED]>"


def encode_for_docker(user: str, password: str) -> str:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    config = {"auths": {"registry.example.com": {"auth": auth}}}
    return base64.b64encode(json.dumps(config).encode()).decode()


@pytest.mark.parametrize("user", ["u", "us", "use", "user"])
@pytest.mark.parametrize("before", range(3))
def test_a_password_in_dockerconfigjson_is_masked(user: str, before: int) -> None:
    password = "Zx9QvT3mLp0wRk7s"
    encoded = encode_for_docker(user + "x" * before, password)
    masked = Masker([password]).mask_text(encoded)
    assert "[REDACTED]" in masked
    left = masked.replace("[REDACTED]", "\0").split("\0")
    assert sum(map(len, left)) < len(encoded) - len(password) * 16 // 9 + 6


@pytest.mark.parametrize("before", ["", "$p='", "$pw = '", "login -p "])
def test_a_secret_in_a_command_encoded_for_powershell_is_masked(before: str) -> None:
    secret = "hunter2secret"
    encoded = base64.b64encode(f"{before}{secret}'; exit".encode("utf-16-le")).decode()
    masked = Masker([secret]).mask_text(f"powershell -EncodedCommand {encoded}")
    assert "[REDACTED]" in masked
    assert len(masked.split()[2]) <= len(encoded) - len(secret) * 8 // 3 + 4 + len("[REDACTED]")


FORMS: dict[str, Callable[[str], str]] = {
    "itself": str,
    "URL": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "form in a URL": lambda text: quote(quote_plus(text), safe=""),
    "JSON in a form in a form": lambda text: quote_plus(quote_plus(json.dumps(text)[1:-1])),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
    "HTML": html.escape,
    "Python": lambda text: repr(text)[1:-1],
    "bytes": lambda text: repr(text.encode())[2:-1],
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "unpadded": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "URL-safe": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "URL-safe, unpadded": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64 twice": lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
    "UTF-16": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "secret", ["hello", "a?>b~", "a\"'<c", "ü-~?>", "hello1", "hello12", "he llo", "+he l+lo+"]
)
def test_five_characters_are_masked_in_every_form(secret: str, form: str) -> None:
    shown = FORMS[form](secret)
    assert Masker([secret]).mask_text(f"said {shown} then") == "said [REDACTED] then"


@pytest.mark.parametrize(
    ("secret", "text", "masked"),
    [
        ("ab+cd+ef", "ab cd ef", "ab cd ef"),
        ("+++++", "a     b", "a     b"),
        ("hunter+", "hunter\nnext", "hunter\nnext"),
        ("hunter+", "hunter+\n next", "[REDACTED]\n next"),
        ("+hunter", "a hunter, a +hunter", "a hunter, a [REDACTED]"),
    ],
)
def test_a_space_is_no_plus(secret: str, text: str, masked: str) -> None:
    assert Masker([secret]).mask_text(text) == masked


@pytest.mark.parametrize("before", range(3))
def test_six_characters_are_masked_in_base64_of_a_longer_text(before: int) -> None:
    encoded = base64.b64encode(b"x" * before + b"hunter" + b"y" * 9).decode()
    assert "[REDACTED]" in Masker(["hunter"]).mask_text(encoded)


def build_json(size: int) -> str:
    chance = random.Random(size)
    keys = {f"key-{number}": chance.randbytes(30).hex() for number in range(size // 80)}
    return json.dumps(keys, indent=2)


@pytest.mark.parametrize("build", [build_json, lambda size: json.dumps(build_json(size))[1:-1]])
def test_a_long_secret_takes_time_by_its_length(build: Callable[[int], str]) -> None:
    def measure(size: int) -> tuple[float, float]:
        secret = build(size)
        text = f"<{json.dumps(secret)}>"
        began = time.process_time()
        masker = Masker([secret])
        prepared = time.process_time()
        assert masker.mask_text(text) in {"<[REDACTED]>", '<"[REDACTED]">'}
        return prepared - began, time.process_time() - prepared

    small, large = (map(min, *(measure(size) for _ in range(3))) for size in (2_000, 8_000))
    # Four times as long: 4 where it is linear, 16 where it is quadratic.
    assert all(more < 9 * less for less, more in zip(small, large, strict=True))


@pytest.mark.parametrize(
    "unit", ["\\", "%", "&amp;", "\\u", "'", "' ", "\\x41", "%25", " \\n", "\\'", "é", "a\u0301"]
)
def test_no_text_is_looked_through_twice(unit: str) -> None:
    def measure(count: int) -> float:
        # A masker remembers the last text without secrets.
        masker, text = Masker(["p&ss 'w\\rd"]), unit * count + "ss"
        began = time.process_time()
        masker.mask_text(text)
        return time.process_time() - began

    small, large = (min(measure(count) for _ in range(3)) for count in (10_000, 80_000))
    assert large / small < 24
