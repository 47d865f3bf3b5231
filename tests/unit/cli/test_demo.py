"""When a browser would come up in front of the user."""

from __future__ import annotations

import pytest

from nvoi.cli.demo import has_screen


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "linux", False),
        ({}, "darwin", True),
        ({"DISPLAY": ":0", "SSH_CONNECTION": "192.0.2.1 4000 192.0.2.2 22"}, "linux", False),
        ({"DISPLAY": "localhost:10.0", "SSH_TTY": "/dev/pts/0"}, "linux", False),
        ({"SSH_CONNECTION": "192.0.2.1 4000 192.0.2.2 22"}, "darwin", False),
    ],
)
def test_a_browser_is_opened_only_on_a_screen_of_this_machine(
    environ: dict[str, str], platform: str, expected: bool
) -> None:
    assert has_screen(environ, platform) is expected
