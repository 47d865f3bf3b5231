"""The way to a cluster's API: the kubeconfig of k3s, TLS, and a forward of its port."""

from __future__ import annotations

import json
import secrets
import ssl
import tempfile
from base64 import b64decode
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from urllib3 import HTTPSConnectionPool

from nvoi.command import build_script
from nvoi.errors import NvoiError, RemoteError, RequestError, ServiceError
from nvoi.http import Pool
from nvoi.log.masking import add_secrets
from nvoi.secret import Secret
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, as_root

#: The folders are those of k3s's installer, which sudo's own PATH may lack.
FIND_K3S = "PATH=$PATH:/usr/local/bin:/opt/bin"
#: k3s finds its own kubeconfig. Nothing is printed unless all of it is there.
READ_KUBECONFIG = f"""\
{FIND_K3S}
config=$(k3s kubectl config view --minify --flatten --output=json) || exit
printf '%s\\n' "$config"
"""
LOOPBACK = "127.0.0.1"
HTTPS_PORT = 443
#: Requests that go on at once: a rollout's watches and the lines of a Job, or one for each kind.
CONNECTIONS = 12


@dataclass(frozen=True)
class Kubeconfig:
    """The way to an API as its master has it: certificates and key are PEM."""

    address: str
    port: int
    authority: str
    certificate: str
    key: Secret


class Access:
    """The way to a cluster's API: through a forward of its port, with its master's kubeconfig.

    Args:
        connections: the way to the master.
        host: the master.
    """

    def __init__(self, connections: Connections, host: Host) -> None:
        self._connections = connections
        self._host = host
        self._stack = ExitStack()
        self._opened: tuple[Kubeconfig, ssl.SSLContext, int] | None = None

    def connect(self) -> Pool:
        """Connections to the API. The forward outlives those that are lost.

        Raises:
            ConnectionFailedError: the master cannot be reached.
            RequestError: nothing accepts connections at the API's port.
            NvoiError: there is no kubeconfig.
        """
        if self._opened is None:
            config = get_kubeconfig(self._connections, self._host)
            context = build_ssl_context(config)
            forward = self._connections.forward(self._host, config.address, config.port)
            self._opened = config, context, self._stack.enter_context(forward)
        elif not self._connections.reaches(
            self._host, self._opened[0].address, self._opened[0].port
        ):
            hint = f"see `systemctl status k3s` and sshd's AllowTcpForwarding on {self._host.name}"
            message = "the connection to its port was refused"
            raise RequestError(message, hint=hint, is_silence=True)
        config, context, port = self._opened
        return HTTPSConnectionPool(
            LOOPBACK,
            port,
            maxsize=CONNECTIONS,
            ssl_context=context,
            server_hostname=config.address,
        )

    def close(self) -> None:
        """End it. The next use begins anew."""
        self._stack.close()
        self._opened = None


def get_kubeconfig(connections: Connections, host: Host) -> Kubeconfig:
    """The kubeconfig of k3s on its master, read as root.

    Raises:
        RemoteError: k3s is not there, or nothing is let be done as root.
        ConnectionFailedError: the master cannot be reached.
        ServiceError: it is none.
    """
    command = as_root(host, build_script("nvoi-kubeconfig", READ_KUBECONFIG))
    try:
        result = connections.run(host, command, level=None, whole=True)
    except RemoteError as error:
        outcome = error.output[-1] if error.output else f"exit code {error.status}"
        raise RemoteError(
            str(host),
            "reading the kubeconfig of k3s",
            outcome,
            status=error.status,
            hint=error.hint,
            output=error.output,
        ) from error
    except NvoiError as error:
        # It may have printed a part of the key.
        error.output = ()
        raise
    return parse_kubeconfig(result.stdout)


def parse_kubeconfig(text: str) -> Kubeconfig:
    """The kubeconfig of k3s as JSON; its key is a secret from now on.

    Raises:
        ServiceError: it is none.
    """
    try:
        document: Any = json.loads(text)
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        url = urlsplit(cluster["server"])
        key = user["client-key-data"]
        add_secrets(key)
        return Kubeconfig(
            url.hostname or LOOPBACK,
            url.port or HTTPS_PORT,
            b64decode(cluster["certificate-authority-data"]).decode(),
            b64decode(user["client-certificate-data"]).decode(),
            Secret(b64decode(key).decode()),
        )
    except (ValueError, TypeError, LookupError) as error:
        # Not the text, which may hold anything.
        raise ServiceError(f"the cluster's answer cannot be read: {type(error).__name__}") from None


def build_ssl_context(config: Kubeconfig) -> ssl.SSLContext:
    """TLS that trusts the cluster's own authority and nobody else.

    Its certificates lack what RFC 5280 asks of those of the world, which Python 3.13 insists on
    (kubernetes-client/python, issue 2394). A key can be loaded from a file alone: that has it
    encrypted, with a password that is nowhere else.

    Raises:
        ServiceError: the certificates or the key are none, or there is no room for a file.
    """
    password = secrets.token_hex()
    try:
        context = ssl.create_default_context(cadata=config.authority)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        key = serialization.load_pem_private_key(config.key.reveal().encode(), None)
        encrypted = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password.encode()),
        )
        with tempfile.NamedTemporaryFile() as file:
            file.write(config.certificate.encode() + encrypted)
            file.flush()
            context.load_cert_chain(file.name, password=password)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = type(error).__name__
        raise ServiceError(f"the kubeconfig of k3s cannot be used: {reason}") from None
    return context
