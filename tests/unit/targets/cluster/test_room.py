"""What the servers have room for: requests that none can fulfil, and the share of a database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from nvoi.errors import ConfigError, UsageError
from nvoi.k3s.facts import Facts
from nvoi.kubernetes.workloads import Release
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.room import check_room, settle_share
from tests.unit.k3s.servers import GIBIBYTE
from tests.unit.kubernetes.configs import container_of, find
from tests.unit.targets.cluster.runs import LiveCluster, build_disk, connect, see, serving

TEXT = """\
servers:
  main: {master: true, host: 10.0.0.1}
  work: {hosts: [10.0.0.2, 10.0.0.3]}
app:
  web: {servers: [main], port: 3000}
  worker: {servers: [work], resources: WORKER}
database:
  servers: [GROUP]
  adapter: postgres
  resources: DATABASE
  secrets: {POSTGRES_USER: u, POSTGRES_PASSWORD: p, POSTGRES_DB: d}
"""
MAIN, WORK = "node-of-shop-main-1", "node-of-shop-work-1"


def write(group: str = "main", database: str = "{}", worker: str = "{}") -> str:
    words = (("GROUP", group), ("DATABASE", database), ("WORKER", worker))
    text = TEXT
    for word, value in words:
        text = text.replace(word, value)
    return text


def build_pod(node: str, cpu: str | None, app: str = "blog", phase: str = "Running") -> Any:
    resources = {"requests": {"cpu": cpu}} if cpu else {}
    return {
        "metadata": {"namespace": app, "labels": {"app.kubernetes.io/part-of": app}},
        "spec": {"nodeName": node, "containers": [{"resources": resources}]},
        "status": {"phase": phase},
    }


def look(
    text: str, *processors: int, live: Iterable[Any] = (), **found: Sequence[Any]
) -> tuple[ClusterContext, LiveCluster]:
    """A run that has seen servers with so many processors each; 0 is one that is away."""
    context = see(live, text=text)
    context.list_servers()
    survey = context.survey
    for server, number in zip(survey.servers, processors, strict=True):
        if number:
            survey.facts[server.name] = Facts("amd64", processors=number, memory=2 * GIBIBYTE)
        survey.nodes[server.name] = f"node-of-{server.name}"
    survey.servers = tuple(one for one in survey.servers if one.name in survey.facts)
    return context, connect(context, LiveCluster(**found))


def promise(context: ClusterContext) -> tuple[str, str]:
    """What the database is promised, and what it may use."""
    settle_share(context)
    found = container_of(find(context.manifests, "StatefulSet", "db-shop"))["resources"]
    return found["requests"]["cpu"], found["limits"]["cpu"]


def serve(text: str, cpu: str) -> list[Any]:
    """The database as it runs, with a share; the API writes a whole processor as 1."""
    return [serving(item) for item in wait(text, cpu)]


def wait(text: str, cpu: str) -> list[Any]:
    """The same with no pod that is ready."""
    context = see([], text=text)
    context.rollout.database_cpu = cpu
    return [*context.manifests.database]


Logged = pytest.LogCaptureFixture


@pytest.fixture
def logged(caplog: Logged) -> Logged:
    caplog.set_level("INFO")
    return caplog


OTHERS = [
    build_pod(MAIN, "1500m"),
    build_pod(MAIN, None),
    # The app's own count as the config has them: two of web, and one more in a rollout.
    build_pod(MAIN, "900m", "shop"),
    build_pod(MAIN, "400m", phase="Succeeded"),
    build_pod(WORK, "400m"),
]


@pytest.mark.parametrize(
    ("group", "processors", "pods", "share"),
    [
        ("main", (1, 1, 1), [], "500m"),
        ("main", (2, 1, 1), [], "1000m"),
        ("main", (4, 1, 1), [], "1000m"),
        ("main", (0, 1, 1), [], "1000m"),
        # All else on the server has its place first.
        ("main", (2, 1, 1), [build_pod(MAIN, "100m", "k3s"), *OTHERS], "100m"),
        ("main", (4, 1, 1), OTHERS, "1000m"),
        ("main", (1, 1, 1), [build_pod(MAIN, "450m")], "250m"),
        # Where it may be on several servers, the one with the least counts.
        ("work", (4, 4, 1), [], "500m"),
        ("work", (4, 2, 2), [build_pod(WORK, "1300m")], "500m"),
    ],
)
def test_a_database_is_promised_half_of_its_server_where_all_else_leaves_that(
    group: str, processors: tuple[int, ...], pods: list[Any], share: str, logged: Logged
) -> None:
    context, _ = look(write(group), *processors, pods=pods)
    assert promise(context) == (share, share)
    assert ("node-of-shop-" in logged.text) is bool(processors[0])


def test_the_pods_that_bring_visitors_in_have_their_place_too() -> None:
    pods = [build_pod(MAIN, "300m", "k3s")]
    text = write("main").replace("port: 3000", "port: 3000, domain: example.com")
    through = "domain_provider: {%s}\n" + text
    cloudflare, ingress = (
        "cloudflare: {api_token: t, account_id: a}",
        "ingress: {email: a@b.example}",
    )
    # Two of them with 50m each, which a rollout must not lack.
    assert promise(look(through % cloudflare, 1, 1, 1, pods=pods)[0])[0] == "300m"
    assert promise(look(through % ingress, 1, 1, 1, pods=pods)[0])[0] == "400m"


def test_what_a_database_has_stays_while_its_server_is_large_enough(
    logged: Logged,
) -> None:
    text = write("main")
    full = [build_pod(MAIN, "2")]
    for share, processors in (("1000m", 2), ("1000m", 8), ("300m", 4), ("500m", 1)):
        context, cluster = look(text, processors, 1, 1, live=serve(text, share), pods=full)
        assert promise(context) == (share, share)
        # Nothing is asked for: a deploy that changes nothing is as quick as before.
        assert cluster.looks == []
    assert "The database" not in logged.text


def test_a_server_that_is_replaced_by_a_smaller_one_restarts_it_with_the_reason(
    logged: Logged,
) -> None:
    text = write("main")
    context, _ = look(text, 1, 1, 1, live=serve(text, "1000m"))
    assert promise(context) == ("500m", "500m")
    assert (
        "The database starts anew, with 500m of processor time where 1000m was promised: "
        "node-of-shop-main-1 has 1 processor, and all else needs 300m"
    ) in logged.text


def test_a_database_that_waits_for_room_that_others_have_gets_what_is_left(
    logged: Logged,
) -> None:
    # Both were promised a processor of four, and now the server has two.
    text, others = write("main"), [build_pod(MAIN, "1"), build_pod(MAIN, "200m", "k3s")]
    context, _ = look(text, 2, 1, 1, live=wait(text, "1000m"), pods=others)
    assert promise(context) == ("500m", "500m")
    assert "starts anew, with 500m of processor time where 1000m was promised" in logged.text
    # One that is down for another reason stays as it is, and so does one that has the least.
    logged.clear()
    context, _ = look(text, 2, 1, 1, live=wait(text, "100m"), pods=[build_pod(MAIN, "2")])
    assert promise(context) == ("100m", "100m")
    context, _ = look(text, 2, 1, 1, live=wait(text, "800m"), pods=others)
    assert promise(context) == ("800m", "800m")
    assert promise(look(text, 0, 1, 1, live=wait(text, "800m"))[0]) == ("800m", "800m")
    assert "The database" not in logged.text


def test_a_database_is_promised_what_it_may_use_once_the_config_says_no_less(
    logged: Logged,
) -> None:
    before = write("main", "{requests: {cpu: 100m}}")
    context, _ = look(write("main"), 2, 1, 1, live=serve(before, "1000m"))
    assert promise(context) == ("1000m", "1000m")
    assert "starts anew, with 1000m of processor time where 100m was promised" in logged.text


def test_a_disk_tells_which_of_its_servers_a_database_is_on() -> None:
    text = write("work")
    live = serve(text, "1000m")
    disk = build_disk(WORK)
    context, _ = look(text, 4, 2, 1, live=live, persistentvolumes=[disk])
    # The smaller server of its group is none of its business.
    assert promise(context) == ("1000m", "1000m")
    context, _ = look(text, 4, 1, 4, live=live, persistentvolumes=[disk])
    assert promise(context) == ("500m", "500m")


def test_what_the_config_says_counts() -> None:
    for given, pair in (
        ("{limits: {cpu: 2}}", ("2", "2")),
        ("{limits: {cpu: 200m}}", ("200m", "200m")),
        ("{requests: {cpu: 50m}}", ("50m", "1000m")),
    ):
        context, _ = look(write("main", given), 2, 1, 1)
        assert promise(context) == pair


def test_what_would_push_others_away_is_refused() -> None:
    text = write("main", "{limits: {cpu: 1500m}}")
    pods = [build_pod(MAIN, "600m"), build_pod(MAIN, "900m", "shop")]
    context, _ = look(text, 2, 1, 1, pods=pods)
    told = "the database asks for 1500m of processor time, and node-of-shop-main-1 has 1400m beside"
    with pytest.raises(UsageError, match=told):
        settle_share(context)
    # One that has it already keeps it, and a larger server has room.
    assert promise(look(text, 2, 1, 1, live=serve(text, ""), pods=pods)[0])[0] == "1500m"
    assert promise(look(text, 4, 1, 1, pods=pods)[0])[0] == "1500m"


def test_without_a_database_in_the_cluster_nothing_is_asked_for() -> None:
    text = write("main", "{}\n  url: 'postgres://u:p@elsewhere/d'")
    context, cluster = look(text, 1, 1, 1)
    settle_share(context)
    assert cluster.looks == []
    assert context.release == replace(context.release, database_cpu=Release.database_cpu)


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        (
            "database",
            write("main", "{limits: {cpu: 3}}"),
            "asks for 3 of processor time, and shop-main-1 has 2 processors",
        ),
        (
            "app.worker",
            write("main", worker="{requests: {memory: 3Gi}, limits: {memory: 3Gi}}"),
            "asks for 3Gi of memory, and the largest of shop-work-1, shop-work-2 has 2.0 GB",
        ),
    ],
)
def test_a_request_that_no_server_can_fulfil_is_refused_before_anything_changes(
    path: str, text: str, told: str
) -> None:
    context, _ = look(text, 2, 1, 1)
    with pytest.raises(ConfigError) as caught:
        check_room(context)
    assert f"application.{path}.resources: {told}" in str(caught.value)
    # One that is away may be large enough.
    if path == "app.worker":
        context.list_servers()
        del context.survey.facts["shop-work-2"]
    else:
        context, _ = look(text, 3, 1, 1)
    check_room(context)


def test_the_defaults_fit_the_least_server() -> None:
    check_room(look(write("work"), 1, 1, 1)[0])
