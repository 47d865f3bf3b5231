"""A callback receiver that verifies what it is sent, and misbehaves when asked to.

Run by itself it prints its URL, and takes all that comes without a look at it until SIGTERM: for
benchmarks.
"""

from __future__ import annotations

import signal
import ssl
from collections import deque
from collections.abc import Callable
from typing import Self

from tests.fakes.behaviours import OK, Behaviour, Exchange
from tests.fakes.connection import Connection
from tests.fakes.ledger import Ledger
from tests.fakes.listener import HOST, Listener
from tests.waiting import PATIENCE


class Receiver(Ledger):
    """A dashboard's callback endpoint on a loopback port, from ``with`` to its end.

    Args:
        key: the deploy key's text.
        tls: a server context makes it https.
        verify: False only counts requests, and keeps none.
        whole_runs: False for a handler without its stream: no ``started`` comes before logs.
        path: the path of the callback URL.
    """

    def __init__(
        self,
        key: str,
        *,
        tls: ssl.SSLContext | None = None,
        verify: bool = True,
        whole_runs: bool = True,
        path: str = "/api/deploys",
    ) -> None:
        super().__init__(key, path, verify=verify, whole_runs=whole_runs)
        self._script: deque[Behaviour] = deque()
        self._default: Behaviour = OK
        self._listener = Listener(self._serve, tls=tls)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://{HOST}:{self._listener.port}{path}"

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    @property
    def messages(self) -> list[str]:
        """The messages of the records that were taken, in the order of arrival."""
        return [line.get("message", "") for line in list(self.lines)]

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        return self._listener.connections

    @property
    def failed_handshakes(self) -> int:
        """How many clients walked away from the TLS handshake."""
        return self._listener.failed_handshakes

    def script(self, *behaviours: Behaviour) -> None:
        """Use these for the next requests, one each; after them the default again."""
        with self.changed:
            self._script.extend(behaviours)

    def always(self, behaviour: Behaviour) -> None:
        """Make this the default; :data:`~tests.fakes.behaviours.OK` until then."""
        with self.changed:
            self._default = behaviour

    def pause(self) -> None:
        """Be down: open connections end, new ones are refused."""
        self._listener.pause()

    def resume(self) -> None:
        """Be back, on the same port."""
        self._listener.start()

    def wait_for(self, predicate: Callable[[Receiver], bool], timeout: float = PATIENCE) -> None:
        """Wait until ``predicate(self)`` holds.

        It is asked after every change, and must not wait itself.

        Raises:
            AssertionError: it did not hold within ``timeout`` seconds.
        """
        with self.changed:
            if not self.changed.wait_for(lambda: predicate(self), timeout):
                raise AssertionError(f"waited {timeout} s for the receiver; {self.describe()}")

    def assert_protocol(self) -> None:
        """Raise AssertionError with everything that broke the protocol."""
        if violations := self.violations:
            count = len(violations)
            raise AssertionError(f"{count} protocol violations:\n  " + "\n  ".join(violations))

    def describe(self) -> str:
        """What was seen so far, for a person."""
        states = [status.get("status") for status in self.statuses]
        last = self.requests[-1].describe() if self.requests else "none"
        return (
            f"{self.counts.requests} requests on {self.connections} connections with"
            f" {len(self.lines)} records, statuses {states}, last: {last}"
        )

    def _serve(self, connection: Connection) -> None:
        while (head := connection.read_head()) is not None:
            with self.changed:
                behaviour = self._script.popleft() if self._script else self._default
            exchange = Exchange(self, connection, head)
            behaviour.handle(exchange)
            if not exchange.keeps_alive:
                return


def main() -> None:
    # Blocked before the first thread starts, so that sigwait below is their only taker.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with Receiver("", verify=False) as receiver:
        print(receiver.url, flush=True)
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
