"""Which release `nvoi rollback` goes back to."""

from __future__ import annotations

from typing import Any

import pytest

from nvoi.errors import NvoiError, UsageError
from nvoi.k3s.nodes import read_node
from nvoi.kubernetes.cloudflared import Connector, build_cloudflared
from nvoi.kubernetes.names import SERVER_GROUP, STAMP
from nvoi.kubernetes.releases import read_record
from nvoi.secret import Secret
from nvoi.targets.cluster.cleanup import choose_kept
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.release import build_own_record
from nvoi.targets.cluster.rollback import choose_release, go_back
from tests.unit.targets.cluster.runs import (
    DATABASE,
    STAMPS,
    WEB,
    LiveCluster,
    build,
    build_node,
    connect,
    record,
    see,
)

FIRST, SECOND, THIRD = STAMPS[:3]


NONE = "no release that differs from the one that runs is kept from before it"


def choose(context: ClusterContext, stamp: str | None = None) -> str:
    return choose_release(context.state, context.state.records, stamp).stamp


def serve(stamp: str) -> list[Any]:
    return [*build(WEB, stamp).kept]


@pytest.mark.parametrize(
    ("records", "running", "stamp", "chosen"),
    [
        # Gone back from the second to the first, and then on to the third.
        ([record(FIRST), record(SECOND, FIRST), record(THIRD, FIRST)], THIRD, None, FIRST),
        # The third was cut off: the one that served may be named too, as some of it runs no more.
        *(
            (
                [record(FIRST), record(SECOND, FIRST), record(THIRD, SECOND, begun=True)],
                THIRD,
                stamp,
                SECOND,
            )
            for stamp in (None, SECOND)
        ),
    ],
)
def test_it_is_the_one_that_served_before(
    records: list[Any], running: str, stamp: str | None, chosen: str
) -> None:
    assert choose(see([*records, *serve(running)]), stamp) == chosen


