from __future__ import annotations

import subprocess
from pathlib import Path, PurePosixPath

import pytest

from nvoi.command import (
    Command,
    Hidden,
    Named,
    Raw,
    Result,
    build_script,
    chain,
    either,
    group,
    in_folder,
    in_shell,
    pipe,
    script,
    sudo,
    with_env,
)
from nvoi.secret import Secret

SECRET = Secret("it's $HOME; `rm`")


def run(command: Command) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command.reveal()], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "word",
    ["plain", "two words", "it's", '"', "$HOME", "`id`", "a;b", "*", "", "-n\nx", "\\", "é☃", "#"],
)
def test_a_word_reaches_the_program_as_it_is(word: str) -> None:
    assert run(Command("printf", "%s", word)).stdout == word


def test_numbers_and_paths_are_words() -> None:
    assert Command("kill", 7, PurePosixPath("/a b")).reveal() == "kill 7 '/a b'"


def test_raw_text_is_syntax() -> None:
    assert run(Command("echo", "b\na", Raw("|"), "sort")).stdout == "a\nb\n"


def test_a_hidden_word_reaches_the_program_and_is_never_shown() -> None:
    command = Command("printf", "%s", Hidden(SECRET))
    assert run(command).stdout == SECRET.reveal()
    for shown in (str(command), repr(command), f"{command}", f"{command!r}", f"{[command]}"):
        assert SECRET.reveal() not in shown
        assert "[REDACTED]" in shown
    assert command.secrets == (SECRET,)


@pytest.mark.parametrize(
    "wrap",
    [
        group,
        in_shell,
        sudo,
        lambda command: chain(Command("true"), command),
        lambda command: either(command, Command("true")),
        lambda command: pipe(command, Command("cat")),
        lambda command: with_env(command, {"A": "b"}),
        lambda command: in_folder(command, "/"),
        lambda command: sudo(in_folder(in_shell(command), "/tmp")),
    ],
)
def test_a_hidden_word_stays_hidden_in_what_is_made_of_its_command(wrap: object) -> None:
    assert callable(wrap)
    command = wrap(Command("printf", "%s", Hidden(Secret("s3cr3t-value"))))
    assert "s3cr3t-value" not in f"{command} {command!r}"
    assert "s3cr3t-value" in command.reveal()
    assert command.secrets == ("s3cr3t-value",)


def test_a_bare_secret_is_refused() -> None:
    with pytest.raises(TypeError, match="stdin"):
        Command("login", SECRET)


@pytest.mark.parametrize("word", [None, True, 1.5, b"bytes", ["list"]])
def test_what_is_no_word_is_refused(word: object) -> None:
    with pytest.raises(TypeError):
        Command("echo", word)  # type: ignore[arg-type]  # what is tested


def test_a_command_needs_a_program() -> None:
    with pytest.raises(ValueError, match="program"):
        Command()


def test_a_nul_character_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        Command("echo", "a\0b")


def test_a_command_cannot_be_changed() -> None:
    command = Command("true")
    with pytest.raises(AttributeError):
        command._text = "false"
    with pytest.raises(AttributeError):
        del command._text


def test_equal_commands_are_one_key() -> None:
    assert {Command("echo", "a b"), Command("echo", "a b")} == {Command("echo", "a b")}
    assert Command("echo", "a b") != Command("echo", "a", "b")


@pytest.mark.parametrize(("first", "expected"), [("true", "ran\n"), ("false", "")])
def test_a_chain_goes_on_after_success_alone(first: str, expected: str) -> None:
    assert run(chain(Command(first), Command("echo", "ran"))).stdout == expected


@pytest.mark.parametrize(("first", "expected"), [("true", ""), ("false", "ran\n")])
def test_an_alternative_runs_after_failure_alone(first: str, expected: str) -> None:
    assert run(either(Command(first), Command("echo", "ran"))).stdout == expected


def test_what_is_combined_is_kept_together() -> None:
    inner = either(Command("true"), Command("echo", "never"))
    assert run(chain(Command("false"), inner)).stdout == ""
    text = pipe(chain(Command("echo", "b"), Command("echo", "a")), Command("sort"))
    assert run(text).stdout == "a\nb\n"


def test_a_single_command_is_its_own_chain() -> None:
    assert chain(Command("true")) == Command("true")


def test_a_script_is_literal() -> None:
    assert run(script("for i in 1 2; do echo $i; done")).stdout == "1\n2\n"


def test_a_command_runs_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    assert run(in_folder(Command("pwd"), folder)).stdout == f"{folder}\n"
    text = chain(in_folder(Command("true"), folder), Command("pwd"))
    assert run(text).stdout != f"{folder}\n"


def test_variables_reach_the_whole_of_a_command() -> None:
    command = with_env(chain(Command("true"), script('echo "$A"')), {"A": "b c"})
    assert run(command).stdout == "b c\n"
    assert with_env(Command("true"), {}) == Command("true")


def test_a_secret_is_no_variable() -> None:
    with pytest.raises(TypeError, match="TOKEN"):
        with_env(Command("true"), {"TOKEN": SECRET})


@pytest.mark.parametrize("name", ["", "1A", "A B", "A=B", "a-b"])
def test_a_variable_needs_a_name_of_the_shell(name: str) -> None:
    with pytest.raises(ValueError, match="environment variable"):
        with_env(Command("true"), {name: "x"})


def test_sudo_never_asks() -> None:
    assert str(sudo(Command("id"))) == "sudo -n -- id"
    assert str(sudo(Command("id"), "app")) == "sudo -n -u app -- id"
    assert str(sudo(chain(Command("a"), Command("b", "c")))) == "sudo -n -- sh -c 'a && b c'"


def test_a_script_has_its_words_as_arguments_and_is_shown_without_its_text() -> None:
    command = build_script("nvoi-echo", 'printf "%s|" "$0" "$@"', "a b", "$HOME", Hidden(SECRET))
    assert run(command).stdout == f"nvoi-echo|a b|$HOME|{SECRET.reveal()}|"
    assert str(command) == "nvoi-echo 'a b' '$HOME' [REDACTED]"
    assert str(sudo(command)).startswith("sudo -n -- nvoi-echo ")
    assert command.secrets == (SECRET,)


def test_named_text_is_one_word_and_shown_by_its_name() -> None:
    command = Command("printf", "%s|", Named("a; b", "steps"), "c")
    assert run(command).stdout == "a; b|c|"
    assert str(command) == "printf '%s|' steps c"


def test_a_result_does_not_show_what_was_printed() -> None:
    result = Result(0, "token=abc\nb", ("warning: abc",), 0.5)
    assert "abc" not in repr(result)
    assert result.is_ok
    assert result.lines == ("token=abc", "b")
    assert not Result(-1, "", (), 0.0).is_ok
