"""A network between this machine and its own ports: what is sent arrives a while later.

    python benchmarks/distance.py MILLISECONDS ADDRESS:PORT...

Prints a port of the same address for each of those that are given, in their order; a connection
to it leads there, and every byte takes so long, each way. Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

CHUNK = 1 << 16

Address = tuple[str, int]


async def move(source: asyncio.StreamReader, target: asyncio.StreamWriter, seconds: float) -> None:
    """Hand on what comes, each piece ``seconds`` after it came."""
    loop = asyncio.get_running_loop()
    coming: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def hand_on() -> None:
        while True:
            due, data = await coming.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                target.write_eof()
                return
            target.write(data)
            await target.drain()

    writer = asyncio.create_task(hand_on())
    with contextlib.suppress(OSError):
        while data := await source.read(CHUNK):
            coming.put_nowait((loop.time() + seconds, data))
    coming.put_nowait((loop.time() + seconds, b""))
    with contextlib.suppress(OSError):
        await writer


async def listen(seconds: float, target: Address) -> int:
    """The port of a new listener whose connections lead to ``target``."""

    async def serve(source: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        # The connection itself takes a way there and back: TCP's SYN, and its answer.
        await asyncio.sleep(2 * seconds)
        answers, there = await asyncio.open_connection(*target)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(move(source, there, seconds), move(answers, back, seconds))
        for end in (there, back):
            end.close()

    server = await asyncio.start_server(serve, target[0], 0)
    return int(server.sockets[0].getsockname()[1])


async def relay(seconds: float, targets: Sequence[Address]) -> None:
    """Listen for all targets until standard input ends."""
    print(*[await listen(seconds, target) for target in targets], flush=True)
    await asyncio.to_thread(sys.stdin.read)


@contextlib.contextmanager
def keep_away(milliseconds: float, targets: Sequence[Address]) -> Iterator[list[int]]:
    """The ports, of the same addresses, that lead to ``targets``; by a process of its own."""
    places = [f"{address}:{port}" for address, port in targets]
    command = [sys.executable, __file__, str(milliseconds), *places]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield [int(port) for port in process.stdout.readline().split()]
        finally:
            process.communicate()


def main() -> None:
    milliseconds, *places = sys.argv[1:]
    pairs = [place.rpartition(":") for place in places]
    targets = [(address, int(port)) for address, _, port in pairs]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(relay(float(milliseconds) / 1e3, targets))


if __name__ == "__main__":
    main()
