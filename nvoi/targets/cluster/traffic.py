"""The step that asks each service of the release as other parts of the cluster would."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import urllib3

from nvoi import parallel
from nvoi.errors import RemoteTimeoutError, ServiceError
from nvoi.kubernetes.names import build_app_selector
from nvoi.kubernetes.ownership import WORKLOADS, Json
from nvoi.kubernetes.progress import count_settling
from nvoi.log.levels import get_logger
from nvoi.operation import PORT_ALONE, Step
from nvoi.parallel import work_on_all
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host
from nvoi.targets.cluster.context import ClusterContext
from nvoi.waiting import IN_A_ROW, ROW_PAUSE, NotReadyError, ask_in_a_row, wait_for

log = get_logger("nvoi.cluster")

#: The least seconds until a service that does not answer well is given up.
LEAST_SECONDS = 15.0
#: Seconds that a pod has to be ready again which is not when all have answered.
STEADY_SECONDS = 60.0
#: Seconds that a command in a container may take to start and to tell its end, beside its own.
EXECUTE_SECONDS = 10.0
#: The statuses that a probe of Kubernetes takes for good, and what it counts where a manifest
#: does not say: its documentation, "Configure Liveness, Readiness and Startup Probes".
LEAST, LARGEST = 200, 399
PERIOD, TIMEOUT = 10, 1


@dataclass(frozen=True)
class Check:
    """How a service is asked: ``place`` is where, as it reads after "to answer".

    ``ask`` raises NotReadyError where an answer is bad, which is let pass for ``seconds``;
    ``limit`` says what was not looked at.
    """

    place: str
    ask: Callable[[], None]
    seconds: float
    limit: str = ""


def run(
    context: ClusterContext,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = parallel.sleep,
) -> None:
    """Ask every service of the release that has a port or a healthcheck's command, all at once.

    Raises:
        HostsError: several do not answer well three times in a row.
        ServiceError: one does not; or a container has ended since its pod was ready.
    """
    with ExitStack() as stack:
        checks = dict(find_checks(context, stack))
        work_on_all(
            [*checks],
            lambda name: wait_for_answers(name, checks[name], clock=clock, sleep=sleep),
        )
    check_steadiness(context)


def check_steadiness(context: ClusterContext) -> None:
    """See that all of the release still runs, and has not ended since it was ready.

    Raises:
        ServiceError: something does not, or has.
    """
    workloads = sorted(one for one in context.rollout.ready if one.kind in WORKLOADS)
    if workloads:
        selector = build_app_selector(context.application.name)
        seconds = STEADY_SECONDS + count_settling(context.rollout.applied)
        context.cluster.follow(workloads, seconds, selector=selector, is_quiet=True)


def find_checks(context: ClusterContext, stack: ExitStack) -> Iterator[tuple[str, Check]]:
    """The services that can be asked; the ways to them are open as long as ``stack`` is."""
    services = {item["metadata"]["name"]: item["spec"] for item in context.rollout.services}
    deployments: list[Json] = [
        item for item in context.rollout.apps if item["kind"] == "Deployment"
    ]
    for item in deployments:
        name = item["metadata"]["name"]
        (container,) = item["spec"]["template"]["spec"]["containers"]
        probe = container.get("readinessProbe") or {}
        if name in services:
            place, ask = build_address_check(context, stack, name, services[name], container)
        elif "exec" in probe:
            place, ask = "by its healthcheck's command", partial(execute, context, name, probe)
        else:
            log.info("%s: nothing to ask", name)
            continue
        # Every healthcheck becomes a livenessProbe too.
        is_bare = "tcpSocket" in probe and "livenessProbe" not in container
        yield name, Check(place, ask, count_seconds(probe), PORT_ALONE if is_bare else "")


def build_address_check(
    context: ClusterContext, stack: ExitStack, name: str, service: Json, container: Json
) -> tuple[str, Callable[[], None]]:
    """Ask at a Service's address, as the probes do at the pods behind it."""
    # Its own port is the first.
    ports = service["ports"][0]
    host, address, port = context.master.host, service["clusterIP"], ports["port"]
    probe = container.get("readinessProbe") or {}
    http = probe.get("httpGet") or {}
    if http.get("port") != find_target(ports, container):
        return f"at port {port}", partial(connect, context.connections, host, address, port)
    local = stack.enter_context(context.connections.forward(host, address, port))
    url, seconds = f"http://127.0.0.1:{local}{http['path']}", probe.get("timeoutSeconds", TIMEOUT)
    return f"at {http['path']} on port {port}", partial(ask_http, url, f"{name}:{port}", seconds)


