"""When a release stands, what a failed run takes back, and what where it cannot do all."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from nvoi.errors import NvoiError, ServiceError, UsageError
from nvoi.k3s.facts import Facts
from nvoi.kubernetes.names import SERVER_GROUP
from nvoi.kubernetes.ownership import (
    WORKLOADS,
    Reference,
    get_label,
    read_reference,
    sign,
)
from nvoi.outcome import Serving
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.release import (
    SECRETS,
    apply_secrets,
    check_data,
    keep_release,
    roll_out_apps,
    roll_out_database,
    roll_out_services,
)
from nvoi.targets.cluster.rollback import remove_newer
from nvoi.targets.cluster.undo import find_changes, find_unready, restore
from tests.unit.kubernetes.configs import IMAGE
from tests.unit.targets.cluster import runs
from tests.unit.targets.cluster.runs import (
    DATABASE,
    SERVERS,
    STAMPS,
    WEB,
    LiveCluster,
    build,
    build_disk,
    build_node,
    record,
    see,
    serving,
)

WITH_JOB = SERVERS + "app: {web: {servers: [main], port: 3000, pre_run_command: migrate}}"
WITH_EXTRA = SERVERS + "app: {web: {servers: [main], port: 3000}, extra: {servers: [main]}}"
WEB_ALONE = {"deployment/shop-web", "service/shop-web", "poddisruptionbudget/shop-web"} | {
    "networkpolicy/nvoi-shop"
}
CACHE = "\nservices: {cache: {servers: [main], image: 'redis:7', port: 6379}}"


def connect(context: ClusterContext, **refuses: NvoiError) -> LiveCluster:
    cluster = LiveCluster(nodes=[build_node("main")])
    cluster.refuses = {verb.replace("_", " "): error for verb, error in refuses.items()}
    runs.connect(context, cluster)
    return cluster


def test_a_release_is_taken_back_from_its_first_change_until_it_is_kept() -> None:
    assert SECRETS.undoes is not None
    context = see([record(STAMPS[0]), *build(WEB, STAMPS[0]).kept])
    recorder = connect(context)
    assert SECRETS.undoes(context) == ""
    apply_secrets(context)
    assert SECRETS.undoes(context) == "the release"
    # Should the run be cut off, the next one knows of it.
    ((_, applied),) = recorder.asked
    assert f"secret/nvoi-shop-release-{context.rollout.stamp}" in applied
    keep_release(context)
    assert SECRETS.undoes(context) == ""
    restore(context)
    assert [verb for verb, _ in recorder.asked] == ["apply", "apply"]
    # What serves is this one, also where a server of before cannot be removed.
    assert context.find_serving() == Serving(context.rollout.stamp)


def test_what_stays_as_it_is_is_neither_applied_nor_followed_and_may_not_end() -> None:
    text = WEB + CACHE + DATABASE
    manifests = build(text, STAMPS[0])
    live = [serving(sign(item)) for item in manifests.kept]
    context = see(live, text=text)
    context.rollout.stamp = STAMPS[1]
    recorder = connect(context)
    apply_secrets(context)
    roll_out_database(context)
    roll_out_services(context)
    roll_out_apps(context, context.manifests.apps)
    assert recorder.asked == [
        ("apply", [f"secret/nvoi-shop-release-{STAMPS[1]}"]),
        ("note", ["app.kubernetes.io/instance in (db-shop,shop-cache)"]),
        # It says which release runs.
        ("roll out", ["deployment/shop-web"]),
    ]
    # All of it is looked at once more at the end.
    workloads = ("deployment/shop-web", "deployment/shop-cache", "statefulset/db-shop")
    assert {*workloads} <= {str(one) for one in context.rollout.ready}
    assert [one["metadata"]["name"] for one in context.rollout.services][-1] == "shop-web"


@pytest.mark.parametrize("name", ["db-shop", "shop-cache"])
def test_what_stays_as_it_is_and_is_not_ready_is_rolled_out_all_the_same(name: str) -> None:
    text = WEB + CACHE + DATABASE
    live = [serving(sign(item)) for item in build(text, STAMPS[0]).kept]
    for item in live:
        if item["metadata"]["name"] == name:
            item["status"] = {}
    context = see(live, text=text)
    recorder = connect(context)
    roll_out_database(context)
    roll_out_services(context)
    (rolled,) = (names for verb, names in recorder.asked if verb == "roll out")
    assert [one.partition("/")[2] for one in rolled] == [name]
    # A database that comes up has others started anew that have missed it.
    assert ("free" in [verb for verb, _ in recorder.asked]) is (name == "db-shop")


def test_a_rollback_stands_where_what_is_newer_cannot_be_removed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = see([record(STAMPS[0]), *build(WITH_EXTRA, STAMPS[1]).kept])
    recorder = connect(context, delete_later=NvoiError("main-1: no"))
    context.rollout.apps = context.state.records[0].manifests
    context.rollout.applied += context.rollout.apps
    remove_newer(context)
    ((_, removed),) = recorder.asked
    assert removed[0] == "deployment/shop-extra"
    assert "Not removed" in caplog.text
    restore(context)
    assert [verb for verb, _ in recorder.asked] == ["delete later"]


def test_a_job_is_ended_even_where_the_old_release_does_not_come_up() -> None:
    context = see([record(STAMPS[0]), *build(WEB, STAMPS[0]).kept], text=WITH_JOB)
    recorder = connect(context, restore=ServiceError("web: no"))
    context.rollout.applied += build(WITH_JOB, context.rollout.stamp).all
    with pytest.raises(ServiceError):
        restore(context)
    assert recorder.asked[-1] == ("delete", [f"job/shop-web-pre-run-{context.rollout.stamp}"])


def test_a_server_that_cannot_be_had_back_does_not_keep_the_old_release_away() -> None:
    context = see([record(STAMPS[0]), *build(WEB, STAMPS[0]).kept])
    recorder = connect(context, change=NvoiError("node/front-1: no"))
    context.survey.regrouped = {"front-1": "work", "front-2": "work"}
    context.rollout.applied += build(WEB, context.rollout.stamp).apps
    with pytest.raises(NvoiError, match="node/front-1: no"):
        restore(context)
    verbs = [verb for verb, _ in recorder.asked]
    assert verbs == ["change", "change", "restore", "remove", "delete"]
    assert context.rollout.is_restored


def test_what_comes_back_is_placed_where_the_servers_are_by_now() -> None:
    # The group was renamed by a run that was cut off: the one after it fails.
    before = WEB + CACHE + DATABASE
    after = before.replace("main", "base")
    live = [record(STAMPS[0], text=before), *build(before, STAMPS[0]).kept]

    def undo(group: str) -> list[Any]:
        context = see(live, text=after)
        recorder = connect(context)
        recorder.found["nodes"] = [build_node(group)]
        context.rollout.applied += build(after, STAMPS[5]).all
        restore(context)
        return [item for item in recorder.given["restore"] if item["kind"] in WORKLOADS]

    kept: dict[Reference, Any] = {
        read_reference(item): item for item in build(after, STAMPS[0]).kept
    }
    moved = undo("base")
    assert [item["metadata"]["name"] for item in moved] == ["db-shop", "shop-cache", "shop-web"]
    for item in moved:
        assert item["spec"]["template"]["spec"]["nodeSelector"] == {SERVER_GROUP: "base"}
    # As the config has them: what the failed run has applied of them is not started anew.
    for item in moved[:2]:
        assert item["spec"]["template"] == kept[read_reference(item)]["spec"]["template"]
    # Where the group is the old one again they come back as they were.
    for item in undo("main"):
        assert item["spec"]["template"]["spec"]["nodeSelector"] == {SERVER_GROUP: "main"}


def test_visitors_come_to_what_comes_back_as_they_did_before_the_run() -> None:
    # A release without a domain was gone back to, and the Ingress of the one after it stayed.
    live = copy.deepcopy([record(STAMPS[0]), *build(WEB, STAMPS[0]).kept])
    (service,) = (item for item in live if item["kind"] == "Service")
    service["spec"]["ports"].append({"name": "public", "port": 80, "targetPort": "main"})
    context = see(live)
    recorder = connect(context)
    context.rollout.applied += build(WEB, STAMPS[5]).all
    restore(context)
    (put_back,) = (item for item in recorder.given["restore"] if item["kind"] == "Service")
    assert [port["port"] for port in put_back["spec"]["ports"]] == [3000, 80]


POSTGRES = DATABASE.replace("postgres,", "postgres, image: 'postgres:17',")
DB, CACHED = Reference("StatefulSet", "db-shop"), Reference("Deployment", "shop-cache")
WHOLE = WEB + CACHE + POSTGRES
BROKEN = WHOLE.replace(":17", ":99").replace("redis:7", "redis:none")
NEWER = WHOLE.replace(":17", ":18")
FIRST, SECOND = STAMPS[:2]


def names(references: Any) -> set[str]:
    return {str(one) for one in references if one.kind != "Secret"}


def fail(live: Iterable[Any], text: str) -> tuple[ClusterContext, dict[Reference, Any], set[str]]:
    """Have a run apply a release; what of it was there before, and what was not."""
    context = see(live, text=text)
    context.rollout.applied += build(text, STAMPS[5]).all
    before, created = find_changes(context.state, context.rollout.applied)
    return context, before, names(created)


def test_what_there_was_comes_back_and_what_was_made_goes() -> None:
    live = [record(FIRST), *build(WEB, FIRST).kept]
    context, before, created = fail(live, WITH_EXTRA + CACHE)
    assert names(before) == WEB_ALONE
    assert before[Reference("Deployment", "shop-web")] in context.state.records[0].manifests
    assert created == {"deployment/shop-extra", "deployment/shop-cache", "service/shop-cache"}
    # Where the record of what runs is gone it comes back as it was seen.
    _, before, created = fail(build(WEB, FIRST).kept, WEB)
    assert (names(before), created) == (WEB_ALONE, set())


def test_after_a_run_that_was_cut_off_the_release_before_that_comes_back() -> None:
    live = [
        record(FIRST),
        record(SECOND, FIRST, text=WITH_EXTRA, begun=True),
        *build(WITH_EXTRA + CACHE, SECOND).kept,
    ]
    context, before, created = fail(live, WITH_EXTRA + CACHE)
    assert context.state.running == FIRST
    assert before[Reference("Deployment", "shop-web")] in context.state.records[0].manifests
    # No release that served is known to have had it.
    assert created == {"deployment/shop-extra"}
    assert CACHED in before
    # A first release that fails leaves nothing, even of one that was cut off.
    _, before, created = fail([record(FIRST, begun=True), *build(WEB, FIRST).kept], WEB)
    assert (before, created) == ({}, WEB_ALONE)


def test_what_a_run_that_was_cut_off_has_broken_comes_back_as_it_was_last_ready() -> None:
    live = [record(FIRST, text=WHOLE), record(SECOND, FIRST, text=BROKEN, begun=True)]
    context, before, _ = fail([*live, *build(BROKEN, SECOND).kept], WHOLE)
    for reference in (DB, CACHED):
        assert before[reference] in context.state.records[0].manifests
    # They differ from what there was, and are waited for.
    assert find_unready(context.state, before).isdisjoint({DB, CACHED})


def test_a_database_comes_back_as_it_is_or_as_it_was_last_ready_and_not_with_the_app() -> None:
    ready = [
        serving(item) if read_reference(item) == DB else item for item in build(NEWER, SECOND).kept
    ]
    _, before, _ = fail([record(FIRST, text=WHOLE), *ready], WHOLE)
    assert "postgres:18" in str(before[DB])
    # The first release runs again, and the database is down.
    records = [record(FIRST, text=WHOLE), record(SECOND, FIRST, text=NEWER)]
    context, before, _ = fail([*records, *build(BROKEN, FIRST).kept], WHOLE)
    assert context.state.running == FIRST
    assert "postgres:18" in str(before[DB])


def test_what_somebody_has_paused_comes_back_all_the_same() -> None:
    live = build(WHOLE, FIRST).kept
    paused = [
        item | {"spec": item["spec"] | {"paused": True}} if read_reference(item) == CACHED else item
        for item in map(serving, live)
    ]
    _, before, _ = fail([record(FIRST, text=WHOLE), *paused], BROKEN)
    assert "paused" not in before[CACHED]["spec"]


def test_a_database_never_comes_back_older_than_the_last_deploy_had_it() -> None:
    records = [record(FIRST, text=WHOLE), record(SECOND, FIRST, text=NEWER) | {"data": {}}]
    context, before, _ = fail([*records, *build(BROKEN, SECOND).kept], WHOLE)
    assert [one.stamp for one in context.state.records] == [FIRST]
    assert before[DB] == context.state.find(DB)


def test_what_was_not_ready_and_is_the_same_again_is_not_waited_for() -> None:
    own = record(FIRST, text=WHOLE, image=IMAGE)
    context, before, _ = fail([own, *build(WHOLE, FIRST).kept], BROKEN)
    web = Reference("Deployment", "shop-web")
    assert find_unready(context.state, before) == {DB, CACHED, web}


def take_back(context: ClusterContext) -> set[str]:
    """Undo, and return what came back or was removed."""
    recorder = connect(context)
    restore(context)
    return {name for verb, names in recorder.asked for name in names if verb != "delete"}


def test_a_database_that_was_down_and_is_up_by_this_run_stays() -> None:
    old = build(WHOLE, STAMPS[0]).kept
    new = build(WHOLE.replace("d}", "d, MORE: x}"), STAMPS[5])
    context = see([record(STAMPS[0], text=WHOLE), *old], text=WHOLE)
    context.rollout.applied += new.all
    (secret,) = (
        str(read_reference(item))
        for item in new.secrets
        if get_label(item, "app.kubernetes.io/component") == "database"
    )
    own = {str(DB), "service/db-shop", secret}
    assert own <= take_back(context)
    context.rollout.ready |= {DB}
    taken = take_back(context)
    assert own.isdisjoint(taken)
    assert str(CACHED) in taken
    # One that was ready comes back as it was.
    served = [serving(item) if read_reference(item) == DB else item for item in old]
    context.state = see([record(STAMPS[0], text=WHOLE), *served], text=WHOLE).state
    assert own <= take_back(context)


MOUNTED = """\
servers: {main: {master: true, host: 10.0.0.1, volumes: {data: {}}}, work: {host: 10.0.0.2}}
app: {web: {servers: [main], port: 3000, mounts: {data: /data}}}
"""
FOLDER = "/opt/nvoi/volumes/shop-main-data"
DISK = WEB + POSTGRES


def check(before: str, after: str, *, accepts: bool = False) -> ClusterContext:
    """See whether a deploy from one config to another finds its data."""
    live = [record(STAMPS[0], text=before), *build(before, STAMPS[0]).kept]
    context = see(live, text=after)
    context.request = replace(context.request, accept_data_move=accepts)
    context.list_servers()
    context.survey.facts = {server.name: Facts("amd64") for server in context.survey.servers}
    check_data(context, context.manifests.kept)
    return context


def test_a_folder_that_its_server_lacks_is_not_made_anew_unasked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(UsageError, match=f"should be in {FOLDER}, on a server of main; that"):
        check(MOUNTED, MOUNTED)
    check(MOUNTED, MOUNTED, accepts=True)
    assert "that folder is not there; the old data stays where it is" in caplog.text
    # A new one is.
    check(WEB, MOUNTED)


def test_a_disk_that_cannot_follow_is_refused_even_where_data_may_be_left() -> None:
    elsewhere = MOUNTED + POSTGRES.replace("[main]", "[work]")
    with pytest.raises(UsageError, match="it cannot follow to work: give the database a `mount`"):
        check(DISK, elsewhere, accepts=True)


@pytest.mark.parametrize(("node", "is_refused"), [("main-1", False), ("other-1", True)])
def test_a_disk_is_found_where_the_group_of_its_server_is_only_renamed(
    node: str, *, is_refused: bool
) -> None:
    context = see(build(DISK, STAMPS[0]).kept, text=DISK.replace("main", "base"))
    context.list_servers()
    context.survey.nodes = {server.name: "main-1" for server in context.survey.servers}
    connect(context).found["persistentvolumes"] = [build_disk(node)]
    with pytest.raises(UsageError) if is_refused else nullcontext():
        check_data(context, context.manifests.kept)
