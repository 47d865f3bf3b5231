"""What a failed run says of the servers that it held."""

from __future__ import annotations

import pytest

from nvoi.k3s.nodes import ClusterNode
from nvoi.targets.cluster.servers import K3S
from tests.unit.targets.cluster.runs import see


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
