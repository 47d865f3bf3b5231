"""What is sent on a channel after its end."""

from __future__ import annotations

import io
import socket
from typing import cast

import pytest
from paramiko.common import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_SUCCESS,
    MSG_CHANNEL_REQUEST,
)
from paramiko.message import Message
from paramiko.packet import Packetizer

from nvoi.ssh.transport import Packets


class Line:
    """Both ends of a connection: what is sent is there to be read."""

    def __init__(self) -> None:
        self.sent = io.BytesIO()
        self.at = 0

    def send(self, data: bytes) -> int:
        """Take all of it."""
        self.sent.seek(0, io.SEEK_END)
        return self.sent.write(data)

    def recv(self, size: int) -> bytes:
        """The next bytes."""
        self.sent.seek(self.at)
        data = self.sent.read(size)
        self.at += len(data)
        return data

    @property
    def size(self) -> int:
        """How many bytes were sent."""
        return len(self.sent.getvalue())


def build(kind: int, *numbers: int) -> Message:
    message = Message()
    message.add_byte(bytes([kind]))
    for number in numbers:
        message.add_int(number)
    return message


def sends(packets: Packets, line: Line, message: Message) -> bool:
    """Whether it is sent."""
    before = line.size
    packets.send_message(message)
    return line.size > before


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def packets(line: Line) -> Packets:
    return Packets(cast("socket.socket", line))


@pytest.mark.parametrize(
    "kind", [MSG_CHANNEL_DATA, MSG_CHANNEL_EOF, MSG_CHANNEL_REQUEST, MSG_CHANNEL_CLOSE]
)
def test_nothing_follows_the_end_of_a_channel(packets: Packets, line: Line, kind: int) -> None:
    assert sends(packets, line, build(MSG_CHANNEL_EOF, 3))
    assert sends(packets, line, build(MSG_CHANNEL_CLOSE, 3))
    assert not sends(packets, line, build(kind, 3))


def test_other_channels_go_on(packets: Packets, line: Line) -> None:
    packets.send_message(build(MSG_CHANNEL_CLOSE, 3))
    assert sends(packets, line, build(MSG_CHANNEL_DATA, 4))
    # What opens one begins with no number of a channel.
    assert sends(packets, line, build(MSG_CHANNEL_OPEN, 3))


def test_a_new_channel_may_have_the_number_of_an_ended_one(packets: Packets, line: Line) -> None:
    packets.send_message(build(MSG_CHANNEL_CLOSE, 3))
    line.at = line.size
    answer = build(MSG_CHANNEL_OPEN_SUCCESS, 77, 3, 1 << 20, 1 << 15)
    Packetizer(cast("socket.socket", line)).send_message(answer)
    kind, _ = packets.read_message()
    assert kind == MSG_CHANNEL_OPEN_SUCCESS
    assert sends(packets, line, build(MSG_CHANNEL_EOF, 3))
