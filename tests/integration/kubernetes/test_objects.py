from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nvoi.errors import RemoteError, ServiceError
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.ownership import Reference
from nvoi.kubernetes.registry import build_credentials, build_registry
from nvoi.secret import Secret
from nvoi.targets.cluster.cleanup import collect_garbage
from tests.fakes.cluster_state import ClusterState
from tests.integration.ssh.server import Server
from tests.unit.kubernetes.configs import build

PASSWORD = "pa55 word with a {brace}: and colons"
ENCODED = base64.b64encode(PASSWORD.encode()).decode()


def build_secret(name: str = "shop-x", **data: Any) -> Any:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def test_what_is_applied_can_be_read_and_deleted_over_one_command(
    cluster: Cluster, commands_run: Callable[[], int]
) -> None:
    cluster.apply([build_secret(A=ENCODED), build_secret("shop-y")])
    (first, second) = cluster.get(["secrets", "services"])
    assert first["data"] == {"A": ENCODED}
    assert second["metadata"]["name"] == "shop-y"
    cluster.delete([Reference("Secret", "shop-x"), Reference("Secret", "none", "kube-system")])
    assert len(cluster.get(["secrets"])) == 1
    assert commands_run() == 1


def test_a_cluster_that_was_closed_opens_another_way(
    cluster: Cluster, state: ClusterState, server: Server, commands_run: Callable[[], int]
) -> None:
    assert cluster.get(["secrets"]) == ()
    cluster.close()
    assert cluster.get(["secrets"]) == ()
    cluster.close()
    server.add_program("k3s", "#!/bin/sh\nkill -9 $$\n")
    with pytest.raises(RemoteError, match="reading the kubeconfig of k3s"):
        cluster.get(["secrets"])
    server.add_program("k3s", state.script)
    assert cluster.get(["secrets"]) == ()
    assert commands_run() == 4


#: A command in a container that ends well once as many others are at work.
TOGETHER = """\
#!/bin/sh
echo >"$(mktemp {folder}/XXXXXX)"
for _ in $(seq 200); do
  [ "$(ls {folder} | wc -l)" -lt {count} ] || exit 0
  sleep 0.05
done
exit 1
"""


def test_commands_in_containers_go_on_side_by_side(
    cluster: Cluster, server: Server, tmp_path: Path
) -> None:
    server.add_program("k3s", TOGETHER.format(folder=tmp_path, count=6))
    with ThreadPoolExecutor() as threads:
        results = list(threads.map(lambda _: cluster.execute("deployment/web", ["ok"]), range(6)))
    assert all(result.is_ok for result in results)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"KEY": {"text": PASSWORD}}, ".data.KEY: expected string"),
        ({"KEY": PASSWORD}, "illegal base64 data"),
    ],
)
def test_nothing_of_a_secret_that_is_refused_is_shown_anywhere(
    cluster: Cluster,
    state: ClusterState,
    logged: pytest.LogCaptureFixture,
    data: Any,
    told: str,
) -> None:
    with pytest.raises(RemoteError) as caught:
        cluster.apply([build_secret(**data)])
    assert told in caught.value.message
    seen = f"{caught.value} {caught.value.output} {logged.text} {json.dumps(state.calls)}"
    for part in (PASSWORD, ENCODED, "brace", "colons"):
        assert part not in seen


def test_nothing_of_a_secret_that_is_applied_and_read_is_shown_anywhere(
    cluster: Cluster, state: ClusterState, logged: pytest.LogCaptureFixture
) -> None:
    item = build_secret(KEY=ENCODED) | {"immutable": True}
    cluster.apply([item])
    cluster.get(["secrets"])
    with pytest.raises(RemoteError) as caught:
        cluster.apply([item | {"data": {"KEY": ENCODED, "MORE": ENCODED}}])
    assert caught.value.message.endswith(
        "secret shop-x: data: Forbidden: field is immutable when `immutable` is set"
    )
    seen = f"{caught.value} {caught.value.output} {logged.text} {json.dumps(state.calls)}"
    assert PASSWORD not in seen
    assert ENCODED not in seen


