"""What is sent on a channel after its end."""

from __future__ import annotations

import socket
from collections.abc import Iterator

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

Line = tuple[socket.socket, socket.socket]


def build(kind: int, *numbers: int) -> Message:
    message = Message()
    message.add_byte(bytes([kind]))
    for number in numbers:
        message.add_int(number)
    return message


@pytest.fixture
def line() -> Iterator[Line]:
    """Both ends of a connection."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def sends(packets: Packets, other: socket.socket, message: Message) -> bool:
    """Whether it is sent."""
    packets.send_message(message)
    try:
        return bool(other.recv(1 << 16))
    except BlockingIOError:
        return False


@pytest.mark.parametrize(
    "kind", [MSG_CHANNEL_DATA, MSG_CHANNEL_EOF, MSG_CHANNEL_REQUEST, MSG_CHANNEL_CLOSE]
)
def test_nothing_follows_the_end_of_a_channel(line: Line, kind: int) -> None:
    packets, other = Packets(line[0]), line[1]
    assert sends(packets, other, build(MSG_CHANNEL_EOF, 3))
    assert sends(packets, other, build(MSG_CHANNEL_CLOSE, 3))
    assert not sends(packets, other, build(kind, 3))


def test_other_channels_go_on(line: Line) -> None:
    packets, other = Packets(line[0]), line[1]
    assert sends(packets, other, build(MSG_CHANNEL_CLOSE, 3))
    assert sends(packets, other, build(MSG_CHANNEL_DATA, 4))
    # What opens one begins with no number of a channel.
    assert sends(packets, other, build(MSG_CHANNEL_OPEN, 3))


def test_a_new_channel_may_have_the_number_of_an_ended_one(line: Line) -> None:
    packets, other = Packets(line[0]), line[1]
    assert sends(packets, other, build(MSG_CHANNEL_CLOSE, 3))
    answer = build(MSG_CHANNEL_OPEN_SUCCESS, 77, 3, 1 << 20, 1 << 15)
    Packetizer(other).send_message(answer)
    kind, _ = packets.read_message()
    assert kind == MSG_CHANNEL_OPEN_SUCCESS
    assert sends(packets, other, build(MSG_CHANNEL_EOF, 3))
