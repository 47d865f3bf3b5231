"""Whole deploys by the installed command, on servers of one's own."""

from __future__ import annotations

import json
import stat
from base64 import b64encode
from pathlib import Path

import pytest
import urllib3

from nvoi.kubernetes.registry import REGISTRIES_FILE
from tests.integration.commands import Outcome
from tests.integration.targets.cluster.conftest import StartFleet
from tests.integration.targets.cluster.fleet import DATABASE, IMAGE, MOUNTED, Fleet
from tests.integration.targets.cluster.machine import DEPLOY_UID, IS_ROOT


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
    assert [path for _, path in fleet.app_server.requests] == ["/up"] * 3
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
    spoken = outcome.output + json.dumps(fleet.state.calls) + "".join(fleet.read_commands("main"))
    assert credentials.password.reveal() not in spoken
    assert credentials.basic.reveal() not in spoken
    fleet.build_image("COPY what-is-not-there /")
    outcome = fleet.run()
    assert outcome.code == 1
    assert "the image cannot be built: STEP 3/3: COPY what-is-not-there /" in outcome.output
    assert find_image(fleet) == served


def check_order(outcome: Outcome) -> None:
    """See that each stage of a deploy comes before what needs it."""
    order = ["Secrets", "Database", "Pre-run commands", "Services", "App", "Traffic check"]
    assert [step for step in find_steps(outcome.output) if step in order] == order


def check_secrets(fleet: Fleet, output: str) -> None:
    """See that no service has another's secrets, and that none was told."""
    secrets = {
        name.rpartition("-")[0]: one.get("data", {})
        for one in fleet.state.objects("Secret")
        if "release" not in (name := one["metadata"]["name"])
    }
    assert set(secrets) == {"shop-web", "shop-worker", "shop-cache", "db-shop"}
    has_token = {name for name, data in secrets.items() if "API_TOKEN" in data}
    assert has_token == {"shop-web", "shop-worker"}
    spoken = output + json.dumps(fleet.state.calls)
    assert "t0ken-of-the-app" not in spoken
    assert "pa55word-of-it" not in spoken


def test_a_second_deploy_of_the_same_costs_few_round_trips_and_starts_nothing_anew(
    start_fleet: StartFleet,
) -> None:
    fleet = start_fleet("main", "work")
    fleet.application |= {
        "database": MOUNTED,
        "services": {"cache": {"servers": ["work"], "image": "redis:7", "port": 6379}},
        "volumes": {"main": {"data": {}}},
        "secrets": {"API_TOKEN": "t0ken-of-the-app"},
    }
    fleet.application["app"]["worker"] = {"servers": ["work"], "command": "work"}
    fleet.state.behave("nvoi-shop", logs=["migrated 12 tables"])
    fleet.web["pre_run_command"] = "migrate"
    fleet.build_image("COPY passwd /etc/passwd", "USER app")
    (fleet.checkout / "passwd").write_text("root:x:0:0::/:\napp:x:1001:1002::/:\n")
    first = fleet.run()
    assert first.code == 0, first.output
    check_order(first)
    assert "migrated 12 tables" in first.output
    check_secrets(fleet, first.output)
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


def refuse(fleet: Fleet, *names: str) -> None:
    """See that a deploy tells what of the app's names somebody else has made."""
    outcome = fleet.run()
    assert outcome.code == 1
    assert f"the cluster has {', '.join(names)}, which nvoi did not make" in outcome.output


def change_objects(fleet: Fleet) -> str:
    """Change what nvoi has made; the image that the database had."""
    database = fleet.state.find("StatefulSet", "db-shop")
    (container,) = database["spec"]["template"]["spec"]["containers"]
    image, container["image"] = container["image"], "postgres:13"
    policy = fleet.state.find("NetworkPolicy", "nvoi-shop")
    policy["spec"]["ingress"] = [{}]
    for item in (database, policy):
        fleet.state.add(item)
    fleet.state.remove("NetworkPolicy", "nvoi-registry", "kube-system")
    return str(image)


def take_away(fleet: Fleet, *places: tuple[str, str]) -> None:
    """Have objects be another app's."""
    for place in places:
        item = fleet.state.find(*place)
        item["metadata"]["labels"]["app.kubernetes.io/part-of"] = "shop-web"
        fleet.state.add(item)


def test_what_others_have_made_is_left_alone_and_what_they_have_changed_is_taken_back(
    fleet: Fleet,
) -> None:
    fleet.application |= {"database": MOUNTED, "volumes": {"main": {"data": {}}}}
    metadata = {"name": "shop-web", "namespace": "default", "labels": {"app": "theirs"}}
    fleet.state.add({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {}})
    refuse(fleet, "service/shop-web")
    assert fleet.state.names("Deployment") == []
    fleet.state.remove("Service", "shop-web")
    assert (outcome := fleet.run()).code == 0, outcome.output
    image = change_objects(fleet)
    assert (outcome := fleet.run()).code == 0, outcome.output
    database = fleet.state.find("StatefulSet", "db-shop")
    assert [one["image"] for one in database["spec"]["template"]["spec"]["containers"]] == [image]
    assert fleet.state.find("NetworkPolicy", "nvoi-shop")["spec"]["ingress"] != [{}]
    assert fleet.state.find("NetworkPolicy", "nvoi-registry", "kube-system") is not None
    (secret,) = (one for one in fleet.state.names("Secret") if one.startswith("shop-web"))
    places = (("Secret", secret), ("Service", "shop-web"))
    take_away(fleet, *places)
    before = [fleet.state.find(*place) for place in places]
    refuse(fleet, f"secret/{secret}", "service/shop-web")
    assert [fleet.state.find(*place) for place in places] == before


