"""Values that no tool takes, and that somebody's file has all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nvoi.errors import ConfigError
from nvoi.onboarding.adoption import read_proposal
from nvoi.onboarding.commands import find_count, read_memory, read_seconds
from nvoi.onboarding.proposals.compose import interpolate
from nvoi.onboarding.recipes import find_recipe
from tests.unit.onboarding.proposals.reading import check_told, read, read_compose, reveal, write

LONG = "9" * 5000
APP = "services:\n  web:\n    build: {build}\n    env_file: {env_file}\n"


@pytest.mark.parametrize("text", ["²", "٣", LONG, "", "-1", "1.5"])
def test_what_is_no_count_counts_nothing(text: str) -> None:
    assert find_count(text) is None


def test_amounts_without_end_are_none() -> None:
    assert read_memory(f"{LONG}g") is None
    assert read_seconds(LONG) is None
    assert read_seconds(f"{LONG}h") is None


@pytest.mark.parametrize("is_local", [True, False])
@pytest.mark.parametrize("name", ["x" * 5000, "a/\0"])
def test_a_folder_that_no_disk_can_have_is_told_of(
    tmp_path: Path, name: str, is_local: bool
) -> None:
    text = APP.format(build=json.dumps(name), env_file=json.dumps(name))
    (tmp_path / "compose.yaml").write_text(text)
    proposal = read_proposal(tmp_path, "compose.yaml", {}, is_local=is_local)
    assert any("the file with its variables is not here" in fault for fault in proposal.faults)


def test_a_check_whose_address_is_none_is_a_command(tmp_path: Path) -> None:
    check = "healthcheck: {test: 'curl http://[bad'}"
    text = f"services:\n  web:\n    build: .\n    ports: ['8000']\n    {check}\n"
    (tmp_path / "compose.yaml").write_text(text)
    (app,) = read_proposal(tmp_path, "compose.yaml", {}, is_local=False).answers.apps
    assert app.healthcheck
    assert (app.healthcheck.type, app.healthcheck.command) == ("exec", "curl http://[bad")


def test_a_command_that_is_told_takes_a_folder_s_name_for_nothing_else(tmp_path: Path) -> None:
    text = "services:\n  web:\n    build: {context: ., dockerfile: 'a; reboot'}\n"
    text += "  other:\n    build: 'b; reboot'\n"
    (tmp_path / "compose.yaml").write_text(text)
    proposal = read_proposal(tmp_path, "compose.yaml", {}, is_local=False)
    told = "\n".join(map(str, proposal.notes))
    assert "nvoi deploy --dockerfile-path 'a; reboot'" in told
    assert "nvoi onboard -d 'b; reboot'" in told


def test_a_script_whose_name_has_signs_of_a_shell_is_started_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"main": "my app.js"}')
    (tmp_path / "my app.js").write_text("require('http').createServer().listen(process.env.PORT)")
    recipe = find_recipe(tmp_path)
    assert recipe
    assert recipe.command == "exec node 'my app.js'"


def test_a_value_in_the_place_of_a_name_is_not_told(tmp_path: Path) -> None:
    text = """
    services:
      web:
        build: .
        ports: ["$WORD"]
        environment: ["DB_PASSWORD: hunter2secret"]
      cache:
        image: redis
        environment: ["DB PASSWORD: hunter2secret"]
    "word: hunter2secret": 1
    """
    adopted, _ = read_compose(tmp_path, text, WORD="hunter2secret")
    told = "\n".join((*adopted.told, *adopted.lacking))
    assert "hunter2secret" not in told
    assert "web: ?: is no name that a variable can have" in told
    assert "port this is no TCP port" in told


def test_variables_in_a_list_of_mappings_are_kept(tmp_path: Path) -> None:
    base = "services:\n  web:\n    build: .\n"
    base += "    environment: [{API_KEY: hunter2secret}, {A: b}, {L: []}]\n"
    over = "services:\n  web:\n    environment: {A: c}\n"
    adopted, application = read_compose(tmp_path, base)
    check_told(adopted, "compose.yaml:4: services.web: environment: L is no text")
    assert (reveal(application), application.env) == ({"API_KEY": "hunter2secret"}, {"A": "b"})

    write(tmp_path, {"compose.override.yaml": over})
    _, application = read(tmp_path, "compose.yaml")
    assert (reveal(application), application.env) == ({"API_KEY": "hunter2secret"}, {"A": "c"})


DEEP = 20_000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A:-" * DEEP + "x" + "}" * DEEP, "x"),
        ("${A:-" * DEEP, "${A:-" * DEEP),
        ("${" * DEEP + "}" * DEEP, "${" * DEEP + "}" * DEEP),
        (("${A:-" + "x" * 200) * DEEP + "}" * DEEP, "x" * 200 * DEEP),
    ],
    ids=["closed", "open", "nameless", "long"],
)
def test_brackets_in_brackets_take_no_longer_than_others(text: str, value: str) -> None:
    assert interpolate(f"{text} ${{B:-${{C-d}}}}", lambda _: None, str) == f"{value} d"


def test_files_that_extend_each_other_without_end_are_a_fault(tmp_path: Path) -> None:
    other = {"other.yaml": "services: {b: {extends: {service: web, file: compose.yaml}}}\n"}
    write(tmp_path, other)
    with pytest.raises(ConfigError, match="extends itself"):
        read_compose(tmp_path, "services: {web: {extends: {service: b, file: other.yaml}}}\n")
    with pytest.raises(ConfigError, match="too many files include each other"):
        read_compose(tmp_path, "include: [compose.yaml]\nservices: {web: {build: .}}\n")
    with pytest.raises(ConfigError, match=r"^\.: is missing or empty"):
        read_compose(tmp_path, "include: ['.']\nservices: {web: {build: .}}\n")


def test_what_is_not_utf_8_is_told_and_what_powershell_writes_is_read(tmp_path: Path) -> None:
    text = "services:\n  web:\n    build: .\n    environment: {NAME: café}\n"
    (tmp_path / "compose.yaml").write_bytes(text.encode("latin-1"))
    adopted, _ = read(tmp_path, "compose.yaml")
    check_told(adopted, "compose.yaml:4: is not UTF-8: what cannot be read is \ufffd")

    (tmp_path / "compose.yaml").write_bytes(text.encode("utf-16"))
    adopted, application = read(tmp_path, "compose.yaml")
    assert dict(application.env) == {"NAME": "café"}
    assert "UTF-8" not in "".join(adopted.told)
