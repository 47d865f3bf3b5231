"""A callback receiver that verifies what it is sent, and misbehaves when asked to.

Run by itself it prints its URL on the first line and, at SIGTERM, one line of JSON with what
it counted::

    python -m tests.fakes.receiver --key KEY --count-only
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Self

from tests.fakes.behaviours import OK, Answer, Behaviour, Exchange
from tests.fakes.connection import Connection
from tests.fakes.ledger import Counts, Ledger
from tests.fakes.listener import HOST, Listener
from tests.fakes.received import Received
from tests.waiting import PATIENCE


class Receiver:
    """A dashboard's callback endpoint on a loopback port, from ``with`` to its end.

    Args:
        key: the deploy key's text.
        tls: a server context makes it https.
        verify: False only counts requests, records and bytes, and keeps none.
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
        self._ledger = Ledger(key.encode("ascii"), path, verify=verify, whole_runs=whole_runs)
        self._changed = self._ledger.changed
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
    def requests(self) -> list[Received]:
        """Every request whose head came, in the order of arrival."""
        with self._changed:
            return list(self._ledger.requests)

    @property
    def accepted(self) -> list[Received]:
        """The requests that were taken, each webhook-id once."""
        with self._changed:
            return list(self._ledger.accepted)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log records of all accepted batches, in the order of arrival."""
        with self._changed:
            return list(self._ledger.lines)

    @property
    def messages(self) -> list[str]:
        """The messages of :attr:`lines`."""
        return [line.get("message", "") for line in self.lines]

    @property
    def statuses(self) -> list[dict[str, Any]]:
        """The bodies of all accepted statuses."""
        with self._changed:
            return list(self._ledger.statuses)

    @property
    def counts(self) -> Counts:
        """The totals so far."""
        with self._changed:
            return dataclasses.replace(self._ledger.counts)

    @property
    def violations(self) -> list[str]:
        """Everything that broke the protocol, in the order of arrival."""
        with self._changed:
            return list(self._ledger.violations)

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
        with self._changed:
            self._script.extend(behaviours)

    def always(self, behaviour: Behaviour) -> None:
        """Make this the default; :data:`~tests.fakes.behaviours.OK` until then."""
        with self._changed:
            self._default = behaviour

    def pause(self) -> None:
        """Be down: open connections end, new ones are refused."""
        self._listener.pause()

    def resume(self) -> None:
        """Be back, on the same port."""
        self._listener.start()

    def expect_new_run(self) -> None:
        """A second run under the same deploy id comes next: its order is judged by itself."""
        self._ledger.expect_new_run()

    def expect_resend(self) -> None:
        """`nvoi resend` comes next: it may send logs of a run that has ended."""
        self._ledger.expect_resend()

    def wait_for(self, predicate: Callable[[Receiver], bool], timeout: float = PATIENCE) -> None:
        """Wait until ``predicate(self)`` holds.

        It is asked after every change, and must not wait itself.

        Raises:
            AssertionError: it did not hold within ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: predicate(self), timeout):
                raise AssertionError(f"waited {timeout} s for the receiver; {self.describe()}")

    def assert_protocol(self) -> None:
        """Raise AssertionError with everything that broke the protocol."""
        if violations := self.violations:
            count = len(violations)
            raise AssertionError(f"{count} protocol violations:\n  " + "\n  ".join(violations))

    def describe(self) -> str:
        """What was seen so far, for a person."""
        with self._changed:
            counts, requests = self._ledger.counts, self._ledger.requests
            states = [status.get("status") for status in self._ledger.statuses]
            last = requests[-1].describe() if requests else "none"
        return (
            f"{counts.requests} requests on {self.connections} connections, {counts.stored} stored"
            f" with {counts.records} records, statuses {states}, last: {last}"
        )

    def _serve(self, connection: Connection) -> None:
        while (head := connection.read_head()) is not None:
            with self._changed:
                behaviour = self._script.popleft() if self._script else self._default
            exchange = Exchange(self._ledger, connection, head)
            behaviour.handle(exchange)
            if not exchange.keeps_alive:
                return


def build_parser() -> argparse.ArgumentParser:
    """The command line of a receiver that runs by itself."""
    parser = argparse.ArgumentParser(description="a callback receiver for tests and benchmarks")
    parser.add_argument("--key", required=True, help="the deploy key's text")
    parser.add_argument("--count-only", action="store_true", help="verify and keep nothing")
    parser.add_argument("--status", type=int, default=200, help="what to answer (200)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Receive until SIGTERM or Ctrl-C; 1 where something broke the protocol."""
    options = build_parser().parse_args(argv)
    # Blocked before the first thread starts, so that sigwait below is their only taker.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with Receiver(options.key, verify=not options.count_only) as receiver:
        if options.status != 200:
            receiver.always(Answer(options.status))
        print(receiver.url, flush=True)
        signal.sigwait(ends)
    violations = receiver.violations
    print(json.dumps(dataclasses.asdict(receiver.counts) | {"violations": violations}), flush=True)
    return 1 if violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