def add_strange_secrets(fleet: Fleet) -> list[str]:
    """Put Secrets there that are not the app's; their names."""
    for name, labels in (("blog-web", {"app.kubernetes.io/managed-by": "nvoi"}), ("tls", {})):
        metadata = {"name": name, "namespace": "default", "labels": labels}
        data = {"password": "b3RoZXI="}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        fleet.state.add(secret)
    return ["blog-web", "tls"]


def test_private_images_are_pulled_with_the_config_s_login_which_nobody_else_sees(
    fleet: Fleet,
) -> None:
    strange = add_strange_secrets(fleet)
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
    told += fleet.master.read(REGISTRIES_FILE) + json.dumps(fleet.state.calls)
    for hidden in ("pa55word-of-the-registry", secret, "wr0ng-password"):
        assert hidden not in told
    assert fleet.run("releases").code == 0
    assert fleet.run("delete", "--yes").code == 0
    assert fleet.state.names("Secret") == strange
    # No run has read what any Secret holds but the app's logins and the records of its releases.
    read = {name.rpartition("-")[0] for name in fleet.state.secrets_read - {"nvoi-shop-registries"}}
    assert read == {"nvoi-shop-release"}


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


def find_folders(fleet: Fleet) -> list[str]:
    """The folders of servers that the app's own service mounts."""
    pod = fleet.state.find("Deployment", "shop-web")["spec"]["template"]["spec"]
    return [volume["hostPath"]["path"] for volume in pod["volumes"]]


def date_ahead(fleet: Fleet) -> None:
    """Have a release of a run on a machine whose clock was ahead."""
    (kept,) = [name for name in fleet.state.names("Secret") if "release" in name]
    ahead = fleet.state.find("Secret", kept)
    ahead["metadata"]["name"] = "nvoi-shop-release-20991231235959"
    ahead["metadata"]["labels"]["app.kubernetes.io/version"] = "20991231235959"
    fleet.state.add(ahead)


def test_what_the_config_no_longer_names_goes_and_data_is_left_behind_only_where_that_is_accepted(
    fleet: Fleet,
) -> None:
    app = fleet.application
    old, new = (f"/opt/nvoi/volumes/shop-main-{name}" for name in ("old", "new"))
    app |= {
        "database": DATABASE,
        "services": {"cache": {"servers": ["main"], "image": "redis:7", "port": 6379}},
        "volumes": {"main": {"old": {}, "new": {}}},
    }
    app["app"]["worker"] = {"servers": ["main"], "command": "work", "image": IMAGE}
    fleet.web["mounts"] = {"old": "/data"}
    assert fleet.run().code == 0
    del app["services"], app["app"]["worker"], app["database"]
    date_ahead(fleet)
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
    assert "Release 21000101000000 is kept" in accepted.output
    assert find_folders(fleet) == [new]
    assert (fleet.master.root / old.lstrip("/")).is_dir()
    assert fleet.state.names("Deployment") == fleet.state.names("Service") == ["shop-web"]
    assert fleet.state.names("StatefulSet") == []
    assert len(fleet.state.names("PersistentVolumeClaim")) == 1
    # Nor does the app go back to older data unasked.
    assert fleet.run("rollback").code == 2
    assert find_folders(fleet) == [new]


def check_failures(fleet: Fleet) -> None:
    """See that a release that cannot be pushed, or crashes, leaves what serves and its image."""
    served = find_image(fleet)
    fleet.build_image(text="failing\n")
    fleet.registry.stop()
    outcome = fleet.run()
    assert outcome.code == 1
    assert "registry" in outcome.output
    assert find_image(fleet) == served
    fleet.registry.start()
    fleet.state.behave("shop-web", "crash")
    assert fleet.run().code == 1
    fleet.state.behave("shop-web", "ready")
    assert find_image(fleet) == served


def test_old_images_leave_registry_and_servers_but_those_to_go_back_to(fleet: Fleet) -> None:
    fleet.application["keep_count"] = 1
    images: list[str] = []
    for text in ("one\n", "two\n", "three\n"):
        fleet.build_image(text=text)
        assert fleet.run().code == 0
        images.append(find_image(fleet))
        # What a run that failed had pushed is gone after the next.
        assert len(fleet.list_tags()) == min(len(images), 2)
        digests = [image.partition("@")[2] for image in images]
        pulled = [f"10.43.0.100:5000/nvoi-shop <none> {one} id-{one}" for one in digests]
        fleet.hosts["main"].set_fault("images", "".join(f"{one} 1MB\n" for one in pulled))
        if text == "one\n":
            check_failures(fleet)
            assert len(fleet.list_tags()) == 2
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


def test_who_is_not_root_deploys_to_a_server_behind_another_one_and_removes_it_through_that(
    start_fleet: StartFleet,
) -> None:
    fleet = start_fleet("main", "work", user="deploy")
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
