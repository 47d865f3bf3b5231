"""The keys that nvoi shows to a server: the config's, then the agent's, then files."""

from __future__ import annotations

import io
import socket
from collections.abc import Container, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
from paramiko.agent import AgentSSH

from nvoi.config.schema import SSHKeys
from nvoi.errors import AccessError
from nvoi.ssh.host import Route
from nvoi.ssh.known_hosts import read_key

#: The names that ssh(1) tries by itself, of the kinds that paramiko has.
FILES = ("id_ed25519", "id_ecdsa", "id_rsa")
#: Seconds an agent may take to answer; it may ask its user to confirm a signature.
AGENT_SECONDS = 30.0


@dataclass(frozen=True)
class Identity:
    label: str
    key: paramiko.PKey


class _Agent(AgentSSH):
    """The agent behind a socket; paramiko's own asks the environment for it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(AGENT_SECONDS)
        try:
            self._socket.connect(path)
            self._connect(self._socket)  # type: ignore[attr-defined]  # its stubs lack it
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._close()  # type: ignore[attr-defined]  # its stubs lack it


@dataclass(frozen=True)
class Identities:
    """Where keys come from.

    Args:
        keys: the config's pair. Its private half stays in memory.
        agent: the socket of an SSH agent, as ``SSH_AUTH_SOCK`` names it.
        folder: where key files lie, such as ``~/.ssh``.
    """

    keys: SSHKeys | None = None
    agent: str | None = field(default=None, kw_only=True)
    folder: Path | None = field(default=None, kw_only=True)

    @property
    def public_key(self) -> str:
        """What belongs into the server's authorized_keys; may be empty."""
        return self.keys.public_key.strip() if self.keys else ""

    def list(self, route: Route) -> Generator[Identity | str]:
        """The keys in the order in which they are shown, each read when it is asked for.

        In between are texts that say why a key cannot be used. To be closed, as it holds the
        agent.
        """
        if self.keys is not None:
            yield _read_config_key(self.keys)
        paths = route.key_files
        if paths is None:
            usual = [self.folder / name for name in FILES] if self.folder else []
            paths = tuple(filter(Path.is_file, usual))
        halves = {path: _find_public_half(path) for path in paths}
        shown = set()
        for key in self._list_agent(route, {half for half in halves.values() if half}):
            if isinstance(key, Identity):
                shown.add(key.key.asbytes())
            yield key
        for path, half in halves.items():
            if half not in shown:
                yield _read_file(path, lacks_half=route.only_key_files and not half)

    def _list_agent(self, route: Route, first: Container[bytes]) -> Iterator[Identity | str]:
        """The agent's keys, those in ``first`` before the others."""
        path = self.agent if route.agent is None else route.agent
        if not path:
            return
        try:
            agent = _Agent(path)
        except (OSError, paramiko.SSHException) as error:
            yield f"the SSH agent does not answer: {error}"
            return
        with closing(agent):
            for key in sorted(agent.get_keys(), key=lambda key: key.asbytes() not in first):
                if route.only_key_files and key.asbytes() not in first:
                    return
                comment = getattr(key, "comment", "") or key.get_name()
                yield Identity(f"the agent's key {comment}", key)


def _read_config_key(keys: SSHKeys) -> Identity:
    text = io.StringIO(keys.private_key.reveal())
    try:
        return Identity("ssh_keys of the config", paramiko.Ed25519Key.from_private_key(text))
    except (paramiko.SSHException, ValueError):
        # Without the cause: its text may quote the key.
        raise AccessError(
            "ssh_keys.private_key cannot be used", hint="it must be an Ed25519 key"
        ) from None


def _find_public_half(path: Path) -> bytes | None:
    """The public key of a key file: in a file beside it, or it is one itself."""
    for file in (path.with_name(f"{path.name}.pub"), path):
        try:
            key = read_key(file.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        if key is not None:
            return key.data
    return None


def _read_file(path: Path, *, lacks_half: bool) -> Identity | str:
    try:
        return Identity(str(path), paramiko.PKey.from_path(path))
    except FileNotFoundError:
        return f"{path} is not there"
    except (paramiko.PasswordRequiredException, TypeError):
        half = f", and its public half to {path}.pub" if lacks_half else ""
        return f"{path} has a passphrase: add it to an SSH agent{half}"
    except (OSError, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
        return f"{path} cannot be used: {type(error).__name__}"
