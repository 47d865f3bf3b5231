"""Calls of kubectl that outlast a moment in which the cluster does not answer."""

from __future__ import annotations

import time
from collections.abc import Iterable

from nvoi.command import Result
from nvoi.errors import RemoteError
from nvoi.kubernetes.answers import explain, is_passing, summarize
from nvoi.kubernetes.commands import Kubectl
from nvoi.kubernetes.dialogue import SECONDS, Dialogue
from nvoi.kubernetes.workloads import Manifest
from nvoi.log.levels import get_logger
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host

log = get_logger("nvoi.kubernetes")

#: Seconds that the API server has to answer again: k3s starts within a minute on small servers.
PATIENCE = 60.0


class Calls:
    """Calls over one SSH command, from :meth:`start` to :meth:`close`.

    Args:
        connections: the way to the master.
        host: the master.
        pace: seconds until a cluster that did not answer is asked again.
    """

    def __init__(self, connections: Connections, host: Host, pace: float) -> None:
        self._dialogue = Dialogue(connections, host)
        self._host = host
        self._pace = pace
        self._is_away = False

    def start(self) -> None:
        """Begin the command; nothing is waited for."""
        self._dialogue.start()

    @property
    def is_over(self) -> bool:
        """Whether the command has ended, in whatever way."""
        return self._dialogue.is_over

    def close(self) -> None:
        """End the command."""
        self._dialogue.close()

    def run(
        self,
        call: Kubectl,
        what: str,
        *,
        manifests: Iterable[Manifest] = (),
        patience: float = PATIENCE,
        seconds: float = SECONDS,
        quiet: bool = False,
    ) -> Result:
        """Make a call, once more each time that the cluster does not answer.

        Args:
            call: a call that may be made twice.
            what: what it does, as errors say it.
            manifests: what it is given; no error shows their secrets.
            patience: seconds until a cluster that does not answer is given up.
            seconds: how long each try may take.
            quiet: whether it is left out of the log.

        Raises:
            RemoteError: kubectl failed.
            ConnectionFailedError: the host cannot be reached, or the connection broke.
        """
        deadline = time.monotonic() + patience
        while True:
            result = self._dialogue.ask(call, seconds=seconds, quiet=quiet)
            is_away = not result.is_ok and is_passing(result.stderr)
            self._tell(result, is_away=is_away)
            if result.is_ok:
                return result
            if not is_away or time.monotonic() >= deadline:
                raise self._build_error(result, what, manifests)
            time.sleep(self._pace)

    def attempt(self, call: Kubectl, *, seconds: float = SECONDS) -> Result:
        """Make a call once, whatever comes of it."""
        return self._dialogue.ask(call, seconds=seconds)

    def _tell(self, result: Result, *, is_away: bool) -> None:
        """Say once that the cluster does not answer, and that it does again."""
        if is_away and not self._is_away:
            reason = summarize(explain(result.stderr))
            log.warning("The cluster does not answer, and is asked again: %s", reason)
        elif self._is_away and not is_away:
            log.info("The cluster answers again")
        self._is_away = is_away

    def _build_error(self, result: Result, what: str, manifests: Iterable[Manifest]) -> RemoteError:
        sentences = explain(result.stderr, manifests)
        hint = ""
        if is_passing(result.stderr):
            hint = f"see `systemctl status k3s` on {self._host.name}"
        return RemoteError(
            str(self._host),
            what,
            summarize(sentences),
            status=result.exit_code,
            hint=hint,
            output=sentences[1:],
        )