def test_a_job_s_whole_template_is_not_echoed_where_it_is_refused(cluster: Cluster) -> None:
    (job,) = build("mounts").jobs
    cluster.apply([job])
    changed = json.loads(json.dumps(job))
    changed["spec"]["template"]["spec"]["containers"][0]["command"] = ["echo", PASSWORD]
    with pytest.raises(RemoteError) as caught:
        cluster.apply([changed])
    name = job["metadata"]["name"]  # type: ignore[index]
    end = f"applying to the cluster: job {name}: spec.template: field is immutable"
    assert caught.value.message.endswith(end)


def test_several_refusals_are_all_told(cluster: Cluster) -> None:
    items = [build_secret("shop_x"), build_secret("shop-y"), build_secret(KEY=3)]
    with pytest.raises(RemoteError) as caught:
        cluster.apply(items)
    assert "metadata.name: a lowercase RFC 1123 subdomain" in caught.value.message
    assert caught.value.message.endswith("(and 1 more)")
    assert ".data.KEY: expected string" in caught.value.output[0]
    assert [item["metadata"]["name"] for item in cluster.get(["secrets"])] == ["shop-y"]


def test_a_command_in_a_container_that_is_not_there_is_looked_at_or_an_error(
    cluster: Cluster,
) -> None:
    result = cluster.execute("none", ["true"])
    assert result.exit_code == 1
    assert 'pods "none" not found' in result.stderr[0]
    with pytest.raises(RemoteError, match="exit code 1") as caught:
        cluster.execute("none", ["true"], check=True)
    assert 'pods "none" not found' in caught.value.output[-1]


def test_a_command_can_be_run_in_a_container(cluster: Cluster, state: ClusterState) -> None:
    words = ["sh", "-c", "first\nsecond 'quoted' $HOME"]
    state.scenario(exec=[{"match": words[-1], "stdout": "no\n", "exit": 3}])
    cluster.roll_out(build("web").all, seconds=60)
    result = cluster.execute("deployment/shop-web", words)
    assert (result.exit_code, result.stdout) == (3, "no\n")
    assert cluster.execute("deployment/shop-web", ["true"]).is_ok


@pytest.mark.parametrize("has_limit", [True, False])
def test_garbage_is_collected_whatever_programs_the_registry_s_image_has(
    cluster: Cluster, state: ClusterState, has_limit: bool
) -> None:
    told = 'OCI runtime exec failed: exec: "timeout": executable file not found in $PATH: unknown\n'
    lacking = {"match": "timeout 240", "stderr": told, "exit": 126}
    state.scenario(exec=[] if has_limit else [lacking])
    *parts, registry = build_registry("run", build_credentials(Secret("token")), node="main-1")
    cluster.roll_out([*parts, registry], seconds=60)
    collect_garbage(cluster)
    assert [call[0] for call in state.calls].count("exec") == (1 if has_limit else 2)
    state.scenario(exec=[{"match": "garbage-collect", "stderr": "no space left\n", "exit": 1}])
    with pytest.raises(RemoteError, match="exit code 1"):
        collect_garbage(cluster)


def test_a_host_without_k3s_says_so(cluster: Cluster, server: Server) -> None:
    server.add_program("k3s", "#!/bin/sh\necho 'k3s: cannot run' >&2\nexit 127\n")
    with pytest.raises(RemoteError, match="k3s: cannot run") as caught:
        cluster.get(["pods"])
    assert caught.value.status == 127


def test_an_answer_that_is_none_shows_nothing_of_it(cluster: Cluster, server: Server) -> None:
    server.add_program("k3s", f"#!/bin/sh\necho '{ENCODED}'\n")
    with pytest.raises(ServiceError) as caught:
        cluster.get(["secrets"])
    assert caught.value.message == "the cluster's answer cannot be read: JSONDecodeError"
