"""The packets of a connection: nothing is sent on a channel after its end.

What is sent on a channel and the answer to its end come from two threads, and paramiko lets
one overtake the other: input would follow the end of a command that did not wait for it. sshd
gives up the whole connection then, and with it all else that runs there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paramiko.common import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_OPEN_SUCCESS,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
)
from paramiko.packet import Packetizer

if TYPE_CHECKING:
    import socket

    from paramiko.message import Message

#: Messages that go to one channel, whose number follows the kind: RFC 4254, 9.
TO_CHANNEL = range(MSG_CHANNEL_WINDOW_ADJUST, MSG_CHANNEL_REQUEST + 1)


class Packets(Packetizer):
    """As paramiko's, but that it leaves out what comes after a channel's end."""

    def __init__(self, socket: socket.socket) -> None:
        super().__init__(socket)
        #: The channels, by the host's numbers of them, whose end was sent.
        self._ended: set[int] = set()

    def send_message(self, data: Message) -> None:
        """Send it, where its channel has not ended; paramiko lets in one thread at a time."""
        text = data.asbytes()
        if text[0] in TO_CHANNEL:
            channel = int.from_bytes(text[1:5])
            if channel in self._ended:
                return
            if text[0] == MSG_CHANNEL_CLOSE:
                self._ended.add(channel)
        super().send_message(data)

    def read_message(self) -> tuple[int, Message]:
        """The next one. A host gives the number of an ended channel to a new one."""
        kind, message = super().read_message()
        if kind == MSG_CHANNEL_OPEN_SUCCESS:
            # Our number of it, then the host's: RFC 4254, 5.1. The kind is not part of it.
            self._ended.discard(int.from_bytes(message.asbytes()[4:8]))
        return kind, message
