"""Whole deploys by the installed command, on servers of one's own."""

from __future__ import annotations

import json
import stat
from base64 import b64encode
from pathlib import Path

import pytest
import urllib3

from nvoi.kubernetes.registry import REGISTRIES_FILE
from tests.integration.cluster.conftest import StartFleet
from tests.integration.cluster.fleet import IMAGE, Fleet
from tests.integration.cluster.machine import DEPLOY_UID, IS_ROOT

DATABASE = {
    "servers": ["main"],
    "adapter": "postgres",
    "mount": {"data": "/var/lib/postgresql/data"},
    "secrets": {"POSTGRES_USER": "u", "POSTGRES_PASSWORD": "pa55word-of-it", "POSTGRES_DB": "d"},
}


def find_steps(output: str) -> list[str]:
    """The steps that a run went through."""
    return [line.partition("[STEP] ")[2] for line in output.splitlines() if "[STEP] " in line]


def find_image(fleet: Fleet, name: str = "shop-web") -> str:
    """What a Deployment runs."""
    (container,) = fleet.state.find("Deployment", name)["spec"]["template"]["spec"]["containers"]
    return str(container["image"])


def list_applied(fleet: Fleet) -> list[str]:
    """What the cluster was asked to do, but for looking."""
    looks = {"get", "watch", "logs"}
    return [" ".join(call) for call in fleet.state.calls if call[0] not in looks]


def write_ssh_config(fleet: Fleet, text: str) -> Path:
    """Write the ~/.ssh/config of who deploys."""
    file = Path(fleet.environ["HOME"]) / ".ssh" / "config"
    file.parent.mkdir(mode=0o700)
    file.write_text(text)
    file.chmod(0o600)
    return file


def test_an_app_is_brought_from_a_dockerfile_to_a_running_release(fleet: Fleet) -> None:
    fleet.build_image()
    outcome = fleet.run()
    assert outcome.code == 0, outcome.output + outcome.errors
    (stamp,) = fleet.list_tags()
    served = find_image(fleet)
    assert served == fleet.find_image(stamp)
    # The build goes on while the servers are prepared.
    lines = outcome.output.splitlines()
    begun = next(n for n, line in enumerate(lines) if "building nvoi-shop:" in line)
    installed = next(n for n, line in enumerate(lines) if "runs as node" in line)
    waited = next(n for n, line in enumerate(lines) if "[STEP] Image" in line)
    assert begun < installed < waited
    # Three times in a row, as a visitor inside the cluster would.
    assert [path for _, path in fleet.visitors.requests] == ["/up"] * 3
    (node,) = fleet.state.objects("Node", None)
    assert node["metadata"]["labels"]["nvoi.io/server-name"] == "main"
    assert fleet.hosts["main"].installations == ["server v1.36.5+k3s1 true"]
    release = fleet.run("releases").output[2:16]
    assert f"Deploy of shop done: release {release}, in " in outcome.output.splitlines()[-1]
    assert "only its port" not in outcome.output
    # What the config does not have is not told.
    assert not {"Volumes", "Database", "Pre-run commands", "Services"} & {
        *find_steps(outcome.output)
    }
    # Nobody who does not have the nodes' password reads an image or puts another in its place.
    for method, path in (("GET", "tags/list"), ("PUT", f"manifests/{stamp}")):
        url = f"{fleet.registry.url}/v2/nvoi-shop/{path}"
        assert urllib3.request(method, url, body=b"{}").status == 401
    credentials = fleet.client.credentials
    assert credentials is not None
    spoken = outcome.output + json.dumps(fleet.state.records) + "".join(fleet.read_commands("main"))
    assert credentials.password.reveal() not in spoken
    assert credentials.basic.reveal() not in spoken
    (mark,) = {node["metadata"]["annotations"]["nvoi.io/registry-access"]}
    assert mark == credentials.mark
    fleet.build_image("COPY what-is-not-there /")
    outcome = fleet.run()
    assert outcome.code == 1
    assert "the image cannot be built: STEP 3/3: COPY what-is-not-there /" in outcome.output
    assert find_image(fleet) == served


