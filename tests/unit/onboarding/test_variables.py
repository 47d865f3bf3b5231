from __future__ import annotations

import pytest

from nvoi.onboarding.answers import rename_hosts
from nvoi.onboarding.commands import read_cpus, read_memory, read_seconds
from nvoi.onboarding.proposals.compose import interpolate
from nvoi.onboarding.variables import divide, is_secret, read_dotenv
from nvoi.secret import Secret


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("DB_PASSWORD", "hunter2x", True),
        ("POSTGRES_PASSWORD", "x", True),
        ("SECRET_KEY_BASE", "a1", True),
        ("STRIPE_KEY", "whatever", True),
        ("AWS_SECRET_ACCESS_KEY", "abc/def", True),
        ("GITHUB_TOKEN", "x", True),
        ("SMTP_PASS", "x", True),
        ("CACHE", "redis://:pw@cache:6379", True),
        ("SENTRY", "https://0123456789abcdef0123456789abcdef@sentry.io/1", True),
        ("ANYTHING", "sk_live_abcdefgh12345678", True),
        ("ANYTHING", "ghp_0123456789abcdefghij0123", True),
        ("ANYTHING", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c", True),
        ("ANYTHING", "-----BEGIN RSA PRIVATE KEY-----\nx\n", True),
        ("DATABASE_URL", "postgres://db/app", False),
        ("PUBLIC_KEY", "abcdef", False),
        ("NEXT_PUBLIC_API_KEY", "abcdef", False),
        ("SECRET_FILE", "/run/secrets/x", False),
        ("TOKEN_EXPIRY", "3600", False),
        ("USE_TOKEN", "true", False),
        ("KEYBOARD", "de", False),
        ("AUTHOR", "me", False),
        ("LOG_LEVEL", "debug", False),
        ("IMAGE", "ghcr.io/acme/web-frontend-service:20260101", False),
        ("PATHS", "/usr/local/bin/some-long-program-name2", False),
    ],
)
def test_what_looks_like_a_secret_is_one(name: str, value: str, secret: bool) -> None:
    assert is_secret(name, value) is secret


def test_a_dotenv_file_is_read_as_its_libraries_do() -> None:
    text = (
        "# why\nA=1\nexport B = two words \nC='sin#gle'  # x\nD=\"a\\nb\"\nE=\nF=x # y\nG=x#y\n"
        "  H: yaml\nno line\n=x\nI='two\nlines'\r\nJ=last"
    )
    assert dict(read_dotenv(text)) == {
        "A": "1",
        "B": "two words",
        "C": "sin#gle",
        "D": "a\nb",
        "E": "",
        "F": "x",
        "G": "x#y",
        "H": "yaml",
        "I": "two\nlines",
        "J": "last",
    }
    divided = divide([("A", "1"), ("TOKEN", "abc123"), ("a.b", "x")])
    assert (divided.env, divided.secrets) == ({"A": "1"}, {"TOKEN": Secret("abc123")})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$A ${A} $$A", "1 1 $A"),
        ("${B-x}${E-x}${E:-x}", "xx"),
        ("${B:-${A}}${B:-${C:-z}}", "1z"),
        ("${A:+set}${B+set}${E+set}${E:+no}", "setset"),
        ("${A:?no}", "1"),
        ("${B}${B:?no}${E:?no}", "<B><B><E>"),
        ("a$ ${ $1 ${A", "a$ ${ $1 ${A"),
        ("${B:-a}b}", "ab}"),
        ("${A:-{}} ${B:-{}} {${A}}", "1 {} {1}"),
        ("${A:-$${B}} ${B:-$${B}}", "1 ${B}"),
    ],
)
def test_variables_inside_of_values_are_those_of_compose(text: str, value: str) -> None:
    known = {"A": "1", "E": ""}
    assert interpolate(text, known.get, lambda name: f"<{name}>") == value


def test_a_variable_of_a_default_that_is_not_taken_is_not_asked_for() -> None:
    wanted: list[str] = []

    def want(name: str) -> str:
        wanted.append(name)
        return ""

    interpolate("${A:-$B}${C+${B}}${C:-${A}$D}", {"A": "1"}.get, want)
    assert wanted == ["D"]


@pytest.mark.parametrize(
    ("variable", "value", "renamed"),
    [
        ("URL", "redis://redis:6379/0", "redis://R:6379/0"),
        ("URL", "postgres://u:db@db/x?host=db", "postgres://u:db@D/x?host=db"),
        ("BROKERS", "redis:9092,db:9092", "R:9092,D:9092"),
        ("DB_HOST", "db", "D"),
        ("DB_NAME", "db", "db"),
        ("URL", "http://redis.example.com/db", "http://redis.example.com/db"),
        ("X", "redisx:1", "redisx:1"),
    ],
)
def test_only_hosts_are_renamed(variable: str, value: str, renamed: str) -> None:
    assert rename_hosts(variable, value, {"redis": "R", "db": "D"}) == renamed


def test_amounts_are_written_as_kubernetes_does() -> None:
    memory = ("512M", "512m", "1g", "1.5gb", "2048Mi", "536870912", "1k", "x")
    assert [read_memory(text) for text in memory] == [
        "512Mi", "512Mi", "1Gi", "1536Mi", "2Gi", "512Mi", None, None,
    ]  # fmt: skip
    assert [read_cpus(text) for text in ("0.50", "2", "0", "x", "inf")] == [
        "500m", "2000m", None, None, None,
    ]  # fmt: skip
    assert [read_seconds(text) for text in ("30s", "1m30s", "500ms", "10", "", "x", "0s")] == [
        30.0, 90.0, 0.5, 10.0, None, None, None,
    ]  # fmt: skip