def find_target(ports: Json, container: Json) -> int | None:
    target: int | str = ports.get("targetPort", ports["port"])
    named = {one.get("name"): one["containerPort"] for one in container.get("ports") or ()}
    return named.get(target) if isinstance(target, str) else target


def count_seconds(probe: Json) -> float:
    """Time for as many checks as are asked, each as slow as the healthcheck lets it be."""
    each = probe.get("periodSeconds", PERIOD) + probe.get("timeoutSeconds", TIMEOUT)
    return max(LEAST_SECONDS, float(IN_A_ROW * each))


def wait_for_answers(
    name: str,
    check: Check,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
) -> None:
    """Ask until there were good answers in a row; those that began in time are waited for.

    Raises:
        ServiceError: there was still a bad one after the check's seconds.
    """
    try:
        wait_for(
            lambda: ask_in_a_row(check.ask, sleep),
            what=f"{name} to answer {check.place}",
            seconds=check.seconds,
            log=log,
            pause=ROW_PAUSE,
            sleep=sleep,
            clock=clock,
        )
    except NotReadyError as seen:
        raise ServiceError(
            f"{name} does not answer {check.place} from inside the cluster: {seen}",
            hint="its pods are ready: does the healthcheck ask the same as a visitor would?",
        ) from None
    log.info("%s answers %s%s", name, check.place, check.limit)


def connect(connections: Connections, host: Host, address: str, port: int) -> None:
    if not connections.reaches(host, address, port):
        raise NotReadyError("nothing accepts connections")


def ask_http(url: str, name: str, seconds: float) -> None:
    try:
        with urllib3.PoolManager(retries=False, timeout=seconds) as pool:
            answer = pool.request("GET", url, headers={"Host": name}, redirect=False)
    except urllib3.exceptions.HTTPError as error:
        raise NotReadyError(f"no answer: {error}") from error
    if not LEAST <= answer.status <= LARGEST:
        raise NotReadyError(f"it answered {answer.status}")


def execute(context: ClusterContext, name: str, probe: Json) -> None:
    # Kubernetes makes one dollar of two in a manifest's commands, and here it does not read them.
    command: Sequence[str] = [word.replace("$$", "$") for word in probe["exec"]["command"]]
    seconds = probe.get("timeoutSeconds", TIMEOUT)
    try:
        result = context.cluster.execute(
            f"deployment/{name}", command, seconds=seconds + EXECUTE_SECONDS
        )
    except RemoteTimeoutError as error:
        raise NotReadyError(f"its healthcheck has not ended after its {seconds} s") from error
    if not result.is_ok:
        raise NotReadyError(f"its healthcheck ended with exit code {result.exit_code}")


def plan(context: ClusterContext) -> Iterator[str]:
    for service in context.application.app.values():
        check = service.healthcheck
        if service.port is not None:
            yield f"asks {service.name} at port {service.port}, three times good in a row"
        elif check is not None and check.type == "exec":
            yield f"runs the healthcheck's command in {service.name}, three times good in a row"
    if context.application.app:
        yield "sees that no container has ended since it was ready"


TRAFFIC: Step[ClusterContext] = Step(name="Traffic check", run=run, plan=plan)
