"""What a failed run says of the servers that it held; how rented ones are given back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nvoi.errors import NvoiError, UsageError
from nvoi.k3s.nodes import ClusterNode
from nvoi.targets.cluster.departures import check_surplus, remove_servers, tell_surplus
from nvoi.targets.cluster.servers import K3S, SERVERS
from tests.unit.targets.cluster.rented import Account, build_server, rent
from tests.unit.targets.cluster.runs import LiveCluster, build_disk, connect, see
from tests.unit.targets.cluster.test_pull import answer, say

MASTER, WORKER = build_server("shop-main-1", is_master=True), build_server("shop-work-1")


def build(*apps: str) -> ClusterNode:
    marks = {f"nvoi.io/app.{app}": "true" for app in apps}
    return ClusterNode("shop-work-1", is_ready=True, state="Ready", labels=marks)


@pytest.mark.parametrize(
    ("leaving", "regrouped", "told"),
    [
        ([], {}, ""),
        # What another app uses goes on as it is.
        ([build("shop", "blog")], {}, ""),
        ([build("shop")], {}, "the cordon of old servers"),
        ([], {"shop-work-1": "work"}, "the groups of servers"),
        (
            [build("shop")],
            {"shop-work-2": "work"},
            "the cordon of old servers and the groups of servers",
        ),
    ],
)
def test_only_what_was_held_is_told_to_be_undone(
    leaving: list[ClusterNode], regrouped: dict[str, str], told: str
) -> None:
    context = see([])
    context.survey.leaving, context.survey.regrouped = tuple(leaving), regrouped
    assert K3S.undoes is not None
    assert K3S.undoes(context) == told


class OneNodeCluster(LiveCluster):
    """A cluster of this node; what it does is noted with what is given back."""

    def __init__(self, account: Account, *apps: str, **found: Any) -> None:
        marks = MARKS | {f"nvoi.io/app.{app}": "true" for app in apps}
        super().__init__(nodes=[{"metadata": {"name": "shop-work-1", "labels": marks}}], **found)
        self.take = lambda verb, references: account.deleted.append(  # type: ignore[method-assign]
            " ".join([verb, *map(str, references)])
        )


MARKS = {"nvoi.io/app.shop": "true"}


def test_volumes_of_servers_that_leave_go_only_where_that_is_asked_for() -> None:
    leaving = build_server("shop-work-1", disk="shop-work-data")
    context, account = rent(MASTER, surplus=(leaving,))
    for look in (check_surplus, lambda context: [*SERVERS.plan(context)]):
        with pytest.raises(UsageError, match="all data on shop-work-data would go") as caught:
            look(context)
        assert "--delete-volumes" in caught.value.hint
    assert caught.value.exit_code == 2
    assert account.deleted == []
    context.request = replace(context.request, delete_volumes=True)
    check_surplus(context)


def test_a_cluster_does_not_move_to_another_master() -> None:
    context, _ = rent(surplus=(build_server("shop-old-1"),))
    with pytest.raises(UsageError, match="the cluster may be on shop-old-1"):
        check_surplus(context)


def test_servers_that_leave_are_told_before_anything_is_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    context, _ = rent(MASTER, surplus=(WORKER,))
    check_surplus(context)
    tell_surplus(context)
    (told,) = caplog.messages
    assert told.startswith("shop-work-1 is not in the config any more: it is drained once")


def test_a_node_goes_after_its_server_which_would_bring_it_back() -> None:
    context, account = rent(MASTER, surplus=(WORKER,))
    context.survey.leaving = (build("shop"),)
    connect(context, OneNodeCluster(account))
    check_surplus(context)
    remove_servers(context)
    assert account.deleted == [
        "follow deployment/shop-web",
        "shop-work-1",
        "delete later node/shop-work-1",
    ]


def test_a_server_that_another_app_uses_is_not_given_back(caplog: pytest.LogCaptureFixture) -> None:
    disk = "shop-work-data"
    context, account = rent(MASTER, surplus=(build_server("shop-work-1", disk=disk),))
    context.request = replace(context.request, delete_volumes=True)
    context.survey.leaving = (build("shop", "blog"),)
    connect(context, OneNodeCluster(account, "blog"))
    machine = answer(context, say(code=0))
    check_surplus(context)
    remove_servers(context)
    # This app's own disk was asked for, and nothing of it is in use there any more.
    assert machine.asked == [("shop-work-1", f"nvoi-disks /opt/nvoi/volumes/{disk}")]
    assert account.deleted == ["volumes"]
    assert "shop-work-1 is not given back, and goes on to cost: it runs blog" in caplog.messages


def test_a_server_that_is_away_is_not_given_back_with_data_on_its_own_disk() -> None:
    context, account = rent(MASTER, surplus=(WORKER,))
    context.survey.leaving = (build("shop"),)
    connect(context, OneNodeCluster(account, persistentvolumes=[build_disk("shop-work-1")]))
    check_surplus(context)
    with pytest.raises(NvoiError, match="serves, but the node shop-work-1 cannot be removed"):
        remove_servers(context)
    assert account.deleted == []


def test_disks_are_given_back_that_an_earlier_run_has_left() -> None:
    context, account = rent(MASTER)
    connect(context, OneNodeCluster(account))
    check_surplus(context)
    remove_servers(context)
    assert account.deleted == []
    context.request = replace(context.request, delete_volumes=True)
    remove_servers(context)
    assert account.deleted == ["volumes"]


def test_a_server_that_stays_lets_go_of_a_disk_before_that_is_given_back() -> None:
    own = build_server("shop-main-1", is_master=True, disk="shop-main-old")
    context, account = rent(own)
    connect(context, OneNodeCluster(account))
    machine = answer(context, say(code=0))
    remove_servers(context)
    assert machine.asked == []
    context.request = replace(context.request, delete_volumes=True)
    remove_servers(context)
    assert machine.asked == [("shop-main-1", "nvoi-disks /opt/nvoi/volumes/shop-main-old")]
    assert account.deleted == ["volumes"]
