"""Files made so that reading them takes long: the time grows as they do, and what they make too."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from nvoi.errors import ConfigError, NvoiError, UsageError
from nvoi.images.context import check_copies
from nvoi.onboarding.adoption import AnswerSource, adopt
from nvoi.onboarding.answers import build_groups
from nvoi.onboarding.checkout import read_checkout
from nvoi.source import Source as Files
from tests.unit.onboarding.proposals.reading import read, write

SIZE = 100_000
#: A tenth of what a square of the size takes.
SECONDS = 5.0
UNPORTED = "services:\n  web:\n    build: .\n"
COMPOSE = f"{UNPORTED}    ports: ['80']\n"
KAMAL = "service: a\nimage: b\nservers: [10.0.0.1]\n"


def fill(unit: str) -> str:
    return unit * (SIZE // len(unit))


def count(text: str, number: int = SIZE // 20) -> str:
    return "".join(text.format(i=index) for index in range(number))


LARGE: Mapping[str, Mapping[str, str]] = {
    "spaces before a line's end": {".env": f"A={fill(' ')}\rX\n"},
    "spaces in a value": {".env": f"A=b{fill(' ')}c\n"},
    "comments": {".env": f"A=b{fill(' #')}\rX\n"},
    "letters": {".env": f"A=1{fill('abcdefghijklmnopqrst')}\n"},
    "a word": {"Dockerfile": f"FROM a\nEXPOSE 80\nCMD {fill('a')}\n"},
    "flags": {"Dockerfile": f"FROM a\nCOPY --{fill('a')}\nCOPY {fill('--a ')}\n"},
    "here-documents": {
        "Dockerfile": f"FROM a\nRUN {fill('<<A ') * 6}\n{fill(chr(65) + chr(10)) * 6}"
    },
    "blank lines": {"requirements.txt": f"flask\n{fill(chr(10))}"},
    "an annotation": {"requirements.txt": "flask", "app.py": f"a:{fill(' ')}"},
    "a route": {"app.py": f"x.get{fill(' ')}"},
    "a start script": {"package.json": f'{{"scripts": {{"start": "node {fill("a") * 6}"}}}}'},
    "a command": {"compose.yaml": f"{COMPOSE}    command: {fill('a')}\n"},
    "addresses": {"compose.yaml": f"{UNPORTED}    command: {fill('-b=')}\n"},
    "a process's command": {
        "fly.toml": "app = 'a'\n[http_service]\ninternal_port = 80\n"
        f"[processes]\nweb = '{fill('a')}'\n"
    },
    "a dotted key": {"fly.toml": f"app = 'a'\n{fill('a.')}a = 1\n"},
    "a dotted key in quotes": {"fly.toml": "app = 'a'\n" + fill('"!".') + "a = 1\n"},
    "dotted keys": {"pyproject.toml": count(f"{'a.' * 200}a{{i}} = 1\n", 2000)},
    "quotes": {"fly.toml": "a = " + fill('"""\\')},
    "keys": {"app.json": '{"env": {' + count('"\\u0041{i}": "x", ') + '"B": "x"}}'},
    "Ruby that is open": {"config/deploy.yml": f"{KAMAL}# {fill('<%')}"},
    "Ruby": {"config/deploy.yml": KAMAL + fill("# <% x %>\n")},
    "a variable in Ruby": {"config/deploy.yml": f"{KAMAL}# <%= ENV['A'{fill(' ')}"},
    "hosts": {"config/deploy.yml": "service: a\nservers:\n" + count("  - 10.0.0.{i}\n")},
}


@pytest.mark.parametrize("files", LARGE.values(), ids=LARGE)
def test_what_is_long_is_read_as_fast_as_other_text(
    tmp_path: Path, files: Mapping[str, str]
) -> None:
    write(tmp_path, {})
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, newline="")
    began = time.process_time()
    for groups in ((), build_groups(hosts=("10.0.0.9",))):
        try:
            adopt(AnswerSource(tmp_path, None, {}, groups), read_checkout(tmp_path, {}))
        except NvoiError as error:
            assert isinstance(error, ConfigError)  # noqa: PT017 - one of two outcomes
    if "Dockerfile" in files:
        check_copies(tmp_path / "Dockerfile", Files(tmp_path, ()))
    assert time.process_time() - began < SECONDS


