from __future__ import annotations

import json

import pytest

from nvoi.kubernetes import commands
from nvoi.kubernetes.commands import Kubectl
from nvoi.kubernetes.names import build_app_selector
from nvoi.kubernetes.ownership import LISTED, Reference
from tests.unit.kubernetes.configs import build


def test_manifests_are_applied_by_the_cluster_as_one_owner() -> None:
    call = commands.build_apply(build("every_key").kept)
    assert {"apply", "--server-side", "--field-manager=nvoi", "--force-conflicts"} <= {*call.argv}
    assert call.stdin is not None
    assert json.loads(call.stdin)["items"] == [*build("every_key").kept]


def test_nothing_secret_is_in_arguments_or_shown() -> None:
    call = commands.build_apply(build("every_key").secrets)
    assert "s3cret-key-base" not in repr(call)
    assert "stdin" not in repr(call)


def test_a_trial_changes_nothing() -> None:
    assert "--dry-run=server" in commands.build_apply([], dry_run=True).argv


def test_all_of_an_app_is_asked_for_at_once() -> None:
    call = commands.build_get(LISTED, selector=build_app_selector("shop"))
    assert call.argv[2] == "get"
    assert "deployments,statefulsets,services,jobs,replicasets" in call.argv
    selector = "app.kubernetes.io/managed-by=nvoi,app.kubernetes.io/part-of=shop"
    assert f"--selector={selector}" in call.argv
    assert call.argv[-1] == "--output=json"


def test_objects_are_deleted_together_and_gone_ones_are_no_error() -> None:
    references = [Reference("Job", "a"), Reference("Secret", "b"), Reference("Job", "c", "other")]
    first, second = commands.build_delete(references)
    assert first.argv[-2:] == ("job/a", "secret/b")
    assert "--namespace=other" in second.argv
    assert "--ignore-not-found" in first.argv
    assert commands.build_delete([]) == []


def test_a_deletion_that_is_waited_for_waits_for_the_pods_too() -> None:
    (waits,) = commands.build_delete([Reference("Deployment", "a")])
    assert {"--wait=true", "--cascade=foreground"} <= {*waits.argv}
    (leaves,) = commands.build_delete([Reference("Deployment", "a")], wait=False)
    assert {"--wait=false", "--cascade=background"} <= {*leaves.argv}


def test_a_call_knows_what_it_does() -> None:
    assert commands.build_get_nodes().verb == "get"
    assert commands.build_execute("pod", ["ls", "-l"]).verb == "exec"
    assert commands.build_execute("pod", ["ls", "-l"]).argv[-3:] == ("--", "ls", "-l")


def test_logs_are_followed_without_an_end_or_read_with_one() -> None:
    follow = commands.build_logs("job/x", follow=True)
    assert follow.argv[-2:] == ("--follow", "job/x")
    assert not any("timeout" in word for word in follow.argv)
    last = commands.build_logs("pod", container="web", lines=20, previous=True)
    assert {"--container=web", "--tail=20", "--previous", "pod"} <= {*last.argv}
    assert any("timeout" in word for word in last.argv)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (commands.build_get_nodes(), ("get", "nodes")),
        (commands.build_label_node("n", "main"), ("n", "nvoi.io/server-name=main", "--overwrite")),
        (commands.build_drain("n", 60), ("drain", "n", "--ignore-daemonsets")),
        (commands.build_uncordon("n"), ("uncordon", "n")),
        (commands.build_delete_node("n"), ("delete", "node", "n")),
        (commands.build_collect_garbage(), ("--", "registry", "garbage-collect")),
    ],
)
def test_calls_begin_with_kubectl_and_say_what_is_asked(call: Kubectl, words: tuple[str]) -> None:
    assert call.argv[0] == "kubectl"
    assert " ".join(words) in " ".join(call.argv)