def test_a_registry_asks_for_no_password_while_another_app_s_servers_do_not_have_it(
    fleet: Fleet,
) -> None:
    fleet.state.register_node("blog-1", ready=True, labels={"nvoi.io/app.blog": "true"})
    outcome = fleet.run()
    assert outcome.code == 0, outcome.output
    told = (
        "asks for no password yet, as blog-1 could not pull from it then: the next deploy of blog "
    )
    assert told in outcome.output
    assert urllib3.request("GET", f"{fleet.registry.url}/v2/").status == 200
    node = fleet.state.find("Node", "blog-1")
    assert fleet.client.credentials is not None
    node["metadata"]["annotations"] = {"nvoi.io/registry-access": fleet.client.credentials.mark}
    fleet.state.add(node)
    assert "no password" not in fleet.run().output
    assert urllib3.request("GET", f"{fleet.registry.url}/v2/").status == 401


def test_a_second_deploy_of_the_same_costs_few_round_trips_and_starts_nothing_anew(
    start_fleet: StartFleet,
) -> None:
    fleet = start_fleet("main", "work")
    fleet.application |= {
        "database": DATABASE,
        "services": {"cache": {"servers": ["work"], "image": "redis:7", "port": 6379}},
        "volumes": {"main": {"data": {}}},
    }
    fleet.application["app"]["worker"] = {"servers": ["work"], "command": "work"}
    fleet.web["pre_run_command"] = "migrate"
    fleet.build_image("COPY passwd /etc/passwd", "USER app")
    (fleet.checkout / "passwd").write_text("root:x:0:0::/:\napp:x:1001:1002::/:\n")
    assert fleet.run().code == 0
    pods = sorted(fleet.state.names("Pod"))
    for name, user in (("web", 1001), ("worker", 1001), ("cache", None)):
        found = fleet.state.find("Deployment", f"shop-{name}")
        (container,) = found["spec"]["template"]["spec"]["containers"]
        assert container["securityContext"].get("runAsUser") == user
        assert container["securityContext"].get("runAsNonRoot", False) is (user is not None)
    assert fleet.state.names("NetworkPolicy") == ["nvoi-shop"]
    assert fleet.state.names("PodDisruptionBudget") == ["shop-web"]
    assert fleet.state.names("PriorityClass") == ["nvoi-database"]
    assert fleet.state.names("CronJob", "kube-system") == ["nvoi-datastore"]
    pushed = len(fleet.registry.asked)
    # As postgres wants its folder, made by a version that has not noted whose it is.
    volume = fleet.machines["main"].root / "opt/nvoi/volumes/shop-main-data"
    volume.chmod(0o700)
    (note := volume.parent / ".apps/shop/shop-main-data").rmdir()
    before = {group: machine.connection_count for group, machine in fleet.machines.items()}
    for group in fleet.machines:
        fleet.read_commands(group)
    calls = len(fleet.state.calls)
    outcome = fleet.run()
    assert outcome.code == 0, outcome.output
    assert "nothing to push" in outcome.output
    # Nothing is to be pulled, either.
    assert "Pull" not in find_steps(outcome.output)
    # Of which those of a pre_run_command are a quarter.
    asked = [" ".join(call) for call in fleet.state.calls[calls:]]
    assert len(asked) <= 41, asked
    assert asked.count("get nodes") == 1
    applied = [one.partition(" ")[2] for one in asked if one.startswith("apply")]
    assert not [one for one in applied if "db-shop" in one or "shop-cache" in one]
    assert "networkpolicy/nvoi-shop" not in applied
    assert "deployment/nvoi-registry" not in applied
    for group, machine in fleet.machines.items():
        assert machine.connection_count == before[group] + 1
        assert len(fleet.read_commands(group)) <= 12
    assert [one for one in sorted(fleet.state.names("Pod")) if "pre-run" not in one] == [
        one for one in pods if "pre-run" not in one
    ]
    assert not [one for one in fleet.registry.asked[pushed:] if one.method in {"POST", "PUT"}]
    assert note.is_dir()
    assert stat.S_IMODE(volume.stat().st_mode) == 0o700
    assert all(len(host.installations) == 1 for host in fleet.hosts.values())


