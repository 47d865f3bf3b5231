"""What the image is built for, and what plans say of volumes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest

from nvoi.config.schema import Config, SSHProvider
from nvoi.errors import LockError, NvoiError, RemoteError, ServiceError
from nvoi.images.engines import BuiltImage, Podman
from nvoi.k3s.facts import Facts
from nvoi.kubernetes.ownership import WORKLOADS
from nvoi.kubernetes.registry import build_credentials, build_registry
from nvoi.secret import Secret
from nvoi.targets.cluster.cleanup import attempt, clean_registry, remove_images
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.prepare import push_image, start_registry
from nvoi.targets.cluster.servers import (
    check_architecture,
    find_spare,
    leave_out_silent,
    settle_platform,
)
from nvoi.targets.cluster.volumes import list_volumes, make_volumes
from tests.unit.targets.cluster.runs import LiveCluster, connect, see
from tests.unit.targets.cluster.test_pull import MISSING, answer, say

GROUPS = """\
servers:
  main: {master: true, host: 10.0.0.1, volumes: {data: {}}}
  work: {hosts: [10.0.0.2, 10.0.0.3], volumes: {cache: {}}}
app: {web: {servers: [main], port: 3000}}
"""


@pytest.fixture
def context() -> ClusterContext:
    context = see([], text=GROUPS)
    context.list_servers()
    return context


def test_it_is_what_all_servers_are(context: ClusterContext) -> None:
    settle_platform(context, {"shop-main-1": "arm64", "shop-work-1": "arm64"})
    assert context.image.platform.result(0) == "linux/arm64"


def test_without_a_server_that_is_away_it_is_what_the_others_are(context: ClusterContext) -> None:
    metadata = {"name": "node-3", "annotations": {"nvoi.io/address": "root@10.0.0.3:22"}}
    connect(context, LiveCluster(nodes=[{"metadata": metadata}]))
    context.survey.facts = {name: Facts("arm64") for name in ("shop-main-1", "shop-work-1")}
    leave_out_silent(context)
    assert context.image.platform.result(0) == "linux/arm64"
    assert [one.name for one in context.survey.servers] == ["shop-main-1", "shop-work-1"]
    assert context.survey.away == ("node-3",)


def test_a_deploy_may_go_on_without_workers_that_hold_no_volumes(context: ClusterContext) -> None:
    assert find_spare(context) == frozenset()
    servers = [replace(server, volumes=()) for server in context.survey.servers]
    context.survey.servers = tuple(servers)
    assert find_spare(context) == {"shop-work-1", "shop-work-2"}
    context.request = replace(context.request, require_all_servers=True)
    assert find_spare(context) == frozenset()


def test_servers_that_differ_are_told_once(context: ClusterContext) -> None:
    for _ in range(2):
        settle_platform(context, {"shop-main-1": "amd64", "shop-work-1": "arm64"})
    with pytest.raises(NvoiError, match="the servers differ: amd64 and arm64"):
        context.image.platform.result(0)


def test_servers_that_cannot_run_what_the_config_has_built_are_told(
    context: ClusterContext,
) -> None:
    application = replace(context.application, compute_provider=SSHProvider("arm64"))
    context.request = replace(context.request, config=Config(application))
    context.survey.facts = {"shop-main-1": Facts("arm64"), "shop-work-1": Facts("arm64")}
    check_architecture(context)
    context.survey.facts["shop-work-2"] = Facts("amd64")
    with pytest.raises(NvoiError, match="built for linux/arm64, which shop-work-2 cannot run"):
        check_architecture(context)


def test_what_needs_a_master_says_that_there_are_no_servers_yet() -> None:
    with pytest.raises(NvoiError, match="shop has no servers yet"):
        _ = see([]).master


def test_every_folder_is_named_on_each_server_that_has_it(context: ClusterContext) -> None:
    assert list(list_volumes(context)) == [
        ("shop-main-1", "/opt/nvoi/volumes/shop-main-data"),
        ("shop-work-1", "/opt/nvoi/volumes/shop-work-cache"),
        ("shop-work-2", "/opt/nvoi/volumes/shop-work-cache"),
    ]


def test_a_registry_image_that_cannot_be_had_leaves_the_registry_as_it_is(
    context: ClusterContext,
) -> None:
    """Its one pod would have ended before that is found."""
    answer(context, say(MISSING))
    who = context.survey.credentials = build_credentials(Secret("token"))
    items = build_registry("run", who, node="shop-main-1", image="old:1")
    old = [item for item in items if item["kind"] in WORKLOADS]
    cluster = connect(context, LiveCluster(deployments=old))
    context.survey.nodes = {"shop-main-1": "shop-main-1"}
    with pytest.raises(ServiceError, match=r"registry: .* cannot be pulled on shop-main-1"):
        start_registry(context)
    assert cluster.asked == []


@pytest.mark.parametrize("use", [push_image, lambda context: clean_registry(context, ())])
def test_a_run_that_has_lost_its_lock_leaves_the_registry_to_the_next_one(
    context: ClusterContext, use: Callable[[ClusterContext], object]
) -> None:
    def check() -> None:
        raise LockError("lost")

    built = BuiltImage("shop:20260101000000", "1" * 64)
    context.image.build = SimpleNamespace(wait=lambda: built)  # type: ignore[assignment]
    context.image.engine = Podman()
    context.lock = SimpleNamespace(check=check, is_lost=True)  # type: ignore[assignment]
    context.survey.registry = "10.43.0.100", 5000
    with pytest.raises(LockError):
        use(context)


def test_a_lock_that_is_lost_while_images_go_ends_the_run_before_garbage_is_collected(
    context: ClusterContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []

    def check() -> None:
        if removed:
            raise LockError("lost")

    registry = SimpleNamespace(
        name="the registry",
        list_tags=lambda _: ("20260101000000",),
        find_manifest=lambda *_: SimpleNamespace(digest="sha256:1", parts=()),
        delete=lambda _, digest: removed.append(digest),
    )
    monkeypatch.setattr(
        "nvoi.targets.cluster.context.open_registry", lambda *_, **__: nullcontext(registry)
    )
    context.lock = SimpleNamespace(check=check, is_lost=True)  # type: ignore[assignment]
    context.survey.registry = "10.43.0.100", 5000
    # Which could not collect any.
    connect(context, LiveCluster())
    with pytest.raises(LockError):
        attempt("old images", lambda: remove_images(context, set(), set()))
    assert removed == ["sha256:1"]


def test_why_a_disk_cannot_be_used_is_the_error(context: ClusterContext) -> None:
    reason = "shop-main-data: carries swap: it is neither formatted nor used"
    lost = RemoteError("shop-main-1", "nvoi-disks", "exit code 1", output=("before", reason))
    answer(context, lost)
    context.survey.facts = {one.name: Facts("amd64") for one in context.survey.servers[:1]}
    context.survey.servers = context.survey.servers[:1]
    with pytest.raises(NvoiError, match=f": {reason}$") as caught:
        make_volumes(context)
    assert caught.value.output == ("before",)