NAMED = "with its variables and the files it names it is longer than 4 MiB"
LOOKUP = '<%= ENV["A"] %>'
BIG = "a" * 900_000
VARIABLES = count("A{i}=x\n", 30_000)
TOO_MANY: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "has 5,000 processes: 200 are allowed": ("Procfile", {"Procfile": count("p{i}: run\n")}),
    "fly.toml: has 201 processes": (
        "fly.toml",
        {"fly.toml": f"app = 'a'\n[processes]\n{count('p{i} = 1' + chr(10), 201)}"},
    ),
    "compose.yaml: has 201 services": (
        "compose.yaml",
        {"compose.yaml": f"services:\n{count('  s{i}: {{image: redis}}' + chr(10), 201)}"},
    ),
    "deploy.yml: has 201 accessories": (
        "config/deploy.yml",
        {
            "config/deploy.yml": f"{KAMAL}accessories:\n"
            + count("  r{i}: {{image: redis, host: 10.0.0.1}}\n", 201)
        },
    ),
    "too many values: 10,000 are allowed": (
        "app.json",
        {"app.json": '{"name": "a", "env": {' + count('"A{i}": "x", ', 10_000) + '"B": "x"}}'},
    ),
    "has 990,000 variables: 50,000 are allowed": (
        "app.json",
        {
            "app.json": '{"name": "a", "env": {' + count('"A{i}": "x", ', 4949) + '"B": "x"}}',
            "Procfile": count("p{i}: run\n", 200),
        },
    ),
    f"compose.yaml:.*{NAMED}": (
        "compose.yaml",
        {
            "compose.yaml": "services:\n" + count("  s{i}: {{build: ., env_file: e}}\n", 100),
            "e": VARIABLES,
        },
    ),
    f"compose.yaml:5:1: {NAMED}": (
        "compose.yaml",
        {"compose.yaml": f"{COMPOSE}    command: '{fill('$A')}'\n", ".env": f"A={'a' * 1000}\n"},
    ),
    f"compose.yaml:6:1: {NAMED}": (
        "compose.yaml",
        {
            "compose.yaml": "services:\n" + count("  s{i}: {{build: ., environment: [BIG]}}\n", 9),
            ".env": f"BIG={BIG}\n",
        },
    ),
    f"deploy.yml:4:1: {NAMED}": (
        "config/deploy.yml",
        {
            "config/deploy.yml": f"{KAMAL}env: {{A: '{fill(LOOKUP)}'}}\n",
            ".env": f"A={'a' * 5000}\n",
        },
    ),
    f"deploy.yml: {NAMED}": (
        "config/deploy.yml",
        {
            "config/deploy.yml": KAMAL,
            ".kamal/secrets": count("S{i}=$(cat large)\n", 100),
            "large": fill("a"),
        },
    ),
    f"deploy.yml:10:1: {NAMED}": (
        "config/deploy.yml",
        {
            "config/deploy.yml": f"{KAMAL}env:\n  secret:\n" + count("    - A{i}:BIG\n", 9),
            ".kamal/secrets": f"BIG={BIG}\n",
        },
    ),
}


@pytest.mark.parametrize("reason", TOO_MANY)
def test_what_no_config_can_hold_is_told_at_once(tmp_path: Path, reason: str) -> None:
    file, files = TOO_MANY[reason]
    write(tmp_path, files)
    began = time.process_time()
    with pytest.raises(ConfigError, match=reason):
        read(tmp_path, file)
    assert time.process_time() - began < SECONDS


REPEATED: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "a service that others extend": (
        "compose.yaml",
        {
            "compose.yaml": f"services:\n  a: {{build: ., environment: {{A: {BIG}}}}}\n"
            + count("  s{i}: {{extends: a}}\n", 4)
            + "  b: {build: .}\n"
        },
    ),
    "an anchor": (
        "compose.yaml",
        {
            "compose.yaml": f"x: &a {BIG}\nservices:\n"
            + count("  s{i}: {{build: ., command: *a}}\n", 4)
        },
    ),
    "variables of all roles": (
        "config/deploy.yml",
        {
            "config/deploy.yml": "service: a\nimage: b\nservers:\n"
            + count("  r{i}: [10.0.0.1]\n", 4)
            + f"  b: {{hosts: [10.0.0.1], env: {{A: b}}}}\nenv: {{A: {BIG}}}\n"
        },
    ),
}


@pytest.mark.parametrize(("file", "files"), REPEATED.values(), ids=REPEATED)
def test_what_a_file_repeats_beyond_what_a_config_can_hold_is_never_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, files: Mapping[str, str]
) -> None:
    written: list[object] = []
    monkeypatch.setattr("nvoi.onboarding.document.write_data", lambda *given: written.append(given))
    write(tmp_path, files)
    with pytest.raises(UsageError, match="more than 1 MiB"):
        read(tmp_path, file)
    assert not written
