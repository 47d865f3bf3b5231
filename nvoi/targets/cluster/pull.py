"""The step that has servers pull an image while the pods that it replaces still serve.

Where no second pod takes over, as with a database or a service with mounts, the old one ends before
the new one's image is asked for: one that cannot be had, or takes minutes, would be an outage.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nvoi import parallel
from nvoi.command import Result, build_script
from nvoi.config.registry_logins import find_login
from nvoi.errors import ConnectionFailedError, RemoteError, RemoteTimeoutError, ServiceError
from nvoi.kubernetes.diagnosis import FINAL_PULLS, IMAGE_HINT, PULL_SECONDS
from nvoi.kubernetes.kubeconfig import FIND_K3S
from nvoi.kubernetes.ownership import Json, Manifest, read_reference, read_template
from nvoi.kubernetes.placement import list_allowed_groups, name_service
from nvoi.log.levels import get_logger
from nvoi.log.masking import masker
from nvoi.operation import Step
from nvoi.providers import Server
from nvoi.secret import Secret
from nvoi.ssh.host import as_root
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.release import ROLLOUT_SECONDS
from nvoi.waiting import NotReadyError, Reminder, wait_for

log = get_logger("nvoi.cluster")

#: Its argument: the image. The node's own way to it, with the mirrors and accounts of its
#: registries.yaml (k3s documentation, "Private Registry Configuration"). On its standard input is
#: what the image's registry is logged in to with, where that is anything: crictl takes it from its
#: environment, which root alone may read (crictl pull --help).
SCRIPT = f"""\
{FIND_K3S}
k3s crictl inspecti -q "$1" >/dev/null 2>&1 && exit
read -r CRICTL_AUTH && export CRICTL_AUTH
exec k3s crictl pull "$1"
"""
#: How crictl begins to tell that an image cannot be pulled: else it has not even been asked for.
FAILED = re.compile(r"(?:pulling image|PullImage).*?(?:desc = |: )(.*)", re.IGNORECASE)
#: Seconds between two questions of a registry that is away.
PAUSE = 2.0


@dataclass(frozen=True)
class Pull:
    """An image that a service is about to need on the servers of its groups."""

    service: str
    image: str
    groups: tuple[str, ...]


def pull_all(
    context: ClusterContext,
    live: Iterable[Json],
    wanted: Iterable[Manifest],
    servers: Sequence[Server],
) -> None:
    """Pull what is about to replace the only pod of a workload, on those of ``servers`` it needs.

    Raises:
        ServiceError: an image cannot be had. Nothing has been changed for it by then.
        HostsError: several cannot.
    """
    places = [
        (server, pull)
        for pull in find_pulls(live, wanted)
        for server in servers
        if server.group in pull.groups or not pull.groups
    ]
    parallel.work_on_all(places, lambda place: pull_image(context, *place))


def find_pulls(live: Iterable[Json], wanted: Iterable[Any]) -> list[Pull]:
    """The images of the workloads whose pods end before those that replace them start."""
    old = {read_reference(item): item for item in live}
    return [
        Pull(name_service(item), container["image"], list_allowed_groups(item))
        for item in wanted
        if ends_first(item) and (before := old.get(read_reference(item)))
        if read_template(before) != read_template(item)
        for container in item["spec"]["template"]["spec"]["containers"]
    ]


def ends_first(item: Manifest) -> bool:
    specification: Any = item.get("spec") or {}
    is_recreated = (specification.get("strategy") or {}).get("type") == "Recreate"
    return item["kind"] == "StatefulSet" or is_recreated


def pull_image(
    context: ClusterContext,
    server: Server,
    pull: Pull,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = parallel.sleep,
) -> None:
    """Pull an image on a server; where that cannot even be tried, it is told and no fault."""
    log.info("%s: pulling %s for %s", server.name, pull.image, pull.service)
    try:
        wait_for(
            lambda: try_to_pull(context, server, pull),
            what=f"{pull.image} on {server.name}",
            seconds=PULL_SECONDS,
            log=log,
            pause=PAUSE,
            longest_pause=PAUSE,
            clock=clock,
            sleep=sleep,
        )
    except NotReadyError as seen:
        raise build_failure(server, pull, str(seen)) from None
    except RemoteTimeoutError:
        raise
    except (RemoteError, ConnectionFailedError) as error:
        log.warning("%s: %s is not pulled beforehand: %s", server.name, pull.image, error)


def try_to_pull(context: ClusterContext, server: Server, pull: Pull) -> None:
    """Pull it once.

    Raises:
        ServiceError: it can never be had.
        NotReadyError: this time it cannot.
    """
    script = build_script("nvoi-pull", SCRIPT, pull.image)
    login = find_login(context.application.registries, pull.image)
    result = context.connections.run(
        server.host,
        as_root(server.host, script),
        stdin=Secret(f"{login.basic.reveal()}\n") if login else None,
        timeout=ROLLOUT_SECONDS,
        idle_timeout=ROLLOUT_SECONDS,
        check=False,
        reminder=Reminder(f"{pull.image} on {server.name}", log),
    )
    if result.is_ok:
        return
    reason = find_reason(result)
    if reason is None:
        outcome = f"exit code {result.exit_code}"
        raise RemoteError(str(server.host), "k3s crictl pull", outcome, output=result.stderr[-1:])
    if FINAL_PULLS.search(reason):
        raise build_failure(server, pull, reason)
    raise NotReadyError(reason)


def find_reason(result: Result) -> str | None:
    """Why an image cannot be pulled, in containerd's words."""
    for line in reversed(result.stderr):
        if found := FAILED.search(line):
            return masker.clean_text(found[1].rpartition("desc = ")[2].strip(' "'))
    return None


def build_failure(server: Server, pull: Pull, reason: str) -> ServiceError:
    return ServiceError(
        f"{pull.service}: {pull.image} cannot be pulled on {server.name}: {reason}",
        hint=f"{IMAGE_HINT}; what runs goes on",
    )


def plan(context: ClusterContext) -> Iterator[str]:
    wanted = context.manifests.kept
    names = [name_service(item) for item in wanted if ends_first(item)]
    if context.state.app:
        # What runs is known by now.
        names = [pull.service for pull in find_pulls(context.state.objects, wanted)]
    for name in names:
        yield f"pulls a new image of {name} on its servers while the old one runs"


PULL: Step[ClusterContext] = Step(
    name="Pull",
    run=lambda context: pull_all(
        context, context.state.objects, context.manifests.kept, context.survey.servers
    ),
    plan=plan,
)
