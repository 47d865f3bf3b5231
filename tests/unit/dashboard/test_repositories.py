from __future__ import annotations

import pytest

from nvoi.dashboard.repositories import build_commit_url, build_compare_url
from tests.unit.dashboard.stores import build_attempt

OLD, NEW = "a" * 40, "b" * 40
GITHUB = "https://github.com/acme/shop/actions/runs/1234"


@pytest.mark.parametrize(
    ("provider", "url", "commit", "compare"),
    [
        (
            "github_actions",
            GITHUB,
            f"https://github.com/acme/shop/commit/{NEW}",
            f"https://github.com/acme/shop/compare/{OLD}...{NEW}",
        ),
        (
            "forgejo_actions",
            "https://git.example.com/acme/shop/actions/runs/7",
            f"https://git.example.com/acme/shop/commit/{NEW}",
            f"https://git.example.com/acme/shop/compare/{OLD}...{NEW}",
        ),
        (
            "gitlab_ci",
            "https://gitlab.com/acme/web/shop/-/pipelines/99",
            f"https://gitlab.com/acme/web/shop/-/commit/{NEW}",
            f"https://gitlab.com/acme/web/shop/-/compare/{OLD}...{NEW}",
        ),
        (
            "bitbucket_pipelines",
            "https://bitbucket.org/acme/shop/pipelines/results/5",
            f"https://bitbucket.org/acme/shop/commits/{NEW}",
            f"https://bitbucket.org/acme/shop/branches/compare/{NEW}..{OLD}",
        ),
    ],
)
def test_commits_are_shown_by_the_host_of_the_repository(
    provider: str, url: str, commit: str, compare: str
) -> None:
    old = build_attempt(ci_provider=provider, ci_run_url=url, git_sha=OLD)
    new = build_attempt(ci_provider=provider, ci_run_url=url, git_sha=NEW)

    assert build_commit_url(new) == commit
    assert build_compare_url(old, new) == compare


@pytest.mark.parametrize(
    "changes",
    [
        {"ci_provider": "jenkins"},
        {"ci_provider": None},
        {"ci_run_url": None},
        {"ci_run_url": "javascript:alert(1)/actions/runs/1"},
        {"ci_run_url": "https://github.com/acme/shop"},
        {"git_sha": "main"},
        {"git_sha": "a" * 40 + "/../.."},
        {"git_sha": None},
    ],
)
def test_what_is_not_known_for_sure_is_no_link(changes: dict[str, str | None]) -> None:
    known = {"ci_provider": "github_actions", "ci_run_url": GITHUB, "git_sha": NEW}
    run = build_attempt(**{**known, **changes})

    assert build_commit_url(run) is None
    assert build_compare_url(build_attempt(**{**known, "git_sha": OLD}), run) is None


def test_two_repositories_and_the_same_commit_are_not_compared() -> None:
    new = build_attempt(ci_provider="github_actions", ci_run_url=GITHUB, git_sha=NEW)
    elsewhere = "https://github.com/acme/other/actions/runs/1"
    old = build_attempt(ci_provider="github_actions", ci_run_url=elsewhere, git_sha=OLD)

    assert build_compare_url(old, new) is None
    assert build_compare_url(new, new) is None
