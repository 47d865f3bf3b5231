from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from nvoi.dashboard.passwords import (
    GUESS_WINDOW,
    GUESSES_OF_ALL,
    GUESSES_OF_ONE,
    Guesses,
    is_same,
    read_password,
)
from nvoi.errors import UsageError
from nvoi.secret import Secret

PASSWORD = "correct horse battery"


def write(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "password"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_password_is_the_line_of_its_file(tmp_path: Path, end: str) -> None:
    password = read_password(write(tmp_path, f"{PASSWORD}{end}".encode()))
    assert password.reveal() == PASSWORD
    assert str(password) == "[REDACTED]"


def test_spaces_and_letters_of_any_script_are_part_of_it(tmp_path: Path) -> None:
    text = " pässwörter 密码 "
    assert read_password(write(tmp_path, text.encode())).reveal() == text


def test_a_password_may_come_from_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(PASSWORD,))
    writer.start()
    assert read_password(pipe).reveal() == PASSWORD
    writer.join()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UsageError, match=f"open to others.*{mode:04o}.*chmod 600"):
        read_password(write(tmp_path, PASSWORD.encode(), mode))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "12 to 1024 characters"),
        (b"\n", "12 to 1024 characters"),
        (b"eleven-char", "12 to 1024 characters"),
        (b" " * 20, "12 to 1024 characters"),
        (b"x" * 1025, "12 to 1024 characters"),
        (b"first line of it\nsecond", "more than one line"),
        (b"with a \x00 in the middle", "more than one line"),
        (b"\xff" * 20, "not UTF-8"),
        (b"x" * (1 << 21), "larger than 1 MiB"),
    ],
)
def test_a_file_without_a_good_password_is_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        read_password(write(tmp_path, content))
    assert str(tmp_path / "password") in str(caught.value)
    assert "eleven-char" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--password-file: cannot read .*No such file"):
        read_password(tmp_path / "password")


@pytest.mark.parametrize("guess", ["", "correct", PASSWORD + "x", PASSWORD.upper(), "\ud800"])
def test_another_text_is_not_the_password(guess: str) -> None:
    assert not is_same(Secret(PASSWORD), guess)


def test_the_password_is_the_password() -> None:
    assert is_same(Secret(PASSWORD), PASSWORD)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guesses(clock: Clock) -> Guesses:
    return Guesses(clock)


def test_a_client_may_guess_wrong_a_few_times_and_then_waits(
    guesses: Guesses, clock: Clock
) -> None:
    for _ in range(GUESSES_OF_ONE):
        assert guesses.find_wait("a") == 0
        guesses.add_wrong("a")
        clock.now += 10
    assert guesses.find_wait("a") == GUESS_WINDOW - 10 * GUESSES_OF_ONE
    assert guesses.find_wait("b") == 0
    clock.now += GUESS_WINDOW - 10 * GUESSES_OF_ONE
    assert guesses.find_wait("a") == 0


def test_many_clients_together_are_stopped_too(guesses: Guesses, clock: Clock) -> None:
    for number in range(GUESSES_OF_ALL):
        assert guesses.find_wait(f"client {number}") == 0
        guesses.add_wrong(f"client {number}")
    assert guesses.find_wait("another") == GUESS_WINDOW
    clock.now += GUESS_WINDOW
    assert guesses.find_wait("another") == 0


def test_who_knew_the_password_is_not_stopped_by_the_guesses_of_others(guesses: Guesses) -> None:
    guesses.add_right("known")
    for number in range(GUESSES_OF_ALL):
        guesses.add_wrong(f"client {number}")
    assert guesses.find_wait("known") == 0
    assert guesses.find_wait("unknown") > 0


def test_who_knew_the_password_still_waits_for_guesses_of_its_own(guesses: Guesses) -> None:
    guesses.add_right("known")
    for _ in range(GUESSES_OF_ONE):
        guesses.add_wrong("known")
    assert guesses.find_wait("known") == GUESS_WINDOW


def test_the_right_password_forgives_the_wrong_ones_before_it(guesses: Guesses) -> None:
    for _ in range(GUESSES_OF_ONE - 1):
        guesses.add_wrong("a")
    guesses.add_right("a")
    guesses.add_wrong("a")
    assert guesses.find_wait("a") == 0