def test_what_others_have_changed_is_taken_back_though_the_config_has_not_changed(
    fleet: Fleet,
) -> None:
    fleet.application |= {"database": DATABASE, "volumes": {"main": {"data": {}}}}
    assert fleet.run().code == 0
    database = fleet.state.find("StatefulSet", "db-shop")
    (container,) = database["spec"]["template"]["spec"]["containers"]
    image, container["image"] = container["image"], "postgres:13"
    policy, registry = fleet.state.find("NetworkPolicy", "nvoi-shop"), "nvoi-registry"
    policy["spec"]["ingress"] = [{}]
    for item in (database, policy):
        fleet.state.add(item)
    fleet.state.remove("NetworkPolicy", registry, "kube-system")
    assert (outcome := fleet.run()).code == 0, outcome.output
    database = fleet.state.find("StatefulSet", "db-shop")
    assert [one["image"] for one in database["spec"]["template"]["spec"]["containers"]] == [image]
    assert fleet.state.find("NetworkPolicy", "nvoi-shop")["spec"]["ingress"] != [{}]
    assert fleet.state.find("NetworkPolicy", registry, "kube-system") is not None


def test_no_secret_is_read_but_the_records_of_the_app_s_own_releases(fleet: Fleet) -> None:
    fleet.application["secrets"] = {"API_TOKEN": "t0ken-of-the-app"}
    for name, labels in (("tls", {}), ("blog-web", {"app.kubernetes.io/managed-by": "nvoi"})):
        metadata = {"name": name, "namespace": "default", "labels": labels}
        data = {"password": "b3RoZXI="}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        fleet.state.add(secret)
    for verb, image in (
        ("deploy", IMAGE),
        ("deploy", f"{IMAGE}0"),
        ("releases", ""),
        ("delete --yes", ""),
    ):
        fleet.web["image"] = image or fleet.web["image"]
        outcome = fleet.run(*verb.split())
        assert outcome.code == 0, outcome.output
    read = fleet.state.secrets_read
    assert read
    assert {name.rpartition("-")[0] for name in read} == {"nvoi-shop-release"}
    assert fleet.state.names("Secret") == ["blog-web", "tls"]


def test_private_images_are_pulled_with_the_config_s_login_which_nobody_else_sees(
    fleet: Fleet,
) -> None:
    login = {"username": "robot", "password": "pa55word-of-the-registry"}
    fleet.state.scenario(logins={"registry.example": "robot:pa55word-of-the-registry"})
    fleet.application |= {"volumes": {"main": {"data": {}}}, "registries": {}}
    service = {"servers": ["main"], "image": "registry.example/search:1", "mount": {"data": "/d"}}
    fleet.application["services"] = {"search": service}
    refused = fleet.run()
    assert refused.code == 1
    assert "its registry is under `registries` in the config" in refused.output
    fleet.application["registries"] = {"registry.example": login}
    outcomes = [fleet.run()]
    # Its one pod ends before the next starts: the node pulls the image first, with the login.
    service["image"] = "registry.example/search:2"
    outcomes.append(fleet.run())
    assert [one.code for one in outcomes] == [0, 0], outcomes[-1].output
    assert "shop-main-1: pulling registry.example/search:2 for search" in outcomes[-1].output
    pods = fleet.state.objects("Pod")
    assert {str(pod["spec"]["imagePullSecrets"]) for pod in pods} == {
        "[{'name': 'nvoi-shop-registries'}]"
    }
    before = fleet.state.find("Secret", "nvoi-shop-registries")["data"]
    fleet.application["registries"] = {"registry.example": login | {"password": "wr0ng-password"}}
    fleet.web["image"] = "registry.example/web:2"
    outcomes.append(fleet.run())
    assert outcomes[-1].code == 1
    assert "401 Unauthorized" in outcomes[-1].output
    assert fleet.state.find("Secret", "nvoi-shop-registries")["data"] == before
    secret = b64encode(b"robot:pa55word-of-the-registry").decode()
    told = "".join(one.output + one.errors for one in outcomes)
    told += fleet.hosts["main"].read("opt/fake/crictl.log") + fleet.master.log
    told += fleet.master.read(REGISTRIES_FILE) + json.dumps(fleet.state.records)
    for hidden in ("pa55word-of-the-registry", secret, "wr0ng-password"):
        assert hidden not in told
    assert fleet.run("delete", "--yes").code == 0
    assert fleet.state.names("Secret") == []


