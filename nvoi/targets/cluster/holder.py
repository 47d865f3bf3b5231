"""Who holds the lock on a master: shown, and ended from outside the run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from nvoi.command import Command, build_script
from nvoi.errors import LockError
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, as_root
from nvoi.targets.cluster.lock_file import END, FIND, LOCK_FILE, read_answer

#: Seconds that reading or ending a holder may take.
SECONDS = 60.0


@dataclass(frozen=True)
class Holder:
    """Whose run holds a lock; all fields are empty where it has not yet said so.

    ``since`` is the moment it began, ISO 8601 in UTC.
    """

    user: str = ""
    machine: str = ""
    since: str = ""
    deploy_id: str = ""
    app: str = ""

    def describe(self) -> str:
        """It, in a line for people."""
        if self == Holder():
            return "a run that has only just begun"
        return (
            f"{self.user or 'somebody'} on {self.machine or 'an unknown machine'}, "
            f"since {self.since or 'an unknown time'} "
            f"(app {self.app or 'unknown'}, deploy {self.deploy_id or 'unknown'})"
        )

    def to_json(self) -> str:
        """Its record, in one line."""
        return json.dumps(asdict(self))


def parse_holder(text: str) -> Holder:
    """The holder that a record tells of; what cannot be read of it stays empty."""
    try:
        record = json.loads(text)
    except ValueError:
        return Holder()
    if not isinstance(record, dict):
        return Holder()
    found = {field.name: record.get(field.name) for field in fields(Holder)}
    return Holder(**{name: value for name, value in found.items() if isinstance(value, str)})


def find_holder(connections: Connections, host: Host, path: str = LOCK_FILE) -> Holder | None:
    """Who holds the lock on ``host``; None where nobody does. Changes nothing.

    Raises:
        ConnectionFailedError: the host cannot be reached.
        RemoteError: it cannot be told.
    """
    return _ask(connections, host, build_script("nvoi-find-holder", FIND, path), path)


def end_holder(
    connections: Connections, host: Host, by: str, path: str = LOCK_FILE
) -> Holder | None:
    """End whoever holds the lock on ``host``, and wait until it has given it back.

    The run itself learns of it when it next checks its lock, and goes no further.

    Args:
        connections: the way there.
        host: the master.
        by: who wants it, as the ended run is told.
        path: the lock file.

    Returns:
        Who it was; None where nobody held it.

    Raises:
        ConnectionFailedError: the host cannot be reached.
        LockError: what holds it is no run of nvoi, or does not end.
        RemoteError: it cannot be told who holds it.
    """
    who = "".join(one if one.isprintable() else " " for one in by)
    command = build_script("nvoi-end-holder", END, path, who)
    return _ask(connections, host, command, path)


def build_refusal(host: Host, path: str, reason: str) -> LockError:
    """The error of a host on which there can be no lock."""
    return LockError(
        f"{host}: there can be no deploy lock: {reason}",
        hint=f"{path} must be writable there, and flock (util-linux) and timeout (coreutils) "
        "installed",
    )


def _ask(connections: Connections, host: Host, command: Command, path: str) -> Holder | None:
    result = connections.run(host, as_root(host, command), timeout=SECONDS, level=None)
    answers = dict(filter(None, map(read_answer, result.lines)))
    if "unable" in answers:
        raise build_refusal(host, path, answers["unable"])
    if "stuck" in answers:
        raise LockError(
            f"{host}: {answers['stuck']}",
            hint=f"`fuser -v {path}` there, as root, lists the processes that have it open",
        )
    return parse_holder(answers["held"]) if "held" in answers else None
