"""What the receiver takes, and how it answers what it does not."""

from __future__ import annotations

from tests.integration.dashboard.serving import Serving, get_messages


def test_a_run_is_kept_with_its_lines_and_its_end(serving: Serving) -> None:
    with serving.build_client() as client:
        assert client.started(git_sha="abc", git_ref="main", ci_provider="github_actions") == 200
        assert client.logs(1, "one", "two") == 200
        assert client.completed(2) == 200
    (attempt,) = serving.get_attempts()
    assert attempt["status"] == "completed"
    assert (attempt["git_sha"], attempt["git_ref"], attempt["lines"]) == ("abc", "main", 2)
    assert get_messages(serving.get_lines()) == ["one", "two"]