def test_what_somebody_else_has_made_is_told_and_left_alone(fleet: Fleet) -> None:
    assert (first := fleet.run()).code == 0, first.output
    for kind in ("Service", "Secret"):
        (name,) = (one for one in fleet.state.names(kind) if one.startswith("shop-web"))
        own, item = fleet.state.find(kind, name), fleet.state.find(kind, name)
        item["metadata"]["labels"]["app.kubernetes.io/part-of"] = "shop-web"
        fleet.state.add(item)
        item = fleet.state.find(kind, name)
        outcome = fleet.run()
        assert outcome.code == 1
        assert f"the cluster has {kind.lower()}/{name}, which nvoi did not make" in outcome.output
        assert fleet.state.find(kind, name) == item
        fleet.state.add(own)


def test_secrets_database_command_services_and_app_come_in_this_order(fleet: Fleet) -> None:
    fleet.application |= {
        "database": DATABASE,
        "services": {"cache": {"servers": ["main"], "image": "redis:7", "port": 6379}},
        "volumes": {"main": {"data": {}}},
        "secrets": {"API_TOKEN": "t0ken-of-the-app"},
    }
    fleet.web["pre_run_command"] = "migrate"
    fleet.state.behave(IMAGE, logs=["migrated 12 tables"])
    outcome = fleet.run()
    assert outcome.code == 0, outcome.output
    steps = find_steps(outcome.output)
    order = ["Secrets", "Database", "Pre-run commands", "Services", "App", "Traffic check"]
    assert [step for step in steps if step in order] == order
    assert "migrated 12 tables" in outcome.output
    secrets = {
        name.rpartition("-")[0]: one.get("data", {})
        for one in fleet.state.objects("Secret")
        if "release" not in (name := one["metadata"]["name"])
    }
    assert set(secrets) == {"shop-web", "shop-cache", "db-shop"}
    # No service sees another's.
    assert "API_TOKEN" in secrets["shop-web"]
    assert "API_TOKEN" not in secrets["shop-cache"]
    assert "API_TOKEN" not in secrets["db-shop"]
    assert (fleet.machines["main"].root / "opt/nvoi/volumes/shop-main-data").is_dir()
    spoken = outcome.output + json.dumps(fleet.state.records)
    assert "t0ken-of-the-app" not in spoken
    assert "pa55word-of-it" not in spoken


@pytest.mark.skipif(not IS_ROOT, reason="nobody else may give a folder away")
def test_a_volume_is_everybody_s_until_the_config_says_whose_it_is(fleet: Fleet) -> None:
    fleet.application["volumes"] = {"main": {"data": {}, "open": {}}}
    fleet.web["mounts"] = {"data": "/data"}
    assert fleet.run().code == 0
    folders = [
        fleet.master.root / f"opt/nvoi/volumes/shop-main-{name}" for name in ("data", "open")
    ]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o777, 0o777]
    (folders[0] / "kept").write_text("kept")
    fleet.application["volumes"]["main"]["data"] = {"uid": DEPLOY_UID}
    outcome = fleet.run()
    assert f"changed /opt/nvoi/volumes/shop-main-data, of user {DEPLOY_UID}" in outcome.output
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o770, 0o777]
    assert folders[0].stat().st_uid == DEPLOY_UID
    assert (folders[0] / "kept").read_text() == "kept"
    assert "/opt/nvoi/volumes" not in fleet.run().output


