"""Ports for the apps of tests."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

#: Below those that the system hands out by itself (Linux, ip_local_port_range): a port that an
#: app of a test is to have later is not given to another test's connection meanwhile.
FIRST, LAST = 12_000, 31_999


def find_port() -> int:
    """A port that is free on every local address."""
    while True:
        port = random.randint(FIRST, LAST)
        with suppress(OSError), socket.create_server(("", port)):
            return port
