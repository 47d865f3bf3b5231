"""From this machine's store into the cluster's registry, through a forward of SSH.

The engine asks the registry for each layer whether it has it, and sends those that it lacks.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from nvoi.errors import CommandError, NvoiError
from nvoi.images.build import EngineLog
from nvoi.images.engines import BuiltImage, Engine, end_command
from nvoi.images.registries import POD_HINT, Registry, log_in
from nvoi.kubernetes.registry import Credentials
from nvoi.log.levels import get_logger
from nvoi.process import ask, follow
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host
from nvoi.waiting import NotReadyError, Reminder, wait_for

log = get_logger("nvoi.images")

ATTEMPTS = 3
FAR_ENGINE = (
    "an engine in a virtual machine or on another one (DOCKER_HOST) cannot reach a port of "
    "this machine: let it run here"
)
#: Seconds that the registry has to answer before each attempt: as long as a connection that
#: was cut takes to be there again.
PATIENCE = 30.0
#: Below the ports that Linux hands out by itself, 32768 and up (ip(7), ip_local_port_range), and
#: above those that k3s needs: nvoi may run on a server that is to become a node.
FIRST_PORT = 10_300
PORTS = 1_700
#: Ports that are tried before any that is free is taken.
CHOICES = 3


def choose_ports(identity: str) -> tuple[int, ...]:
    """The local ports for a registry, the same in every run; ``identity`` says which it is."""
    digest = hashlib.sha256(identity.encode()).digest()
    return tuple(
        FIRST_PORT + int.from_bytes(digest[4 * choice : 4 * choice + 4], "big") % PORTS
        for choice in range(CHOICES)
    )


@contextmanager
def open_registry(
    connections: Connections,
    host: Host,
    address: str,
    port: int,
    *,
    credentials: Credentials | None = None,
    patience: bool = True,
) -> Iterator[Registry]:
    """The registry that ``host`` sees at ``address``, reached from this machine.

    ``credentials`` and ``patience`` are as a :class:`Registry` has them.

    Its port here is the same in every run where it can be had: Podman remembers which layers
    a registry has by the registry's address, and sends all of them to one that it does not
    know.
    """
    with ExitStack() as stack:
        for choice in (*choose_ports(f"{host.label} {address}:{port}"), 0):
            forward = connections.forward(host, address, port, local_port=choice)
            try:
                local_port = stack.enter_context(forward)
            except NvoiError as error:
                if choice == 0 or type(error) is not NvoiError:
                    raise
                log.debug("%s", error)
                continue
            break
        yield Registry(
            f"127.0.0.1:{local_port}",
            name=f"the registry on {host.name}",
            patience=patience,
            credentials=credentials,
        )


def push(
    engine: Engine,
    image: BuiltImage,
    registry: Registry,
    environ: Mapping[str, str],
    *,
    stamp: str | None = None,
    patience: float = PATIENCE,
) -> str:
    """Bring an image into the registry; what it has of it already is not sent again.

    ``stamp`` is the tag that it gets there, where that is not its own; the registry has
    ``patience`` seconds to answer before each attempt. Returns the digest that it has there.
    """
    environ = {**environ, **engine.environment}
    stamp = stamp or image.stamp
    reference = f"{registry.address}/{image.repository}:{stamp}"
    began = time.monotonic()
    reminder = Reminder(f"the push of {image.tag}", log)
    log.info("pushing %s to %s", image.tag, registry.name)
    try:
        for attempt in range(1, ATTEMPTS + 1):
            _wait_for_registry(registry, image, patience)
            try:
                with log_in(engine, registry, environ) as inside:
                    _run_push(engine, image, reference, inside, reminder)
                break
            except CommandError as error:
                if attempt == ATTEMPTS:
                    raise
                log.warning("%s; trying again, %d of %d", error.message, attempt + 1, ATTEMPTS)
    finally:
        forget = engine.forget(reference)
        if forget:
            ask(forget, environ)
    digest = _get_digest(registry, image, stamp)
    log.ok("pushed %s in %.1f s", image.tag, time.monotonic() - began)
    return digest


def _get_digest(registry: Registry, image: BuiltImage, stamp: str) -> str:
    digest = registry.find_digest(image.repository, stamp)
    if digest is None:
        raise CommandError(
            f"{image.tag} was pushed, but {registry.name} does not have it",
            hint="is there room on the disk of the server that runs it? See its log",
        )
    return digest


def _wait_for_registry(registry: Registry, image: BuiltImage, seconds: float) -> None:
    def look() -> None:
        if not registry.is_up():
            raise NotReadyError("it does not answer")

    try:
        wait_for(look, what=registry.name, seconds=seconds, log=log, pause=0.1)
    except NotReadyError as seen:
        raise CommandError(
            f"{image.tag} cannot be pushed: {registry.name} has not answered for {seconds:.0f} s",
            hint=POD_HINT,
        ) from seen


def _run_push(
    engine: Engine,
    image: BuiltImage,
    reference: str,
    environ: Mapping[str, str],
    reminder: Reminder,
) -> None:
    output = EngineLog("push")
    for words in engine.push(image.tag, reference):
        status = follow(words, environ, output.feed, reminder=reminder, end=end_command)
        if status != 0:
            lines = output.last_lines
            raise CommandError(
                f"{image.tag} cannot be pushed with {engine.name}: {output.describe(status)}",
                hint=FAR_ENGINE if "connection refused" in "\n".join(lines) else "",
                output=lines,
            )
