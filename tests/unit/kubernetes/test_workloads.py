from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import pytest

from nvoi.kubernetes.database import build_priority
from nvoi.kubernetes.pods import BIND, ROOT_CAPABILITIES
from tests.unit.config.texts import hetzner
from tests.unit.kubernetes import configs
from tests.unit.kubernetes.configs import build, container_of, find, pod_of
from tests.unit.kubernetes.schemas import VERSIONS, find_errors

WEB = "app:\n  web: {servers: [main], port: 3000%s}\n"


def deployment(extra: str = "", more: str = "", servers: str = "servers: {main: {}}") -> Any:
    text = hetzner(WEB % extra + more, servers)
    return find(build(text), "Deployment", "shop-web")


def values_of(secret: Any) -> dict[str, str]:
    return {name: b64decode(value).decode() for name, value in secret["data"].items()}


def test_a_web_service_runs_twice_and_always_has_as_many_pods() -> None:
    web = deployment()
    assert web["spec"]["replicas"] == 2
    assert web["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }


def test_a_service_without_a_port_runs_once_and_has_no_service_in_front() -> None:
    manifests = build("least")
    web = find(manifests, "Deployment", "shop-web")
    assert web["spec"]["replicas"] == 1
    assert "readinessProbe" not in container_of(web)
    assert [item["kind"] for item in manifests.apps] == ["Deployment"]


def test_a_pod_counts_once_it_has_been_ready_for_as_long_as_the_config_says() -> None:
    for settings, seconds in (("", 10), (", min_ready: 5500ms", 6), (", min_ready: 0", 0)):
        assert deployment(settings)["spec"]["minReadySeconds"] == seconds
    redis = find(build("groups"), "Deployment", "shop-redis")
    assert redis["spec"]["minReadySeconds"] == 10


def test_replicas_of_the_config_count() -> None:
    assert deployment(", replicas: 7")["spec"]["replicas"] == 7


@pytest.mark.parametrize("name", ["mounts", "sqlite3"])
def test_a_service_with_data_runs_once_and_its_releases_never_together(name: str) -> None:
    web = find(build(name), "Deployment", "shop-web")
    assert web["spec"]["replicas"] == 1
    assert web["spec"]["strategy"] == {"type": "Recreate"}


def test_pods_are_spread_over_the_servers() -> None:
    (spread,) = pod_of(deployment())["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["maxSkew"] == 1
    labels = deployment()["spec"]["template"]["metadata"]["labels"]
    assert spread["labelSelector"]["matchLabels"].items() <= labels.items()


def test_a_service_of_two_groups_may_run_on_both() -> None:
    web = find(build("groups"), "Deployment", "shop-web")
    rule = pod_of(web)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = rule["nodeSelectorTerms"]
    assert term["matchExpressions"] == [
        {"key": "nvoi.io/server-name", "operator": "In", "values": ["main", "Workers_2"]}
    ]


def test_a_web_service_is_reached_at_its_port_by_its_name() -> None:
    service = find(build("web"), "Service", "shop-web")
    assert service["spec"]["type"] == "ClusterIP"
    assert "clusterIP" not in service["spec"]
    (port,) = service["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (3000, "main")


def test_resources_have_defaults_and_can_be_set() -> None:
    assert container_of(deployment())["resources"] == {
        "requests": {"memory": "128Mi", "cpu": "100m", "ephemeral-storage": "50Mi"},
        "limits": {"memory": "512Mi", "cpu": "500m", "ephemeral-storage": "5Gi"},
    }
    manifests = build(
        hetzner("app: {web: {servers: [main], port: 3000, resources: {limits: %s}}}")
        % "{memory: 2Gi, ephemeral_storage: 20Gi}"
    )
    assert container_of(find(manifests, "Deployment", "shop-web"))["resources"]["limits"] == {
        "memory": "2Gi",
        "cpu": "500m",
        "ephemeral-storage": "20Gi",
    }


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
    probe = container_of(database)["livenessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 600
    for version in VERSIONS:
        assert find_errors(priority, version) == []


def test_a_service_with_several_pods_loses_one_at_a_time_when_nodes_are_drained() -> None:
    budget = find(build("web"), "PodDisruptionBudget", "shop-web")
    assert budget["spec"]["maxUnavailable"] == 1
    for name in ("least", "mounts"):
        assert "PodDisruptionBudget" not in [item["kind"] for item in build(name).all]


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
    containers = [
        container_of(find(build(text, user="1000"), "Deployment", "shop-web")),
        container_of(find(build("groups", user="1000"), "Deployment", "shop-redis")),
        container_of(find(build("postgres", user="1000"), "StatefulSet", "db-shop")),
    ]
    for container in containers:
        assert {*ROOT_CAPABILITIES} < {*container["securityContext"]["capabilities"]["add"]}
        assert "runAsNonRoot" not in container["securityContext"]


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


def test_a_pod_is_taken_out_of_traffic_before_it_is_ended() -> None:
    pod = pod_of(deployment())
    (container,) = pod["containers"]
    drain = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert drain == 5
    assert pod["terminationGracePeriodSeconds"] == drain + 30


def test_commands_reach_the_shell_as_they_stand() -> None:
    manifests = build("every_key")
    web = find(manifests, "Deployment", "every-key-web")
    # Kubernetes makes one dollar of two.
    assert container_of(web)["command"] == ["/bin/sh", "-c", "bin/serve --port $$PORT $$$$"]
    probe = container_of(find(build("checks"), "Deployment", "shop-exec"))["livenessProbe"]
    assert probe["exec"]["command"][2] == 'test "$$$$" -gt $$(A)'


def test_an_image_s_own_command_is_left_where_there_is_none() -> None:
    assert "command" not in container_of(deployment())


def test_the_image_is_that_of_the_release_or_a_finished_one() -> None:
    assert container_of(deployment())["image"] == configs.IMAGE
    manifests = build(hetzner("app: {web: {servers: [main], image: 'ghcr.io/acme/web:3'}}"))
    assert container_of(find(manifests, "Deployment", "shop-web"))["image"] == "ghcr.io/acme/web:3"


def test_a_healthcheck_becomes_all_three_probes_in_full() -> None:
    container = container_of(find(build("every_key"), "Deployment", "every-key-web"))
    expected = {
        "httpGet": {"path": "/up", "port": 3001, "scheme": "HTTP"},
        "periodSeconds": 1,
        "timeoutSeconds": 60,
        "successThreshold": 1,
        "failureThreshold": 7,
    }
    assert container["readinessProbe"] == expected
    assert container["livenessProbe"] == expected | {"failureThreshold": 60}
    assert container["startupProbe"] == expected | {"failureThreshold": 60}


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


def test_times_are_rounded_up_to_whole_seconds() -> None:
    manifests = build("checks")
    http = container_of(find(manifests, "Deployment", "shop-http"))["readinessProbe"]
    assert (http["periodSeconds"], http["timeoutSeconds"], http["failureThreshold"]) == (2, 5, 3)
    tcp = container_of(find(manifests, "Deployment", "shop-tcp"))["readinessProbe"]
    assert (tcp["tcpSocket"], tcp["timeoutSeconds"]) == ({"port": 81}, 1)
    assert tcp["failureThreshold"] == 9


def test_a_slow_start_is_given_the_time_of_the_healthcheck() -> None:
    web = deployment(", healthcheck: {interval: 20s, retries: 10}")
    probe = container_of(web)["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 200


def test_without_a_healthcheck_a_port_that_accepts_connections_is_enough() -> None:
    container = container_of(deployment())
    assert container["readinessProbe"]["tcpSocket"] == {"port": 3000}
    assert "livenessProbe" not in container


def test_other_values_make_another_secret_and_roll_the_pods() -> None:
    before, after = (build(hetzner(WEB % f", env: {{A: {x}}}")) for x in "12")
    names = {item.secrets[0]["metadata"]["name"] for item in (before, after)}  # type: ignore[index]
    assert len(names) == 2
    templates = [
        find(item, "Deployment", "shop-web")["spec"]["template"] for item in (before, after)
    ]
    checksums = [item["metadata"]["annotations"]["nvoi.io/secret-checksum"] for item in templates]
    assert checksums[0] != checksums[1]
    assert all(item["immutable"] is True for item in before.secrets)


def test_the_pre_run_command_is_a_job_in_the_new_image_tried_once() -> None:
    (job,) = build("mounts").jobs
    spec: Any = job["spec"]
    web = container_of(find(build("mounts"), "Deployment", "shop-web"))
    container = container_of(job)
    assert container["command"] == ["/bin/sh", "-c", "bin/migrate"]
    for key in ("image", "envFrom", "volumeMounts", "resources"):
        assert container[key] == web[key]
    assert not {"ports", "readinessProbe", "livenessProbe", "startupProbe"} & set(container)
    assert spec["backoffLimit"] == 0
    assert spec["activeDeadlineSeconds"] == 120
    assert pod_of(job)["restartPolicy"] == "Never"
    assert configs.STAMP in job["metadata"]["name"]  # type: ignore[index]


def test_volumes_are_folders_of_the_server_that_must_be_there() -> None:
    web = find(build("mounts"), "Deployment", "shop-web")
    assert [volume["hostPath"] for volume in pod_of(web)["volumes"]] == [
        {"path": "/opt/nvoi/volumes/shop-main-Uploads_1", "type": "Directory"},
        {"path": "/opt/nvoi/volumes/shop-main-data", "type": "Directory"},
    ]
    assert pod_of(web)["nodeSelector"] == {"nvoi.io/server-name": "main"}


def test_every_service_has_the_sqlite_database_mounted() -> None:
    manifests = build(
        hetzner(
            "app:\n  web: {servers: [main], port: 1, mounts: {data: /data/}}\n"
            "  worker: {servers: [main]}\n" + configs.SQLITE,
            configs.VOLUME,
        )
    )
    assert manifests.database == ()
    for name in ("shop-web", "shop-worker"):
        (mount,) = container_of(find(manifests, "Deployment", name))["volumeMounts"]
        assert mount["mountPath"].rstrip("/") == "/data"


def test_postgres_keeps_its_data_on_the_server_s_volume() -> None:
    manifests = build("postgres")
    database = find(manifests, "StatefulSet", "db-shop")
    assert pod_of(database)["nodeSelector"] == {"nvoi.io/server-name": "main"}
    (volume,) = pod_of(database)["volumes"]
    assert volume["hostPath"]["path"] == "/opt/nvoi/volumes/shop-main-data"
    container = container_of(database)
    assert container["volumeMounts"][0]["mountPath"] == "/var/lib/postgresql/data"
    assert "volumeClaimTemplates" not in database["spec"]
    assert values_of(find(manifests, "Secret", "db-shop")) == {
        "PGDATA": "/var/lib/postgresql/data/pgdata",
        "POSTGRES_USER": "shop",
        "POSTGRES_PASSWORD": "pa55 word",
        "POSTGRES_DB": "shop",
    }
    assert find(manifests, "Service", "db-shop")["spec"]["ports"][0]["port"] == 5432
    assert "pg_isready" in container["readinessProbe"]["exec"]["command"][2]
    assert database["spec"]["serviceName"] == "db-shop"


def test_a_database_without_a_volume_has_a_disk_that_outlives_it() -> None:
    database = find(build("postgres without a volume"), "StatefulSet", "db-shop")
    (claim,) = database["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "local-path"
    (mount,) = container_of(database)["volumeMounts"]
    assert mount == {"name": claim["metadata"]["name"], "mountPath": "/var/lib/postgresql/data"}


def test_mysql_has_its_own_folder_and_a_password_for_root() -> None:
    manifests = build("mysql")
    container = container_of(find(manifests, "StatefulSet", "db-shop"))
    assert container["volumeMounts"][0]["mountPath"] == "/var/lib/mysql"
    assert "args" not in container
    assert container["image"] == "mysql:8.4"
    values = values_of(find(manifests, "Secret", "db-shop"))
    assert values["MYSQL_ROOT_PASSWORD"] == "pa55word"
    assert values["MYSQL_ROOT_HOST"] == "localhost"
    assert "PGDATA" not in values
    assert find(manifests, "Service", "db-shop")["spec"]["ports"][0]["port"] == 3306


def test_mysql_is_told_of_another_folder() -> None:
    container = container_of(find(build("mysql elsewhere"), "StatefulSet", "db-shop"))
    assert container["args"] == ["--datadir=/elsewhere"]


def test_a_root_password_of_the_config_counts() -> None:
    text = configs.TEXTS["mysql"].replace("MYSQL_USER", "MYSQL_ROOT_PASSWORD: own, MYSQL_USER")
    values = values_of(find(build(text), "Secret", "db-shop"))
    assert values["MYSQL_ROOT_PASSWORD"] == "own"


def test_root_is_not_named_as_a_user_of_mysql() -> None:
    text = configs.TEXTS["mysql"].replace("MYSQL_USER: shop", "MYSQL_USER: root")
    values = values_of(find(build(text), "Secret", "db-shop"))
    assert values == {"MYSQL_DATABASE": "shop", "MYSQL_ROOT_PASSWORD": "pa55word"}


def test_a_database_elsewhere_is_not_run() -> None:
    assert build("url").database == ()


def test_an_auxiliary_service_sees_its_own_environment_only() -> None:
    manifests = build("groups")
    redis = find(manifests, "Deployment", "shop-redis")
    assert container_of(redis)["image"] == "redis:7"
    assert values_of(find(manifests, "Secret", "shop-redis")) == {"PASSWORD": "se-cret"}
    assert container_of(redis)["readinessProbe"]["tcpSocket"] == {"port": 6379}
    assert find(manifests, "Service", "shop-redis")["spec"]["ports"][0]["port"] == 6379
    assert container_of(find(build("mounts"), "Deployment", "shop-search"))["volumeMounts"]


def test_stages_come_in_the_order_of_a_deploy() -> None:
    manifests = build("every_key")
    assert {item["kind"] for item in manifests.secrets} == {"Secret"}
    assert [item["kind"] for item in manifests.database] == ["Service", "StatefulSet"]
    assert [item["kind"] for item in manifests.jobs] == ["Job"]
    assert manifests.all[: len(manifests.secrets)] == manifests.secrets
    assert not {"Job"} & {item["kind"] for item in manifests.kept}
