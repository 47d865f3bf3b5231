"""The step that asks each service of the release as other parts of the cluster would."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import urllib3

from nvoi.errors import ServiceError
from nvoi.kubernetes.cluster import Cluster
from nvoi.log.levels import get_logger
from nvoi.parallel import work_on_all
from nvoi.targets.cluster.context import ClusterContext, Json
from nvoi.targets.step import Step
from nvoi.waiting import NotReadyError, wait_for

log = get_logger("nvoi.cluster")

#: Good answers in a row, seconds between two questions, and seconds until it is given up.
TIMES = 3
PAUSE = 0.2
SECONDS = 15.0
#: The statuses that a probe of Kubernetes takes for good: its documentation, "Configure
#: Liveness, Readiness and Startup Probes".
LEAST, LARGEST = 200, 399


class Streak:
    """Counts good answers in a row."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._count = 0

    def look(self) -> None:
        """Ask once.

        Raises:
            NotReadyError: the answer was bad, or it was not the third good one in a row.
        """
        try:
            self._ask()
        except NotReadyError:
            self._count = 0
            raise
        self._count += 1
        if self._count < TIMES:
            raise NotReadyError(f"{self._count} good answers in a row")


def run(context: ClusterContext) -> None:
    """Ask every service of the release that has a port or a healthcheck's command, all at once.

    Raises:
        HostsError: several do not answer well three times in a row.
        ServiceError: one does not.
    """
    if not context.serving:
        log.info("The release has no services of its own to ask")
    with_address = {item["metadata"]["name"]: item for item in context.services}
    probes = dict(read_probe(item) for item in context.serving if item["kind"] == "Deployment")

    def ask(name: str) -> None:
        probe = probes[name]
        if name in with_address:
            ask_at_port(context, with_address[name], probe)
        elif "exec" in probe:
            ask_inside(context.cluster, name, probe["exec"]["command"])
        else:
            log.info("%s: nothing to ask", name)

    work_on_all([*probes], ask)


def read_probe(deployment: Json) -> tuple[str, Json]:
    """A workload's name, and how its pods are asked whether they are ready."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return deployment["metadata"]["name"], container.get("readinessProbe") or {}


def ask_at_port(context: ClusterContext, service: Json, probe: Json) -> None:
    """Ask at a Service's address, as the probes do at the pods behind it."""
    name, spec, host = service["metadata"]["name"], service["spec"], context.master.host
    address, (port, inner) = spec["clusterIP"], read_port(spec)
    http = probe.get("httpGet") or {}
    if http.get("port") != inner:

        def connect() -> None:
            if not context.connections.reaches(host, address, port):
                raise NotReadyError("nothing accepts connections")

        insist(name, Streak(connect), f"at port {port}")
        return
    seconds = probe.get("timeoutSeconds", 1)
    with context.connections.forward(host, address, port) as local:

        def ask() -> None:
            ask_http(f"http://127.0.0.1:{local}{http['path']}", f"{name}:{port}", seconds)

        insist(name, Streak(ask), f"at {http['path']} on port {port}")


def read_port(spec: Json) -> tuple[int, int]:
    """A Service's port, and that of the pods behind it."""
    (port,) = spec["ports"]
    return port["port"], port.get("targetPort", port["port"])


def ask_http(url: str, name: str, seconds: float) -> None:
    """One request.

    Raises:
        NotReadyError: there was no answer, or a bad one.
    """
    try:
        with urllib3.PoolManager(retries=False, timeout=seconds) as pool:
            answer = pool.request("GET", url, headers={"Host": name}, redirect=False)
    except urllib3.exceptions.HTTPError as error:
        raise NotReadyError(f"no answer: {error}") from error
    if not LEAST <= answer.status <= LARGEST:
        raise NotReadyError(f"it answered {answer.status}")


def ask_inside(cluster: Cluster, name: str, command: Sequence[str]) -> None:
    """Run the healthcheck's command in one of its containers.

    Kubernetes makes one dollar of two in a manifest's commands, and here it does not read them.
    """

    def ask() -> None:
        words = [word.replace("$$", "$") for word in command]
        result = cluster.execute(f"deployment/{name}", words)
        if not result.is_ok:
            raise NotReadyError(f"its healthcheck ended with exit code {result.exit_code}")

    insist(name, Streak(ask), "by its healthcheck's command")


def insist(name: str, streak: Streak, place: str) -> None:
    """Ask until the answers are good."""
    try:
        wait_for(
            streak.look,
            what=f"{name} to answer {place}",
            seconds=SECONDS,
            log=log,
            pause=PAUSE,
        )
    except NotReadyError as seen:
        raise ServiceError(
            f"{name} does not answer {place} from inside the cluster: {seen}",
            hint="its pods are ready: does the healthcheck ask the same as a visitor would?",
        ) from None
    log.info("%s answers %s", name, place)


def plan(context: ClusterContext) -> Iterator[str]:
    """The services that are asked."""
    for service in context.application.app.values():
        check = service.healthcheck
        if service.port is not None:
            yield f"asks {service.name} at port {service.port}, three times good in a row"
        elif check is not None and check.type == "exec":
            yield f"runs the healthcheck's command in {service.name}, three times good in a row"


TRAFFIC: Step[ClusterContext] = Step(name="Traffic check", run=run, plan=plan)