@pytest.mark.parametrize(
    ("live", "stamp", "told"),
    [
        (
            [record(FIRST), record(SECOND, FIRST, begun=True), *serve(SECOND)],
            SECOND,
            f"release {SECOND} is not kept",
        ),
        ([record(FIRST), *serve(FIRST)], None, NONE),
        # Nor where all that ran before was the same.
        ([record(one, image="web:1") for one in (FIRST, SECOND)] + serve(SECOND), None, NONE),
        ([record(FIRST), *serve(FIRST)], FIRST, "runs already"),
        ([], None, "kept: none"),
    ],
)
def test_where_there_is_none_that_is_told(live: list[Any], stamp: str | None, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        choose(see(live), stamp)


def test_an_unchanged_deploy_goes_back_to_what_served_before_the_release_that_it_repeats() -> None:
    # Gone back from the second to the first, and then on to the third, deployed once more.
    image = "registry.example/web:3"
    live = [record(FIRST), record(SECOND, FIRST), record(THIRD, FIRST, image=image)]
    context = see([*live, *serve(THIRD)])
    context.image.reference = image
    own = read_record(build_own_record(context))
    assert own.before == FIRST
    begun = read_record(build_own_record(context, is_begun=True))
    assert begun.before == THIRD
    context.image.reference = "registry.example/web:4"
    assert read_record(build_own_record(context)).before == THIRD


def test_a_release_without_the_service_that_visitors_are_led_to_is_refused() -> None:
    before, after = WEB.replace("web:", "site:"), WEB
    routes = build_cloudflared(Connector("shop", "web", "a-tunnel", Secret("token"), "run"))
    live: list[Any] = [
        record(FIRST, text=before),
        record(SECOND, FIRST, text=after),
        *build(after, SECOND).kept,
        *(item for item in routes if item["kind"] != "Secret"),
    ]
    with pytest.raises(NvoiError, match=f"led to web, which release {FIRST} does not have"):
        choose(see(live))
    live[0] = record(FIRST, text=after)
    assert choose(see(live)) == FIRST


RENAMED = WEB.replace("main", "base")


def roll_back(live: list[Any], text: str, *nodes: Any) -> Any:
    """Go back where a cluster has nodes; the spec of the pods that are rolled out."""
    context = see([], text=text)
    cluster = connect(context, LiveCluster(nodes=nodes, all=live))
    context.list_servers()
    go_back(context)
    (deployment,) = [one for one in cluster.given["roll out"] if one["kind"] == "Deployment"]
    assert deployment in context.rollout.apps
    assert deployment["metadata"]["labels"][STAMP] == context.rollout.stamp
    return deployment["spec"]["template"]["spec"]


def list_live(text: str = RENAMED, *, begun: bool = False) -> list[Any]:
    newer = record(SECOND, FIRST, text=text, begun=begun)
    return [record(FIRST), newer, *build(text, SECOND).kept]


def test_where_a_group_was_renamed_it_is_placed_on_the_servers_that_there_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    for live in (list_live(), list_live(begun=True)):
        pod = roll_back(live, RENAMED, build_node("base"))
        assert pod["nodeSelector"] == {SERVER_GROUP: "base"}
        (container,) = pod["containers"]
        assert container["image"] == f"registry.example/web:{FIRST}"
    assert "shop-web is placed on base, as no server is in main any more" in caplog.text
    # A node of another app that has the group is none of this one's servers.
    pod = roll_back(list_live(), RENAMED, build_node("base"), build_node("main", "blog"))
    assert pod["nodeSelector"] == {SERVER_GROUP: "base"}
    # While there is a server of its group, it runs where it ran.
    pod = roll_back(list_live(), RENAMED, build_node("base"), build_node("main"))
    assert pod["nodeSelector"] == {SERVER_GROUP: "main"}


def test_one_of_several_groups_is_enough() -> None:
    groups = "servers: {main: {master: true, host: 10.0.0.1}, work: {host: 10.0.0.2}}\n"
    both = groups + "app: {web: {servers: [main, work], port: 3000}}"
    live = list_live()
    live[0] = record(FIRST, text=both)
    pod = roll_back(live, WEB, build_node("main"))
    assert "affinity" in pod
    assert "nodeSelector" not in pod
    pod = roll_back(live, RENAMED, build_node("base"))
    assert "affinity" not in pod
    assert pod["nodeSelector"] == {SERVER_GROUP: "base"}


def test_where_nothing_says_on_which_servers_it_is_to_run_it_is_refused() -> None:
    # The config is as it was before a run that was cut off has renamed the group.
    told = f"release {FIRST} has deployment/shop-web on servers of main, and none is in that group"
    with pytest.raises(NvoiError, match=told):
        roll_back(list_live(begun=True), WEB, build_node("base"))
    # The config has the service no more.
    other = RENAMED.replace("web:", "site:")
    with pytest.raises(NvoiError, match=told):
        roll_back([*list_live(other), *build(WEB, FIRST).secrets], other, build_node("base"))


def test_a_release_that_was_only_elsewhere_is_none_to_go_back_to() -> None:
    live = [
        record(FIRST, image="web:1"),
        record(SECOND, FIRST, image="web:2"),
        record(THIRD, SECOND, text=RENAMED, image="web:2"),
        *build(RENAMED, THIRD).kept,
    ]
    (container,) = roll_back(live, RENAMED, build_node("base"))["containers"]
    assert container["image"] == "web:1"
    del live[0]
    with pytest.raises(UsageError, match="no release that differs"):
        roll_back(live, RENAMED, build_node("base"))


def test_a_deploy_that_only_names_a_group_anew_takes_the_place_of_no_kept_release() -> None:
    live = [
        record(FIRST, image="web:1"),
        record(SECOND, FIRST, image="web:2"),
        *build(WEB, SECOND).kept,
    ]
    # Nor does how many are kept make it another one.
    context = see(live, text=RENAMED + "\nkeep_count: 1")
    context.image.reference = "web:2"
    context.survey.all_nodes = (read_node(build_node("base")),)
    kept, expired = choose_kept(context)
    assert [one.stamp for one in kept] == [STAMPS[-1], FIRST]
    assert [one.stamp for one in expired] == [SECOND]
    # Where it does more than that, it is one more.
    context.image.reference = "web:3"
    kept, expired = choose_kept(context)
    assert [one.stamp for one in kept] == [STAMPS[-1], SECOND]
    assert [one.stamp for one in expired] == [FIRST]


def test_what_could_not_start_again_is_told(caplog: pytest.LogCaptureFixture) -> None:
    live = [*list_live(begun=True), *build(WEB + DATABASE, FIRST).database]
    roll_back(live, RENAMED, build_node("base"))
    assert (
        "statefulset/db-shop runs, and no server is in main any more: deploy before its pod has "
        "to move"
    ) in caplog.text
