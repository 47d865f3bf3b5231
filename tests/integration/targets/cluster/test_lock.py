"""The lock on a master: who gets it, how it is kept, how it is lost."""
# ruff: noqa: F811 - fixtures of the tests over SSH are asked for by their names

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nvoi.config.schema import SSHKeys
from nvoi.errors import LockError, NvoiError
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host
from nvoi.targets.cluster.lock import Heartbeat, Lock, take_lock
from nvoi.targets.cluster.lock_file import Holder, end_holder, find_holder
from tests.integration.ssh.conftest import (  # noqa: F401 - fixtures
    Connect,
    StartServer,
    relay,
    start_server,
)
from tests.integration.ssh.relay import Relay
from tests.integration.ssh.server import Server, list_family
from tests.integration.targets.cluster.conftest import StartMachine
from tests.waiting import PATIENCE, wait_until

ANNA = Holder("anna", "laptop", "2026-01-02T03:04:05Z", "d-anna", "shop")
BEN = Holder("ben", "ci-7", "2026-01-02T03:05:00Z", "d-ben", "blog")
HEARTBEAT = Heartbeat(beat=0.1, silence=30.0)

Take = Callable[..., Lock]


@pytest.fixture(scope="module")
def server(keys: SSHKeys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The master. Each test has a lock file of its own on it."""
    made = Server(tmp_path_factory.mktemp("host"), [keys.public_key])
    yield made
    made.stop()


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The lock file, in a folder that is not there yet."""
    return str(tmp_path / "opt" / "nvoi" / "deploy.lock")


@pytest.fixture
def take(connect: Connect, path: str) -> Iterator[Take]:
    """Takes the lock as a run does, over connections of its own."""
    taken: list[Lock] = []

    def take(
        host: Host,
        holder: Holder = ANNA,
        *,
        wait: float = 0.0,
        heartbeat: Heartbeat = HEARTBEAT,
        **timeouts: float,
    ) -> Lock:
        lock = take_lock(
            connect(**timeouts), host, holder, wait=wait, path=path, heartbeat=heartbeat
        )
        taken.append(lock)
        return lock

    yield take
    for lock in taken:
        lock.release()


def count_scripts(server: Server, path: str) -> int:
    """How many processes on the host hold the lock or wait for it."""
    assert server._process is not None
    count = 0
    for pid in list_family(server._process.pid):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        count += words[:2] == [b"sh", b"-c"] and {b"nvoi-lock", path.encode()} <= {*words}
    return count


def test_the_holder_is_on_record_until_the_release(
    server: Server, connections: Connections, take: Take, path: str
) -> None:
    assert find_holder(connections, server.host, path) is None
    with take(server.host) as lock:
        lock.check()
        assert find_holder(connections, server.host, path) == ANNA
        assert Path(path).stat().st_mode & 0o777 == 0o600
        assert Path(path).parent.stat().st_mode & 0o777 == 0o711
    assert find_holder(connections, server.host, path) is None
    with pytest.raises(LockError, match="has given the deploy lock back"):
        lock.check()


def test_the_second_run_is_told_who_holds_the_lock_and_what_to_do_once_it_has_waited(
    server: Server, take: Take, path: str
) -> None:
    take(server.host)
    began = time.monotonic()
    with pytest.raises(LockError) as caught:
        take(server.host, BEN, wait=1.5)
    assert time.monotonic() - began >= 1.5
    assert "anna on laptop, since 2026-01-02T03:04:05Z (app shop, deploy d-anna)" in str(
        caught.value
    )
    assert "--lock-wait SECONDS" in caught.value.hint
    assert "`nvoi unlock`" in caught.value.hint
    wait_until(lambda: count_scripts(server, path) == 1, "the refused run to leave nothing behind")


def test_those_who_wait_get_the_lock_one_after_the_other(
    server: Server, take: Take, logged: pytest.LogCaptureFixture
) -> None:
    first = take(server.host)
    holding = threading.Semaphore(1)
    got: list[Holder] = []

    def work(holder: Holder) -> None:
        with take(server.host, holder, wait=PATIENCE) as lock:
            assert holding.acquire(blocking=False)
            lock.check()
            assert lock.rival is not None
            got.append(holder)
            holding.release()

    threads = [threading.Thread(target=work, args=(Holder(name),)) for name in ("ben", "cleo")]
    for thread in threads:
        thread.start()
    wait_until(lambda: logged.text.count("Waiting up to") == 2, "both to wait")
    assert "for the deploy lock: anna on laptop" in logged.text
    assert first.rival is None
    first.check()
    first.release()
    for thread in threads:
        thread.join(PATIENCE)
    assert {one.user for one in got} == {"ben", "cleo"}


def test_an_unplugged_runner_frees_the_lock_after_the_silence(
    server: Server, relay: Relay, take: Take
) -> None:
    take(relay.host, heartbeat=Heartbeat(beat=0.1, silence=2.0))
    relay.stall()
    with pytest.raises(LockError, match="anna"):
        take(server.host, BEN)
    take(server.host, BEN, wait=10).check()


def test_a_wait_goes_on_when_its_connection_drops(
    server: Server, relay: Relay, take: Take, logged: pytest.LogCaptureFixture
) -> None:
    first = take(server.host)
    got: list[Lock] = []
    waiting = threading.Thread(target=lambda: got.append(take(relay.host, BEN, wait=PATIENCE)))
    waiting.start()
    wait_until(lambda: "Waiting up to" in logged.text, "the other run to wait")
    accepted = relay.accepted
    relay.cut()
    wait_until(lambda: relay.accepted > accepted, "it to come back")
    first.release()
    waiting.join(PATIENCE)
    got[0].check()


@pytest.mark.parametrize("is_unreachable", [False, True])
def test_a_dropped_connection_loses_the_lock(
    server: Server,
    relay: Relay,
    connections: Connections,
    take: Take,
    path: str,
    *,
    is_unreachable: bool,
) -> None:
    lock = take(relay.host)
    if is_unreachable:
        relay.refuse()
    relay.cut()
    for _ in range(2):
        with pytest.raises(LockError, match="lost the deploy lock: the connection") as caught:
            lock.check()
    assert "what it has changed stays as it is; deploy again" in caught.value.hint
    wait_until(lambda: find_holder(connections, server.host, path) is None, "it to be free")
    take(server.host, BEN).check()


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_lock_that_another_run_had_meanwhile_is_lost(
    server: Server, relay: Relay, take: Take, *, has_ended: bool
) -> None:
    lock = take(relay.host, heartbeat=Heartbeat(beat=0.1, silence=1.0))
    relay.stall()
    other = take(server.host, BEN, wait=PATIENCE)
    if has_ended:
        other.release()
    relay.resume()
    for _ in range(2):
        with pytest.raises(LockError, match="another run took it: ben on ci-7") as caught:
            lock.check()
    assert "deploy again" in caught.value.hint
    if not has_ended:
        other.check()


def test_no_answer_is_never_taken_for_a_lock(relay: Relay, take: Take) -> None:
    lock = take(relay.host, heartbeat=Heartbeat(beat=0.1, silence=0.5))
    relay.stall()
    with pytest.raises(LockError, match="has not answered for 1 s"):
        lock.check()


def test_a_deleted_lock_file_is_a_lost_lock(server: Server, take: Take, path: str) -> None:
    lock = take(server.host)
    shutil.rmtree(Path(path).parent)
    take(server.host, BEN).check()
    with pytest.raises(LockError, match=r"somebody has deleted .*deploy\.lock"):
        lock.check()


def test_a_release_is_quick_though_the_connection_is_dead(relay: Relay, take: Take) -> None:
    lock = take(relay.host)
    relay.stall()
    began = time.monotonic()
    lock.release()
    assert time.monotonic() - began < 5
    relay.refuse()
    relay.cut()
    lock.release()
    assert time.monotonic() - began < 5


def test_unlock_ends_a_run_that_was_unplugged(
    server: Server, relay: Relay, connections: Connections, take: Take, path: str
) -> None:
    lost = take(relay.host, connect=1.0, silence=0.2)
    relay.stall()
    assert end_holder(connections, server.host, "cleo", path) == ANNA
    take(server.host, BEN).check()
    relay.resume()
    with pytest.raises(LockError, match="another run took it: ben on ci-7"):
        lost.check()


def test_unlock_hands_over_to_a_run_that_waits(
    server: Server, connections: Connections, take: Take, path: str
) -> None:
    take(server.host)
    got: list[Lock] = []
    waiting = threading.Thread(
        target=lambda: got.append(take(server.host, BEN, wait=PATIENCE)), daemon=True
    )
    waiting.start()
    wait_until(lambda: count_scripts(server, path) == 2, "the other run to wait")
    assert end_holder(connections, server.host, "cleo", path) == ANNA
    waiting.join(PATIENCE)
    got[0].check()
    assert find_holder(connections, server.host, path) == BEN


def test_unlock_never_ends_what_is_no_run(
    server: Server, connections: Connections, take: Take, path: str
) -> None:
    take(server.host).release()
    file = Path(path)
    stranger = subprocess.Popen(["flock", path, "sh", "-c", "echo; cat"], stdin=-1, stdout=-1)
    try:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        token = file.read_text().split()[1]
        file.write_text(f"{stranger.pid} {token}\n{{not JSON\n")
        found = find_holder(connections, server.host, path)
        assert found is not None
        assert found.describe() == "a run that has only just begun"
        with pytest.raises(LockError, match="is locked, but not by a run of nvoi") as caught:
            end_holder(connections, server.host, "cleo", path)
        assert "fuser" in caught.value.hint
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.communicate()


def test_a_user_with_sudo_takes_keeps_and_ends_the_lock_as_root(
    start_machine: StartMachine, connect: Connect
) -> None:
    machine = start_machine(user="deploy")
    connections = connect()
    with take_lock(connect(), machine.host, ANNA, heartbeat=HEARTBEAT) as lock:
        lock.check()
        assert (machine.root / "opt/nvoi/deploy.lock").exists()
        assert find_holder(connections, machine.host) == ANNA
        assert end_holder(connections, machine.host, "cleo\non tower") == ANNA
        assert find_holder(connections, machine.host) is None
        for _ in range(2):
            with pytest.raises(LockError, match="`nvoi unlock` ended it, by cleo on tower"):
                lock.check()
        assert end_holder(connections, machine.host, "cleo") is None


def test_a_host_without_flock_is_told(
    start_server: StartServer, tmp_path: Path, take: Take
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "mkdir", "timeout"):
        (programs / name).symlink_to(shutil.which(name) or "")
    server = start_server("bare", f"SetEnv PATH={programs}")
    with pytest.raises(NvoiError, match=r"bare .*: there is no program flock") as caught:
        take(server.host)
    assert "util-linux" in caught.value.hint


def test_a_host_that_does_not_say_is_not_waited_for(start_server: StartServer, take: Take) -> None:
    server = start_server("stuck")
    server.add_program("flock", "#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(NvoiError, match=r"stuck .*: the server has not answered for 4 s") as caught:
        take(server.host, heartbeat=Heartbeat(beat=0.1, silence=2.0))
    assert "what keeps flock" in caught.value.hint


def test_a_folder_that_cannot_be_made_is_told(server: Server, take: Take, path: str) -> None:
    folder = Path(path).parent
    folder.parent.mkdir()
    folder.write_text("a file")
    with pytest.raises(NvoiError, match=f"there can be no deploy lock: .*{folder}") as caught:
        take(server.host)
    assert "must be writable" in caught.value.hint


def test_a_full_disk_is_told(server: Server, take: Take, path: str) -> None:
    # Files can be made, and nothing be written to them: setrlimit(2), RLIMIT_FSIZE.
    server.add_program("sh", "#!/bin/sh\ntrap '' XFSZ\nulimit -f 0\nexec /bin/sh \"$@\"\n")
    with pytest.raises(NvoiError, match=r"there can be no deploy lock: .*(error|too large)"):
        take(server.host)
    assert Path(path).read_text() == ""