def test_what_the_config_no_longer_names_is_removed_and_data_stays(fleet: Fleet) -> None:
    app = fleet.application
    app |= {
        "database": {key: value for key, value in DATABASE.items() if key != "mount"},
        "services": {"cache": {"servers": ["main"], "image": "redis:7", "port": 6379}},
    }
    app["app"]["worker"] = {"servers": ["main"], "command": "work", "image": IMAGE}
    assert fleet.run().code == 0
    del app["services"], app["app"]["worker"], app["database"]
    # Of a run on a machine whose clock was ahead.
    (kept,) = [name for name in fleet.state.names("Secret") if "release" in name]
    ahead = fleet.state.find("Secret", kept)
    ahead["metadata"]["name"] = "nvoi-shop-release-20991231235959"
    ahead["metadata"]["labels"]["app.kubernetes.io/version"] = "20991231235959"
    fleet.state.add(ahead)
    outcome = fleet.run("deploy")
    assert outcome.code == 0, outcome.output
    assert "Release 21000101000000 is kept" in outcome.output
    assert fleet.state.names("Deployment") == ["shop-web"]
    assert fleet.state.names("Service") == ["shop-web"]
    assert fleet.state.names("StatefulSet") == []
    assert len(fleet.state.names("PersistentVolumeClaim")) == 1


def test_a_release_can_be_gone_back_to(fleet: Fleet) -> None:
    images = [f"registry.example/web:{number}" for number in (1, 2, 3)]
    for image in images:
        fleet.web["image"] = image
        assert fleet.run().code == 0
    # An unchanged one is none to go back to, and takes no other one's place.
    assert fleet.run().code == 0
    lines = fleet.run("releases").output.splitlines()
    stamps = [line[2:16] for line in lines]
    assert [line[0] for line in lines] == ["*", " ", " "]
    assert [line.split()[-2] for line in lines] == images[::-1]
    outcome = fleet.run("rollback")
    assert outcome.code == 0, outcome.output
    assert find_image(fleet) == images[1]
    assert f"Rollback of shop done: release {stamps[1]}, in " in outcome.output
    assert fleet.run("rollback", stamps[2]).code == 0
    assert find_image(fleet) == images[0]
    fleet.state.behave(images[2], "image-pull")
    gone = fleet.run("rollback", stamps[0])
    assert gone.code == 1
    assert f"{images[2]}: not found" in gone.output
    assert "ago still serves" in gone.output.splitlines()[-2]
    assert find_image(fleet) == images[0]
    unknown = fleet.run("rollback", "20200101000000")
    assert unknown.code == 2
    assert stamps[0] in unknown.output + unknown.errors


def find_folders(fleet: Fleet) -> list[str]:
    """The folders of servers that the app's own service mounts."""
    pod = fleet.state.find("Deployment", "shop-web")["spec"]["template"]["spec"]
    return [volume["hostPath"]["path"] for volume in pod["volumes"]]


def test_data_is_left_behind_only_where_that_is_accepted(fleet: Fleet) -> None:
    old, new = (f"/opt/nvoi/volumes/shop-main-{name}" for name in ("old", "new"))
    fleet.application["volumes"] = {"main": {"old": {}, "new": {}}}
    fleet.web["mounts"] = {"old": "/data"}
    assert fleet.run().code == 0
    fleet.web.update(mounts={"new": "/data"})
    refused = fleet.run()
    assert refused.code == 2
    told = refused.output + refused.errors
    assert f"the data of web is in {old}, on a server of main; the config has it in {new}" in told
    assert "--accept-data-move" in told
    assert find_folders(fleet) == [old]
    accepted = fleet.run("deploy", "--accept-data-move")
    assert accepted.code == 0, accepted.output
    assert f"the config has it in {new}, on a server of main; the old data stays" in accepted.output
    assert find_folders(fleet) == [new]
    assert (fleet.master.root / old.lstrip("/")).is_dir()
    # Nor does the app go back to older data unasked.
    assert fleet.run("rollback").code == 2
    assert find_folders(fleet) == [new]


def test_old_images_leave_registry_and_servers_but_those_to_go_back_to(fleet: Fleet) -> None:
    fleet.application["keep_count"] = 1
    images: list[str] = []
    for text in ("one\n", "failing\n", "two\n", "three\n"):
        fleet.build_image(text=text)
        if text == "failing\n":
            fleet.state.behave("shop-web", "crash")
            assert fleet.run().code == 1
            fleet.state.behave("shop-web", "ready")
            assert len(fleet.list_tags()) == 2
            continue
        assert fleet.run().code == 0
        if text == "two\n":
            # What the run that failed had pushed is gone.
            assert len(fleet.list_tags()) == 2
        images.append(find_image(fleet))
        digests = [image.partition("@")[2] for image in images]
        pulled = [f"10.43.0.100:5000/nvoi-shop <none> {one} id-{one}" for one in digests]
        fleet.hosts["main"].set_fault("images", "".join(f"{one} 1MB\n" for one in pulled))
    assert [fleet.find_image(stamp) for stamp in fleet.list_tags()] == images[1:]
    removed = [one for one in fleet.hosts["main"].read_log("crictl.log") if one.startswith("rmi ")]
    assert removed == [f"rmi 10.43.0.100:5000/nvoi-shop@{digests[0]}"]
    # By its digest: the very bytes that served.
    assert fleet.run("rollback").code == 0
    assert find_image(fleet) == images[1]


