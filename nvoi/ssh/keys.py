"""The keys that nvoi shows to a server: the config's, then the agent's, then files."""

from __future__ import annotations

import io
import socket
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
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


class Identities:
    """Where keys come from.

    Args:
        keys: the config's pair. Its private half stays in memory.
        agent: the socket of an SSH agent, as ``SSH_AUTH_SOCK`` names it.
        folder: where key files lie, such as ``~/.ssh``.
    """

    def __init__(
        self, keys: SSHKeys | None = None, *, agent: str | None = None, folder: Path | None = None
    ) -> None:
        self._keys = keys
        self._agent = agent
        self._folder = folder

    @property
    def public_key(self) -> str:
        """What belongs into the server's authorized_keys; may be empty."""
        return self._keys.public_key.strip() if self._keys else ""

    def list(self) -> Generator[Identity | str]:
        """The keys in the order in which they are shown, each read when it is asked for.

        In between are texts that say why a key cannot be used. To be closed, as it holds the
        agent.
        """
        if self._keys is not None:
            yield _read_config_key(self._keys)
        yield from self._list_agent()
        for name in FILES if self._folder else ():
            path = Path(self._folder or "", name)
            if path.is_file():
                yield _read_file(path)

    def _list_agent(self) -> Iterator[Identity | str]:
        if not self._agent:
            return
        try:
            agent = _Agent(self._agent)
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
