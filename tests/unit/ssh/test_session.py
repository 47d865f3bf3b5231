"""What is sent to a host, which a login shell of any kind reads first."""

from __future__ import annotations

import re
import subprocess

import pytest

from nvoi.command import Command, build_script
from nvoi.ssh.session import build_text

WORDS = ("it's", "a \\\\ b\\", "!", "$HOME `id`", '"q" %s \\0101', "two\nlines", "é")


@pytest.mark.parametrize(
    "command",
    [
        Command("printf", "%s\\n", *WORDS),
        build_script("all", "for one do\n  printf '%s\\n' \"$one\"\ndone\n", *WORDS),
    ],
)
def test_a_login_shell_of_any_kind_sees_one_quoted_line_and_the_command_is_what_it_was(
    command: Command,
) -> None:
    text = build_text(command)
    # csh takes neither line breaks nor "!" between quotes, and fish no backslash before another
    # or before a quote.
    assert re.fullmatch(r"exec sh -c '[^'\n!]*'", text)
    assert not re.search(r"\\(?!0\d{3})", text)
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "".join(f"{word}\n" for word in WORDS)
    assert re.fullmatch(r"nvoi-process:\d+\n", done.stderr)