def test_a_dry_run_says_what_it_would_do_and_reaches_nobody(fleet: Fleet) -> None:
    outcome = fleet.run("deploy", "--dry-run")
    assert outcome.code == 0, outcome.output
    assert "rolls out shop-web" in outcome.output
    told = outcome.output
    held = told.index("gives servers that the config no longer names no new pods")
    assert held < told.index("[STEP] Traffic check") < told.index("drains and removes servers")
    assert fleet.master.connection_count == 0
    fleet.build_image()
    fleet.environ = {**fleet.environ, "PATH": str(fleet.folder)}
    outcome = fleet.run("deploy", "--dry-run")
    assert outcome.code == 2
    assert "neither docker nor podman is in PATH" in outcome.errors
    for verb in ("rollback", "delete"):
        assert fleet.run(verb, "--dry-run").code == 0
    assert fleet.master.connection_count == 0


def test_a_user_who_is_not_root_deploys_with_sudo(start_fleet: StartFleet) -> None:
    fleet = start_fleet(user="deploy")
    outcome = fleet.run()
    assert outcome.code == 0, outcome.output
    assert fleet.state.names("Deployment") == ["shop-web"]


def test_a_server_behind_another_one_is_deployed_to_and_removed_through_that(
    start_fleet: StartFleet,
) -> None:
    fleet = start_fleet("main", "work")
    main, work = fleet.machines["main"], fleet.machines["work"]
    way = f"Host inner\n  HostName {work.address}\n  ProxyJump {main.address}:{main.port}\n"
    write_ssh_config(fleet, f"{way}Host *\n  StrictHostKeyChecking yes\n")
    fleet.places["work"] = ("inner", work.port)
    outcome = fleet.run()
    assert outcome.code == 0, outcome.output
    assert len(fleet.state.objects("Node", None)) == 2
    # The config says who logs in to the one before, and its host key; one connection does.
    assert (main.connection_count, work.connection_count) == (1, 1)
    del fleet.places["work"]
    known = fleet.folder / ".ssh" / "known_hosts"
    known.write_text(f"[{work.address}]:{work.port} {work.host_key}\n")
    outcome = fleet.run()
    assert outcome.code == 0, outcome.output
    assert "removed; data in /opt/nvoi/volumes is kept" in outcome.output
    assert "WARN" not in outcome.output
    assert (main.connection_count, work.connection_count) == (2, 2)


def test_what_is_wrong_on_this_machine_is_told_before_anything_is_touched(fleet: Fleet) -> None:
    def refuse(*options: str) -> str:
        outcome = fleet.run("deploy", *options)
        assert outcome.code == 2
        assert fleet.master.connection_count == 0
        return outcome.output + outcome.errors

    image = fleet.web.pop("image")
    assert "--dockerfile-path" in refuse()
    fleet.web["image"] = image
    file = write_ssh_config(fleet, "Host *\n  ProxyCommand nc %h %p\n")
    for options in ((), ("--dry-run",)):
        assert f"{file}:2:1: nvoi runs no ProxyCommand: write ProxyJump" in refuse(*options)
    file.unlink()
    # A Dockerfile that takes the key.
    fleet.build_image("COPY deploy.key /")
    (fleet.checkout / "deploy.key").write_text("k")
    for options in ((), ("--dry-run",)):
        told = refuse(*options)
        assert "Dockerfile, line 3: COPY deploy.key would put a key into" in told
        assert "`secrets` in the config" in told
    assert list_applied(fleet) == []
