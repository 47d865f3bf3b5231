"""What nvoi takes of the network and of a machine's time for servers that are joined by k3s.

Real are sshd, podman, the registry and the installed command. k3s and its API are the fakes of
the tests, which take next to no time, so that nvoi's own share is what is left.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from goals import Goals, describe, find_median
from servers import App, Fleet, connect, move_away, open_app, open_fleet

from nvoi.command import Command
from nvoi.config.schema import SSHKeys
from nvoi.config.ssh_keys import generate_ssh_keys

#: What the speed is for: a second deploy, five servers against one, ssh(1) against nvoi.
ROUND_TRIPS, CONNECTIONS = 12, 1
SERVERS, RATIO = 5, 1.5
FASTER = 20.0

#: Milliseconds to a server, each way: some hundred kilometres and a home's line.
DISTANCE = 50.0

#: Commands of a round, and how many of them go on at a time where they go side by side. sshd
#: takes ten on a connection: sshd_config(5), MaxSessions.
COMMANDS, PROGRAMS, SIDE_BY_SIDE = 100, 10, 8

#: ssh(1) prefers a key exchange that takes longer than the one it has in common with nvoi.
SAME_KEYS = ("-o", "KexAlgorithms=curve25519-sha256")

TRUE = Command("true")
DATABASE = {
    "servers": ["main"],
    "adapter": "postgres",
    "mount": {"data": "/var/lib/postgresql/data"},
    "secrets": {"POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p", "POSTGRES_DB": "d"},
}


@dataclass(frozen=True)
class Asked:
    """What a server was asked for by one run."""

    connections: int
    commands: int


@dataclass(frozen=True)
class Prepared:
    """Seconds until all servers had been looked at, and until all were nodes."""

    seen: float
    whole: float


# A second deploy


def deploy(app: App) -> tuple[float, dict[str, Asked], str]:
    """Deploy once.

    Returns:
        The seconds, what each server was asked for, and what was said.

    Raises:
        RuntimeError: it failed, so that no figure means a thing.
    """
    for group in app.machines:
        app.read_commands(group)
    before = {group: machine.connection_count for group, machine in app.machines.items()}
    began = time.perf_counter()
    outcome = app.run()
    seconds = time.perf_counter() - began
    if outcome.code:
        raise RuntimeError(outcome.output + outcome.errors)
    asked = {
        group: Asked(machine.connection_count - before[group], len(app.read_commands(group)))
        for group, machine in app.machines.items()
    }
    return seconds, asked, outcome.output


def judge_second_deploy(goals: Goals, folder: Path, keys: SSHKeys, rounds: int) -> None:
    """Count what an unchanged deploy asks of its servers: two, with all that an app can have."""
    with open_app(folder, keys, "main", "work") as app:
        app.application |= {
            "database": DATABASE,
            "services": {"cache": {"servers": ["work"], "image": "redis:7", "port": 6379}},
            "volumes": {"main": {"data": {}}},
        }
        app.application["app"]["worker"] = {"servers": ["work"], "command": "work"}
        app.web["pre_run_command"] = "migrate"
        first, _, _ = deploy(app)
        calls = len(app.state.calls)
        runs = [deploy(app) for _ in range(rounds)]
        calls = (len(app.state.calls) - calls) // rounds
        with move_away(app, DISTANCE):
            away = [deploy(app)[0] for _ in range(rounds)]
    _, asked, output = runs[-1]
    for line in output.partition("Where the time went:")[2].splitlines()[1:-1]:
        goals.note(line.partition("[INFO]")[2].strip())
    for group, one in asked.items():
        goals.note(f"{group}: {one.commands} commands over {one.connections} connection")
    goals.note(f"the API is asked {calls} times, all through a forward of the master's connection")
    times = describe([seconds for seconds, _, _ in runs], digits=2)
    goals.note(f"a second deploy: {times} s; the first: {first:.2f} s")
    far = describe(away, digits=2)
    goals.note(f"a second deploy to servers {DISTANCE:g} ms away, each way: {far} s")
    everything = [one for _, found, _ in runs for one in found.values()]
    most = max(one.commands for one in everything)
    goals.at_most("round trips of a second deploy, the busiest server", most, ROUND_TRIPS)
    most = max(one.connections for one in everything)
    goals.at_most("connections of a second deploy, each server", most, CONNECTIONS)


# Servers side by side


def prepare(keys: SSHKeys, number: int, milliseconds: float) -> Prepared:
    """Make new servers the nodes of a cluster."""
    with (
        tempfile.TemporaryDirectory() as name,
        open_fleet(Path(name) / "servers", keys, number, milliseconds) as fleet,
        connect(keys, Path(name)) as connections,
    ):
        began = time.perf_counter()
        facts = fleet.look(connections)
        seen = time.perf_counter() - began
        fleet.run(connections, facts, seconds=60)
        return Prepared(seen, time.perf_counter() - began)


def judge_preparation(goals: Goals, keys: SSHKeys, rounds: int) -> None:
    """Prepare five servers and one in turns, far away and next to each other."""
    pairs = {
        distance: [
            (prepare(keys, SERVERS, distance), prepare(keys, 1, distance)) for _ in range(rounds)
        ]
        for distance in (DISTANCE, 0.0)
    }
    for distance, found in pairs.items():
        place = f"{distance:g} ms away" if distance else "on this machine"
        for what in ("seen", "whole"):
            five, one = ([getattr(pair[side], what) for pair in found] for side in (0, 1))
            ratios = [more / less for more, less in zip(five, one, strict=True)]
            done = {"seen": "looked at", "whole": "prepared"}[what]
            goals.note(
                f"{place}, {done}: {SERVERS} in {describe(five, digits=2)} s, "
                f"one in {describe(one, digits=2)} s, ratio {describe(ratios, digits=2)}"
            )
            if distance:
                name = f"{SERVERS} servers {done} / one, {place}"
                goals.at_most(name, find_median(ratios), RATIO)


# Commands a second


def build_program(fleet: Fleet, keys: SSHKeys, folder: Path) -> list[str]:
    """How ssh(1) is started for a command on the first server."""
    host = fleet.servers[0].host
    key = folder / "key"
    key.touch(0o600)
    key.write_text(keys.private_key.reveal(), encoding="ascii")
    known = folder / "ssh_known_hosts"
    known.write_text(f"{host.label} {fleet.machines[0].host_key}\n", encoding="ascii")
    options = {
        "BatchMode": "yes",
        "IdentityFile": key,
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": known,
        "Port": host.port,
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-F", os.devnull, *words, f"{host.user}@{host.address}", "true"]


def judge_commands(goals: Goals, keys: SSHKeys, rounds: int) -> None:
    """Run commands that do nothing, in turns by nvoi and by ssh(1), on the same sshd."""
    with (
        tempfile.TemporaryDirectory() as name,
        open_fleet(Path(name) / "servers", keys, 1, 0.0) as fleet,
        connect(keys, Path(name)) as connections,
    ):
        host = fleet.servers[0].host
        plain, *words = build_program(fleet, keys, Path(name))

        def run(_: int) -> None:
            connections.run(host, TRUE)

        def start(*options: str) -> Callable[[int], object]:
            command = [plain, *options, *words]
            return lambda _: subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

        run(0)  # connects
        for workers, way in ((1, "one after the other"), (SIDE_BY_SIDE, "side by side")):
            rates = [
                (
                    find_rate(run, COMMANDS, workers),
                    find_rate(start(), PROGRAMS, workers),
                    find_rate(start(*SAME_KEYS), PROGRAMS, workers),
                )
                for _ in range(rounds)
            ]
            own, usual, quick = ([found[index] for found in rates] for index in range(3))
            goals.note(
                f"{way}: {describe(own, digits=0)} commands a second; starting ssh for each "
                f"{describe(usual)}, and with the same key exchange as nvoi {describe(quick)}"
            )
            ratios = [nvoi / ssh for nvoi, _, ssh in rates]
            goals.note(f"against ssh with the same key exchange: {describe(ratios)} times")
            figure = f"commands a second, {way} / starting ssh for each"
            goals.at_least(figure, find_median([nvoi / ssh for nvoi, ssh, _ in rates]), FASTER)


def find_rate(work: Callable[[int], object], number: int, workers: int) -> float:
    """How often a second ``work`` is done, by so many threads."""
    with ThreadPoolExecutor(workers) as pool:
        began = time.perf_counter()
        list(pool.map(work, range(number)))
        return number / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    goals = Goals(f"cluster, {options.rounds} rounds")
    keys = generate_ssh_keys("benchmark")
    with tempfile.TemporaryDirectory() as folder:
        judge_second_deploy(goals, Path(folder) / "app", keys, options.rounds)
    judge_preparation(goals, keys, options.rounds)
    judge_commands(goals, keys, options.rounds)
    goals.leave()


if __name__ == "__main__":
    main()
