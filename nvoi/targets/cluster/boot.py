"""The first contact with rented servers: until they answer, and have a key of their own.

A new server shows the host key that it was made with, so that the first connection is verified;
whatever runs there may have read that key. It is replaced over this connection by one that is made
there. What was noted at the provider is always true of the server: a run that is cut off between
any two of these steps is gone on from by the next one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from nvoi.command import Command, build_script
from nvoi.errors import AccessError, ConnectionFailedError, HostKeyError, NvoiError
from nvoi.log.levels import get_logger
from nvoi.parallel import work_on_all
from nvoi.providers import Server
from nvoi.ssh.host import Host, as_root
from nvoi.targets.cluster.context import ClusterContext
from nvoi.waiting import NotReadyError, wait_for

log = get_logger("nvoi.cluster")

#: Seconds that a new server may take until it lets nvoi in, and then until cloud-init has ended.
ANSWER_SECONDS = 300.0
CLOUD_INIT_SECONDS = 600
#: Seconds that one may take which was there already.
START_SECONDS = 90.0
#: Seconds for its address among the servers, whose device may come later.
ADDRESS_SECONDS = 120
#: Seconds that sshd may take to show another key, and for which a new server may show a wrong one.
RELOAD_SECONDS = 60.0

KEY_FILE = "/etc/ssh/ssh_host_ed25519_key"
NEXT_FILE = "/etc/ssh/nvoi_next_host_key"
#: Its arguments: the seconds that cloud-init and the server's address may take, that address or
#: nothing, the files of the host key and of the next one, and the key that is to come, if one was
#: noted. It prints the key that is there and, unless that is the one to come, a new one.
#:
#: cloud-init writes host keys itself. `status --wait` has no end where it never runs.
MAKE = """\
set -eu
if command -v cloud-init >/dev/null; then
  timeout "$1" cloud-init status --wait >/dev/null 2>&1 || [ $? -ne 124 ] ||
    { echo "cloud-init has not come to its end within $1 s" >&2; exit 1; }
fi
waited=0
while [ -n "$3" ] && ! ip -o addr show | grep -qF " $3/" && [ "$waited" -lt "$2" ]; do
  waited=$((waited + 1))
  sleep 1
done
key=$4 next=$5
present=$(ssh-keygen -y -f "$key" | cut -d ' ' -f 1,2)
echo "$present"
[ "$present" != "$6" ] || exit 0
rm -f "$next" "$next.pub"
(umask 077 && ssh-keygen -q -t ed25519 -N '' -C '' -f "$next" </dev/null) ||
  { echo "no key was made; does another run replace it at the same time?" >&2; exit 1; }
cut -d ' ' -f 1,2 "$next.pub"
"""
#: Its arguments: the files of the host key and of the next one, and what the key is to be. It may
#: be in place already, or another run may be at work too.
INSTALL = """\
set -eu
present=$1
[ ! -e "$2" ] || present=$2
if [ "$(ssh-keygen -y -f "$present" | cut -d ' ' -f 1,2)" != "$3" ]; then
  echo 'another run replaces the host key at the same time' >&2
  exit 1
fi
if [ "$present" = "$2" ]; then
  mv -f "$2.pub" "$1.pub"
  mv -f "$2" "$1"
