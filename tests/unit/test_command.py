from __future__ import annotations

import subprocess

import pytest

from nvoi.command import Command, Hidden, Result, build_script, in_shell, script, sudo
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


def test_a_hidden_word_reaches_the_program_and_is_never_shown() -> None:
    command = Command("printf", "%s", Hidden(SECRET))
    assert run(command).stdout == SECRET.reveal()
    for shown in (str(command), repr(command), f"{command}", f"{command!r}", f"{[command]}"):
        assert SECRET.reveal() not in shown
        assert "[REDACTED]" in shown
    assert command.secrets == (SECRET,)


@pytest.mark.parametrize("wrap", [in_shell, sudo, lambda command: sudo(in_shell(command))])
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


def test_equal_commands_are_one_key() -> None:
    assert {Command("echo", "a b"), Command("echo", "a b")} == {Command("echo", "a b")}
    assert Command("echo", "a b") != Command("echo", "a", "b")


def test_a_command_in_a_shell_is_one_word_of_it() -> None:
    assert run(in_shell(script('echo "a  b" | tr a c'))).stdout == "c  b\n"


def test_sudo_never_asks() -> None:
    assert str(sudo(Command("id"))) == "sudo -n -- id"
    assert str(sudo(script("a && b c"))) == "sudo -n -- sh -c 'a && b c'"


def test_a_script_has_its_words_as_arguments_and_is_shown_without_its_text() -> None:
    command = build_script("nvoi-echo", 'printf "%s|" "$0" "$@"', "a b", "$HOME", Hidden(SECRET))
    assert run(command).stdout == f"nvoi-echo|a b|$HOME|{SECRET.reveal()}|"
    assert str(command) == "nvoi-echo 'a b' '$HOME' [REDACTED]"
    assert str(sudo(command)).startswith("sudo -n -- nvoi-echo ")
    assert command.secrets == (SECRET,)


def test_a_result_does_not_show_what_was_printed() -> None:
    result = Result(0, "token=abc\nb", ("warning: abc",), 0.5)
    assert "abc" not in repr(result)
    assert result.is_ok
    assert result.lines == ("token=abc", "b")
    assert not Result(-1, "", (), 0.0).is_ok
