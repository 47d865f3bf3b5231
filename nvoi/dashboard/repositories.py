"""Where a commit, and what is between two, can be seen: from the URL of the CI's run. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nvoi.dashboard.formats import is_web_url
from nvoi.dashboard.queries import Attempt

#: A commit by its whole name: SHA-1, or SHA-256.
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True)
class _Host:
    """How a CI's run is found in its repository, and where its host shows commits."""

    run: re.Pattern[str]
    commit: str
    compare: str


_FORGE = _Host(re.compile(r"(.+)/actions/runs/\d+"), "/commit/{new}", "/compare/{old}...{new}")
_HOSTS = {
    "github_actions": _FORGE,
    "gitea_actions": _FORGE,
    "forgejo_actions": _FORGE,
    "gitlab_ci": _Host(
        re.compile(r"(.+)/-/pipelines/\d+"), "/-/commit/{new}", "/-/compare/{old}...{new}"
    ),
    "bitbucket_pipelines": _Host(
        re.compile(r"(.+)/pipelines/results/\d+"),
        "/commits/{new}",
        "/branches/compare/{new}..{old}",
    ),
}


def build_commit_url(run: Attempt) -> str | None:
    found = _find_repository(run)
    return f"{found[0]}{found[1].commit.format(new=run.git_sha)}" if found else None


def build_compare_url(old: Attempt, new: Attempt) -> str | None:
    """What ``new`` deployed that ``old`` had not; None where that is nothing, or not known."""
    found, before = _find_repository(new), _find_repository(old)
    if found is None or found != before or old.git_sha == new.git_sha:
        return None
    return f"{found[0]}{found[1].compare.format(old=old.git_sha, new=new.git_sha)}"


def _find_repository(run: Attempt) -> tuple[str, _Host] | None:
    """The repository of a run's commit, and how its host names what is in it."""
    host = _HOSTS.get(run.ci_provider or "")
    url = run.ci_run_url or ""
    if host is None or not is_web_url(url) or not _SHA.fullmatch(run.git_sha or ""):
        return None
    match = host.run.fullmatch(url)
    return (match[1], host) if match else None
