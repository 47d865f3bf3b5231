"""Hosts for tests: real SSH servers on loopback, each with a home, host key and PATH of its own.

A host runs as the user who runs the tests, without any right beyond it. What it would find in
/usr/bin can be replaced by scripts in :attr:`Server.programs`; its ``sudo`` only runs the rest.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.ssh.host import Host
from tests.ports import find_port
from tests.waiting import PATIENCE, wait_until

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
#: sshd as root wants this folder, which a system that never started it does not have.
PRIVILEGE_FOLDER = Path("/run/sshd")

SUDO = """\
#!/bin/sh
printf '%s\n' "$*" >>"$HOME/sudo.log"
while [ "${1#-}" != "$1" ]; do
  [ "$1" = -u ] && shift
  [ "$1" = -- ] && { shift; break; }
  shift
done
exec "$@"
"""


class Server:
    """One host. ``host`` is how nvoi reaches it.

    Args:
        folder: an empty folder for all that it has.
        authorized: the public keys that it lets in.
        name: how the log names it.
        address: one of 127.0.0.0/8.
        port: any that is free where it is left out.
        options: more lines of sshd_config(5), which come first and so win.
    """

    def __init__(
        self,
        folder: Path,
        authorized: Sequence[str],
        *,
        name: str = "web-1",
        address: str = "127.0.0.1",
        port: int | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.address = address
        self.port = port or find_port()
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.home = folder / "home"
        self.programs = folder / "bin"
        self.folder = folder
        self._options = tuple(options)
        self._wrapper: tuple[str, ...] = ()
        self._authorized = folder / "authorized_keys"
        # As sshd sees it.
        self._authorized_path = str(self._authorized)
        self._key_file = folder / "host_key"
        self._pid_file = "none"
        self._process: subprocess.Popen[bytes] | None = None
        for made in (self.home, self.programs):
            made.mkdir(parents=True)
        self._home_path = str(self.home)
        self._path = f"{self.programs}:{os.environ['PATH']}"
        self._prepare()
        self.authorize(*authorized)
        self.change_host_key()
        self.start()

    @property
    def host(self) -> Host:
        """The host as a run has it."""
        return Host(self.name, self.address, self.port, self.user)

    @property
    def log(self) -> str:
        """What sshd has said."""
        return (self.folder / "log").read_text()

    @property
    def connection_count(self) -> int:
        """How many logins it has accepted."""
        return self.log.count("Accepted publickey")

    @property
    def command_count(self) -> int:
        """How many commands it was sent."""
        return self.log.count("Starting session: command")

    def _prepare(self) -> None:
        """What it has beside a home, before it is started."""
        self.add_program("sudo", SUDO)

    def authorize(self, *public_keys: str) -> None:
        """Let these keys in, and no other."""
        self._authorized.write_text("".join(f"{key}\n" for key in public_keys))

    def change_host_key(self) -> str:
        """Give it a new host key, from its next start on; returns the public half."""
        keys = generate_ssh_keys(self.name)
        self._write_host_key(keys.private_key.reveal())
        self.host_key = " ".join(keys.public_key.split()[:2])
        return self.host_key

    def renew_host_key(self) -> str:
        """Switch it off, and on again with a new host key; returns the public half."""
        self.stop()
        new = self.change_host_key()
        self.start()
        return new

    def _write_host_key(self, private: str) -> None:
        self._key_file.unlink(missing_ok=True)
        self._key_file.touch(0o600)
        self._key_file.write_text(private)

    def add_program(self, name: str, script: str) -> None:
        """Put a program of this name before all others in the host's PATH."""
        path = self.programs / name
        path.write_text(script)
        path.chmod(0o755)

    def start(self) -> None:
        """Listen, on the same port as ever."""
        if os.getuid() == 0:
            PRIVILEGE_FOLDER.mkdir(mode=0o755, exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text(self._build_config(*find_more_options()))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._wrapper, SSHD, "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_up(self._process)

    def stop(self, *, sessions: bool = True) -> None:
        """Listen no more; ``sessions`` also ends what runs on it, as switching it off does."""
        process = self._process
        if process is None:
            return
        family = list_family(process.pid) if sessions else [process.pid]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(PATIENCE)
        self._process = None

    def end_sessions(self) -> None:
        """End every connection and what runs on it; it goes on listening."""
        assert self._process is not None
        for pid in list_family(self._process.pid)[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _build_config(self, *more: str) -> str:
        lines = [
            *self._options,
            *more,
            f"ListenAddress {self.address}",
            f"Port {self.port}",
            f"HostKey {self._key_file}",
            f"AuthorizedKeysFile {self._authorized_path}",
            f'SetEnv "HOME={self._home_path}" "PATH={self._path}"',
            f"PidFile {self._pid_file}",
            "UsePAM no",
            "StrictModes no",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PrintMotd no",
            "UseDNS no",
            "MaxStartups 1000",
            "LogLevel VERBOSE",
        ]
        return "".join(f"{line}\n" for line in lines)

    def _wait_until_up(self, process: subprocess.Popen[bytes]) -> None:
        def answers() -> bool:
            assert process.poll() is None, f"sshd does not listen: {self.log}"
            with suppress(OSError), socket.create_connection((self.address, self.port)) as found:
                return found.recv(4) == b"SSH-"
            return False

        wait_until(answers, f"sshd to listen at port {self.port}")


@cache
def find_more_options() -> tuple[str, ...]:
    """Options that an sshd may not know yet: this one came with OpenSSH 9.8."""
    option = "PerSourcePenalties no"
    words = [SSHD, "-G", "-f", "/dev/null", "-o", option.replace(" ", "=")]
    known = subprocess.run(words, capture_output=True, check=False).returncode == 0
    return (option,) if known else ()


def list_family(pid: int) -> list[int]:
    """A process and all below it, parents first."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return [pid]
    return [pid, *(one for child in children for one in list_family(int(child)))]
