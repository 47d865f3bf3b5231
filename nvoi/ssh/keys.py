"""The keys that nvoi shows to a server: the config's, then the agent's, then files."""

from __future__ import annotations

import io
import socket
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
from paramiko.agent import AgentSSH

from nvoi.config.schema import SSHKeys
from nvoi.errors import AccessError

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

    def list(self) -> Generator[Identity | str]:
        """The keys in the order in which they are shown, each read when it is asked for.

        In between are texts that say why a key cannot be used. To be closed, as it holds the
        agent.
        """
        if self.keys is not None:
            yield _read_config_key(self.keys)
        yield from self._list_agent()
        paths = [self.folder / name for name in FILES] if self.folder else []
        yield from map(_read_file, filter(Path.is_file, paths))

    def _list_agent(self) -> Iterator[Identity | str]:
        if not self.agent:
            return
        try:
            agent = _Agent(self.agent)
        except (OSError, paramiko.SSHException) as error:
            yield f"the SSH agent does not answer: {error}"
            return
        with closing(agent):
            for key in agent.get_keys():
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


def _read_file(path: Path) -> Identity | str:
    try:
        return Identity(str(path), paramiko.PKey.from_path(path))
    except (paramiko.PasswordRequiredException, TypeError):
        return f"{path} has a passphrase: add it to an SSH agent"
    except (OSError, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
        return f"{path} cannot be used: {type(error).__name__}"
