"""What of a config comes to be what of its manifests."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import pytest

from nvoi.kubernetes.manifests import build_priority
from nvoi.kubernetes.pods import BIND, ROOT_CAPABILITIES
from tests.unit.config.texts import hetzner
from tests.unit.kubernetes import configs
from tests.unit.kubernetes.configs import build, container_of, dig, find, pod_of
from tests.unit.kubernetes.schemas import VERSIONS, find_errors

WEB = "app:\n  web: {servers: [main], port: 3000%s}\n"
ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
SPREAD = {
    "maxSkew": 1,
    "topologyKey": "kubernetes.io/hostname",
    # On one node rather than not at all.
    "whenUnsatisfiable": "ScheduleAnyway",
    "labelSelector": {"matchLabels": {"app.kubernetes.io/instance": "shop-web"}},
    "matchLabelKeys": ["pod-template-hash"],
}
REQUESTS = {"memory": "128Mi", "cpu": "100m", "ephemeral-storage": "50Mi"}
LIMITS = {"memory": "512Mi", "cpu": "500m", "ephemeral-storage": "5Gi"}
PROBE = {
    "httpGet": {"path": "/up", "port": 3001, "scheme": "HTTP"},
    "periodSeconds": 1,
    "timeoutSeconds": 60,
    "successThreshold": 1,
}


def deployment(extra: str = "") -> Any:
    return find(build(hetzner(WEB % extra)), "Deployment", "shop-web")


def find_values(secret: Any) -> dict[str, str]:
    return {name: b64decode(value).decode() for name, value in secret["data"].items()}


GROUPS = {"key": "nvoi.io/server-name", "operator": "In", "values": ["main", "Workers_2"]}
AFFINITY = {"nodeSelectorTerms": [{"matchExpressions": [GROUPS]}]}
#: By a config, an object of it and a place in that: what is there.
VALUES: dict[str, object] = {
    # A service with a port runs twice and always has as many pods; one with data never runs twice.
    "web Deployment/shop-web spec.replicas": 2,
    "web Deployment/shop-web spec.strategy": ROLLING,
    "least Deployment/shop-web spec.replicas": 1,
    "mounts Deployment/shop-web spec.replicas": 1,
    "mounts Deployment/shop-web spec.strategy": {"type": "Recreate"},
    "sqlite3 Deployment/shop-web spec.strategy": {"type": "Recreate"},
    "groups Deployment/shop-web spec.replicas": 5,
    "web Deployment/shop-web spec.minReadySeconds": 10,
    "groups Deployment/shop-redis spec.minReadySeconds": 10,
    "web Deployment/shop-web C.image": configs.IMAGE,
    "groups Deployment/shop-redis C.image": "redis:7",
    "mysql StatefulSet/db-shop C.image": "mysql:8.4",
    # Kubernetes makes one dollar of two.
    "every_key Deployment/every-key-web C.command.2": "bin/serve --port $$PORT $$$$",
    "checks Deployment/shop-exec C.livenessProbe.exec.command.2": 'test "$$$$" -gt $$(A)',
    "web Service/shop-web spec.type": "ClusterIP",
    "web Service/shop-web spec.ports.0.port": 3000,
    "web Service/shop-web spec.ports.0.targetPort": "main",
    "groups Service/shop-redis spec.ports.0.port": 6379,
    "postgres Service/db-shop spec.ports.0.port": 5432,
    "mysql Service/db-shop spec.ports.0.port": 3306,
    "mounts Deployment/shop-web P.nodeSelector": {"nvoi.io/server-name": "main"},
    f"groups Deployment/shop-web P.affinity.nodeAffinity.{REQUIRED}": AFFINITY,
    "web Deployment/shop-web P.topologySpreadConstraints": [SPREAD],
    "web Deployment/shop-web C.resources.requests": REQUESTS,
    "web Deployment/shop-web C.resources.limits": LIMITS,
    # Requests still come for a moment, which it has beside its grace.
    "web Deployment/shop-web C.lifecycle.preStop.sleep.seconds": 5,
    "web Deployment/shop-web P.terminationGracePeriodSeconds": 35,
    "mounts Deployment/shop-web P.volumes.0.hostPath": {
        "path": "/opt/nvoi/volumes/shop-main-Uploads_1",
        "type": "Directory",
    },
    "mounts Deployment/shop-web P.volumes.1.hostPath.path": "/opt/nvoi/volumes/shop-main-data",
    "mounts Deployment/shop-search C.volumeMounts.0.mountPath": "/data",
    "postgres StatefulSet/db-shop P.volumes.0.hostPath.path": "/opt/nvoi/volumes/shop-main-data",
    "postgres StatefulSet/db-shop C.volumeMounts.0.mountPath": "/var/lib/postgresql/data",
    "disk StatefulSet/db-shop C.volumeMounts.0.mountPath": "/var/lib/postgresql/data",
    "disk StatefulSet/db-shop spec.volumeClaimTemplates.0.spec.storageClassName": "local-path",
    "mysql StatefulSet/db-shop C.volumeMounts.0.mountPath": "/var/lib/mysql",
    "mysql_elsewhere StatefulSet/db-shop C.args": ["--datadir=/elsewhere"],
    "every_key Deployment/every-key-web C.readinessProbe": PROBE | {"failureThreshold": 7},
    "every_key Deployment/every-key-web C.livenessProbe": PROBE | {"failureThreshold": 60},
    "every_key Deployment/every-key-web C.startupProbe": PROBE | {"failureThreshold": 60},
    # Kubernetes counts in whole seconds.
    "checks Deployment/shop-http C.readinessProbe.periodSeconds": 2,
    "checks Deployment/shop-tcp C.readinessProbe.timeoutSeconds": 1,
    "checks Deployment/shop-tcp C.readinessProbe.failureThreshold": 9,
    "checks Deployment/shop-tcp C.readinessProbe.tcpSocket.port": 81,
    "web Deployment/shop-web C.readinessProbe.tcpSocket.port": 3000,
    "groups Deployment/shop-redis C.readinessProbe.tcpSocket.port": 6379,
    # An image that others have made may take long to start.
    "groups Deployment/shop-redis C.startupProbe.failureThreshold": 300,
    "web PodDisruptionBudget/shop-web spec.maxUnavailable": 1,
    # A Job is tried once, for as long as it may take.
    "mounts Job/shop-web spec.backoffLimit": 0,
    "mounts Job/shop-web spec.activeDeadlineSeconds": 120,
    "mounts Job/shop-web P.restartPolicy": "Never",
    "mounts Job/shop-web C.command": ["/bin/sh", "-c", "bin/migrate"],
}


@pytest.mark.parametrize(("place", "value"), VALUES.items(), ids=VALUES)
def test_a_config_becomes(place: str, value: object) -> None:
    config, name, path = place.split()
    assert dig(find(build(config), *name.split("/")), path) == value


def test_what_a_config_does_not_ask_for_is_left_out() -> None:
    assert [item["kind"] for item in build("least").apps] == ["Deployment"]
    assert "readinessProbe" not in container_of(find(build("least"), "Deployment", "shop-web"))
    assert not {"command", "livenessProbe"} & container_of(deployment()).keys()
    assert "clusterIP" not in find(build("web"), "Service", "shop-web")["spec"]
    assert "PodDisruptionBudget" not in [item["kind"] for item in build("mounts").all]
    assert "args" not in container_of(find(build("mysql"), "StatefulSet", "db-shop"))
    for name in ("sqlite3", "url"):
        assert build(name).database == ()


@pytest.mark.parametrize(
    ("settings", "seconds"), [(", min_ready: 5500ms", 6), (", min_ready: 0", 0)]
)
def test_a_pod_counts_once_it_has_been_ready_for_as_long_as_the_config_says(
    settings: str, seconds: int
) -> None:
    assert deployment(settings)["spec"]["minReadySeconds"] == seconds


def test_limits_can_be_set() -> None:
    web = deployment(", resources: {limits: {memory: 2Gi, ephemeral_storage: 20Gi}}")
    limits = container_of(web)["resources"]["limits"]
    assert limits == {"memory": "2Gi", "cpu": "500m", "ephemeral-storage": "20Gi"}


@pytest.mark.parametrize(
    ("given", "requests", "limits"),
    [
        ("{}", ("1Gi", "500m"), ("1Gi", "500m")),
        ("{limits: {memory: 4Gi}}", ("4Gi", "500m"), ("4Gi", "500m")),
        ("{limits: {memory: 4Gi, cpu: 2}}", ("4Gi", "2"), ("4Gi", "2")),
        ("{requests: {memory: 256Mi, cpu: 1}}", ("256Mi", "1"), ("1Gi", "1000m")),
    ],
)
def test_a_database_is_promised_all_that_it_may_use_unless_the_config_says_less(
    given: str, requests: tuple[str, str], limits: tuple[str, str]
) -> None:
    text = configs.POSTGRES.replace("adapter:", f"resources: {given}\n  adapter:")
    whole = build(hetzner(WEB % "" + text, configs.VOLUME), database_cpu="500m")
    database = find(whole, "StatefulSet", "db-shop")
    # Its QoS class is that of all its containers: there is this one.
    assert "initContainers" not in pod_of(database)
    found = container_of(database)["resources"]
    for pair, part in ((requests, "requests"), (limits, "limits")):
        assert found[part] == dict(zip(("memory", "cpu"), pair, strict=True))


def test_a_database_has_its_place_before_all_else_and_time_to_answer() -> None:
    database = find(build("postgres"), "StatefulSet", "db-shop")
    priority: Any = build_priority("run/1")
    assert pod_of(database)["priorityClassName"] == priority["metadata"]["name"]
    assert "priorityClassName" not in pod_of(deployment())
    assert database["spec"]["serviceName"] == "db-shop"
    probe = container_of(database)["livenessProbe"]
    assert "pg_isready" in probe["exec"]["command"][2]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 600
    for version in VERSIONS:
        assert find_errors(priority, version) == []


@pytest.mark.parametrize(
    ("user", "added", "not_root"),
    [
        ("", ROOT_CAPABILITIES, False),
        ("root", ROOT_CAPABILITIES, False),
        ("0:0", ROOT_CAPABILITIES, False),
        ("1000", (), True),
        ("1000:1001", (), True),
        # Of a name that its image does not know nobody can tell whose it is.
        ("app", (), False),
    ],
)
def test_a_container_may_do_what_its_user_needs(
    user: str, added: Sequence[str], not_root: bool
) -> None:
    web = find(build(hetzner(WEB % ""), user=user), "Deployment", "shop-web")
    context = container_of(web)["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"], "add": sorted((BIND, *added))}
    assert context.get("runAsNonRoot", False) is not_root
    number, _, group = user.partition(":")
    wanted = {"runAsUser": number, "runAsGroup": group} if not_root else {}
    for key in ("runAsUser", "runAsGroup"):
        assert str(context.get(key, "")) == wanted.get(key, "")


def test_what_others_have_made_may_begin_as_root() -> None:
    text = hetzner("app: {web: {servers: [main], image: 'nginx:1', port: 3000}}")
    for config, kind, name in (
        (text, "Deployment", "shop-web"),
        ("groups", "Deployment", "shop-redis"),
        ("postgres", "StatefulSet", "db-shop"),
    ):
        context = container_of(find(build(config, user="1000"), kind, name))["securityContext"]
        assert {*ROOT_CAPABILITIES} < {*context["capabilities"]["add"]}
        assert "runAsNonRoot" not in context


def test_a_service_may_be_given_more() -> None:
    given = "{capabilities: [NET_RAW, SYS_PTRACE], privilege_escalation: true}"
    web = find(build(hetzner(WEB % f", security: {given}"), user="1000"), "Deployment", "shop-web")
    context = container_of(web)["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"], "add": [BIND, "NET_RAW", "SYS_PTRACE"]}
    assert context["allowPrivilegeEscalation"] is True


def test_other_apps_and_namespaces_are_let_in_where_the_config_names_them() -> None:
    def list_peers(names: str) -> Any:
        (policy,) = build(hetzner(WEB % "" + f"let_in: {names}\n")).policies
        spec: Any = policy["spec"]
        (rule,) = spec["ingress"]
        return [one for one in rule.get("from", ["all"]) if "ipBlock" not in one]

    own, *others = list_peers("[blog, namespace/cloudflared]")
    assert own == {"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "shop"}}}
    labels = {"kubernetes.io/metadata.name": "cloudflared"}
    assert others == [
        {"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "blog"}}},
        {"namespaceSelector": {"matchLabels": labels}},
    ]
    assert list_peers('["*"]') == ["all"]


@pytest.mark.parametrize(
    ("check", "seconds"),
    [
        ("{interval: 10s, retries: 3}", 90),
        ("{interval: 1s, retries: 3}", 60),
        ("{interval: 10s, retries: 3, restart_after: 5m}", 300),
        ("{interval: 10s, retries: 3, restart_after: 30s}", 30),
    ],
)
def test_a_service_is_started_anew_long_after_it_gets_no_requests(check: str, seconds: int) -> None:
    container = container_of(deployment(f", healthcheck: {check}"))
    ready, live = container["readinessProbe"], container["livenessProbe"]
    assert live["periodSeconds"] * live["failureThreshold"] == seconds
    assert live["failureThreshold"] >= ready["failureThreshold"]


def test_a_slow_start_is_given_the_time_of_the_healthcheck() -> None:
    web = deployment(", healthcheck: {interval: 20s, retries: 10}")
    probe = container_of(web)["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 200


def test_other_values_make_another_secret_and_roll_the_pods() -> None:
    before, after = (build(hetzner(WEB % f", env: {{A: {x}}}")) for x in "12")
    assert (
        len({find(one, "Secret", "shop-web")["metadata"]["name"] for one in (before, after)}) == 2
    )
    templates = [find(one, "Deployment", "shop-web")["spec"]["template"] for one in (before, after)]
    checksums = [item["metadata"]["annotations"]["nvoi.io/secret-checksum"] for item in templates]
    assert checksums[0] != checksums[1]
    assert all(item["immutable"] is True for item in before.secrets)


@pytest.mark.parametrize(("config", "app"), [("mounts", "shop"), ("every_key", "every-key")])
def test_the_pre_run_command_runs_as_the_service_does(config: str, app: str) -> None:
    (job,) = build(config).jobs
    web, container = find(build(config), "Deployment", f"{app}-web"), container_of(job)
    for key in ("image", "envFrom", "volumeMounts", "resources"):
        assert container[key] == container_of(web)[key]
    assert not {"ports", "readinessProbe", "livenessProbe", "startupProbe"} & set(container)
    assert configs.STAMP in job["metadata"]["name"]  # type: ignore[index]


def test_every_service_has_the_sqlite_database_mounted() -> None:
    manifests = build(
        hetzner(
            "app:\n  web: {servers: [main], port: 1, mounts: {data: /data/}}\n"
            "  worker: {servers: [main]}\n" + configs.SQLITE,
            configs.VOLUME,
        )
    )
    for name in ("shop-web", "shop-worker"):
        (mount,) = container_of(find(manifests, "Deployment", name))["volumeMounts"]
        assert mount["mountPath"].rstrip("/") == "/data"


MYSQL = configs.TEXTS["mysql"]
USER = {"MYSQL_USER": "shop", "MYSQL_PASSWORD": "pa55word"}
LOCAL = {"MYSQL_ROOT_HOST": "localhost", "MYSQL_DATABASE": "shop"}


@pytest.mark.parametrize(
    ("config", "name", "values"),
    [
        ("groups", "shop-redis", {"PASSWORD": "se-cret"}),
        (
            *("postgres", "db-shop"),
            {
                "PGDATA": "/var/lib/postgresql/data/pgdata",
                "POSTGRES_USER": "shop",
                "POSTGRES_PASSWORD": "pa55 word",
                "POSTGRES_DB": "shop",
            },
        ),
        (MYSQL, "db-shop", USER | LOCAL | {"MYSQL_ROOT_PASSWORD": "pa55word"}),
        (
            MYSQL.replace("MYSQL_USER", "MYSQL_ROOT_PASSWORD: own, MYSQL_USER"),
            *("db-shop", USER | LOCAL | {"MYSQL_ROOT_PASSWORD": "own"}),
        ),
        # Root must not be named as a user as well.
        (
            MYSQL.replace("MYSQL_USER: shop", "MYSQL_USER: root"),
            *("db-shop", {"MYSQL_DATABASE": "shop", "MYSQL_ROOT_PASSWORD": "pa55word"}),
        ),
    ],
    ids=["auxiliary", "postgres", "mysql", "own root", "root"],
)
def test_what_runs_beside_the_app_sees_its_own_environment_only(
    config: str, name: str, values: dict[str, str]
) -> None:
    assert find_values(find(build(config), "Secret", name)) == values


def test_stages_come_in_the_order_of_a_deploy() -> None:
    manifests = build("every_key")
    assert {item["kind"] for item in manifests.secrets} == {"Secret"}
    assert [item["kind"] for item in manifests.database] == ["Service", "StatefulSet"]
    assert [item["kind"] for item in manifests.jobs] == ["Job"]
    assert manifests.all[: len(manifests.secrets)] == manifests.secrets
    assert not {"Job"} & {item["kind"] for item in manifests.kept}