fi
systemctl reload ssh
"""
REBUILT = (
    "if the server was not made anew, somebody may be in between: do not go on; if it was, remove "
    "its label `host-key` at the cloud, and deploy again"
)
KIND = "ssh-ed25519 "
REPLACED = (
    "another run may have given the server a key of its own meanwhile: deploy again once that has "
    "ended; if it shows this key then too, it is not the server that was made"
)
READ = 'cut -d " " -f 1,2 "$1.pub"'


def welcome(context: ClusterContext, servers: Sequence[Server]) -> tuple[Server, ...]:
    """The servers, once all new ones answer and show host keys that nobody else can have.

    Of others, which may have been switched on again just now, some may still be away.

    Raises:
        NvoiError: a new one does not; or any shows a host key that is not its own.
    """
    if not context.provider.is_rented:
        return tuple(servers)
    if new := [server.name for server in servers if server.is_new]:
        log.info("Waiting until %s can be reached", ", ".join(new))
    known = work_on_all(
        servers,
        lambda server: (replace_host_key if server.is_new else wait_for_start)(context, server),
    )
    return tuple(known[server] for server in servers)


def wait_for_start(context: ClusterContext, server: Server) -> Server:
    """Wait a while for a server that is known; whether it can be done without is seen later."""
    try:
        wait_for_answer(context, server.host, START_SECONDS, is_known=True)
    except HostKeyError as error:
        raise HostKeyError(error.message, hint=REBUILT) from error
    except ConnectionFailedError as error:
        log.debug("%s", error)
    return server


def replace_host_key(context: ClusterContext, server: Server) -> Server:
    wait_for_answer(context, server.host, ANSWER_SECONDS)
    present, following = make_host_key(context, server)
    if following != present:
        context.provider.keep_host_keys(server, [present, following])
    install = build_script("nvoi-host-key", INSTALL, KEY_FILE, NEXT_FILE, following)
    context.connections.run(server.host, as_root(server.host, install))
    # Over a connection of its own, which no other key opens.
    wait_for_answer(context, replace(server.host, host_keys=(following,)), RELOAD_SECONDS)
    log.ok("%s can be reached, and has a host key that was made there", server.name)
    return context.provider.keep_host_keys(server, [following])


def wait_for_answer(
    context: ClusterContext, host: Host, seconds: float, *, is_known: bool = False
) -> None:
    """Wait until the host lets nvoi in and shows one of its keys.

    One that was never met may listen before it knows who may come in, and with another key for a
    moment.
    """
    wrong: list[float] = []

    def look() -> None:
        try:
            context.connections.run(host, Command("true"), level=None)
        except ConnectionFailedError as error:
            if is_known and isinstance(error, HostKeyError | AccessError):
                raise
            if isinstance(error, HostKeyError):
                wrong.append(time.monotonic())
                if wrong[-1] - wrong[0] >= RELOAD_SECONDS:
                    raise HostKeyError(error.message, hint=REPLACED) from error
            raise NotReadyError(error.message) from error

    what = f"{host.name} to answer"
    try:
        wait_for(look, what=what, seconds=seconds, log=log, pause=0.2, longest_pause=3.0)
    except NotReadyError as seen:
        error = seen.__cause__
        kind = HostKeyError if isinstance(error, HostKeyError) else ConnectionFailedError
        hint = error.hint if isinstance(error, NvoiError) else ""
        raise kind(f"{host} is not to be had after {seconds:.0f} s: {seen}", hint=hint) from None


def make_host_key(context: ClusterContext, server: Server) -> tuple[str, str]:
    """The server's host key, and the one that takes its place: the same, where it has already."""
    host = server.host
    coming = host.host_keys[1] if len(host.host_keys) > 1 else ""
    waits = (CLOUD_INIT_SECONDS, ADDRESS_SECONDS, server.private_ip or "")
    command = build_script("nvoi-host-key", MAKE, *waits, KEY_FILE, NEXT_FILE, coming)
    seconds = CLOUD_INIT_SECONDS + ADDRESS_SECONDS
    result = context.connections.run(
        host, as_root(host, command), timeout=seconds + 60, idle_timeout=seconds + 60
    )
    present, *more = result.lines
    if present not in host.host_keys:
        raise HostKeyError(
            f"{host}: {KEY_FILE} is not the host key that it shows",
            hint=REPLACED,
        )
    return present, more[0] if more else present


def note_host_keys(context: ClusterContext) -> None:
    """Have all later runs know servers by the host keys that they were met with.

    Those that the gem has made have none noted.
    """
    survey = context.survey
    lacking = [one for one in survey.servers if not one.host.host_keys and one.name in survey.facts]
    command = build_script("nvoi-host-key", READ, KEY_FILE)

    def note(server: Server) -> Server:
        result = context.connections.run(server.host, as_root(server.host, command), check=False)
        key = next(iter(result.lines), "")
        return context.provider.keep_host_keys(server, [key]) if key.startswith(KIND) else server

    if context.provider.is_rented and lacking:
        noted = work_on_all(lacking, note)
        survey.servers = tuple(noted.get(server, server) for server in survey.servers)
