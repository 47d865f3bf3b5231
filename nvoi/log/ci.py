"""What CI this is, which commit it runs for, and the id of the run.

The variables are those of each CI's own page on predefined variables.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from nvoi.protocol import check_deploy_id

Environ = Mapping[str, str]

_GIT_SECONDS = 5


@dataclass(frozen=True)
class RunContext:
    """What ``started`` tells of a run; None is not known."""

    git_sha: str | None = None
    git_ref: str | None = None
    ci_provider: str | None = None
    ci_run_url: str | None = None

    def as_payload(self) -> dict[str, str | None]:
        """The same as a dict."""
        return asdict(self)


@dataclass(frozen=True)
class CI:
    """One CI: the variable that tells it, and where it keeps what is asked for.

    ``sha``, ``ref``, ``run_id`` and ``url`` name variables, of which the first that is set
    counts; or ``url`` builds the address. A run is what the CI starts as a whole, a pipeline
    or build, as in GitHub Actions: one of its jobs that is started again keeps the id.
    """

    provider: str
    marker: str
    sha: tuple[str, ...]
    ref: tuple[str, ...]
    run_id: tuple[str, ...]
    url: tuple[str, ...] | Callable[[Environ], str | None]


def _build_actions_url(environ: Environ) -> str | None:
    """The run's page in GitHub Actions, and in Forgejo and Gitea, which follow it."""
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    server, repository, run = (environ.get(name) for name in names)
    if not (server and repository and run):
        return None
    return f"{server.rstrip('/')}/{repository}/actions/runs/{run}"


def _build_gitea_url(environ: Environ) -> str | None:
    """Gitea and Forgejo address a run by its number in the repository."""
    number = environ.get("GITHUB_RUN_NUMBER") or environ.get("GITHUB_RUN_ID")
    return _build_actions_url({**environ, "GITHUB_RUN_ID": number or ""})


def _build_bitbucket_url(environ: Environ) -> str | None:
    origin, number = environ.get("BITBUCKET_GIT_HTTP_ORIGIN"), environ.get("BITBUCKET_BUILD_NUMBER")
    if not (origin and number):
        return None
    return f"{origin.replace('http://', 'https://', 1)}/pipelines/results/{number}"


def _build_azure_url(environ: Environ) -> str | None:
    names = ("SYSTEM_COLLECTIONURI", "SYSTEM_TEAMPROJECT", "BUILD_BUILDID")
    server, project, build = (environ.get(name) for name in names)
    if not (server and project and build):
        return None
    project = project.replace(" ", "%20")
    return f"{server.rstrip('/')}/{project}/_build/results?buildId={build}"


#: Forgejo and Gitea set GitHub's variables too, so they come before it.
KNOWN = (
    CI(
        "forgejo_actions",
        "FORGEJO_ACTIONS",
        ("GITHUB_SHA",),
        ("GITHUB_REF_NAME",),
        ("GITHUB_RUN_ID",),
        _build_gitea_url,
    ),
    CI(
        "gitea_actions",
        "GITEA_ACTIONS",
        ("GITHUB_SHA",),
        ("GITHUB_REF_NAME",),
        ("GITHUB_RUN_ID",),
        _build_gitea_url,
    ),
    CI(
        "github_actions",
        "GITHUB_ACTIONS",
        ("GITHUB_SHA",),
        ("GITHUB_REF_NAME",),
        ("GITHUB_RUN_ID",),
        _build_actions_url,
    ),
    CI(
        "gitlab_ci",
        "GITLAB_CI",
        ("CI_COMMIT_SHA",),
        ("CI_COMMIT_REF_NAME",),
        ("CI_PIPELINE_ID", "CI_JOB_ID"),
        ("CI_PIPELINE_URL", "CI_JOB_URL"),
    ),
    CI(
        "circleci",
        "CIRCLECI",
        ("CIRCLE_SHA1",),
        ("CIRCLE_BRANCH", "CIRCLE_TAG"),
        ("CIRCLE_WORKFLOW_ID", "CIRCLE_BUILD_NUM"),
        ("CIRCLE_BUILD_URL",),
    ),
    CI(
        "buildkite",
        "BUILDKITE",
        ("BUILDKITE_COMMIT",),
        ("BUILDKITE_BRANCH", "BUILDKITE_TAG"),
        ("BUILDKITE_BUILD_ID",),
        ("BUILDKITE_BUILD_URL",),
    ),
    CI(
        "bitbucket_pipelines",
        "BITBUCKET_BUILD_NUMBER",
        ("BITBUCKET_COMMIT",),
        ("BITBUCKET_BRANCH", "BITBUCKET_TAG"),
        ("BITBUCKET_BUILD_NUMBER",),
        _build_bitbucket_url,
    ),
    CI(
        "azure_pipelines",
        "TF_BUILD",
        ("BUILD_SOURCEVERSION",),
        ("BUILD_SOURCEBRANCHNAME", "BUILD_SOURCEBRANCH"),
        ("BUILD_BUILDID",),
        _build_azure_url,
    ),
    CI("jenkins", "JENKINS_URL", ("GIT_COMMIT",), ("GIT_BRANCH",), ("BUILD_TAG",), ("BUILD_URL",)),
    CI(
        "travis_ci",
        "TRAVIS",
        ("TRAVIS_COMMIT",),
        ("TRAVIS_BRANCH", "TRAVIS_TAG"),
        ("TRAVIS_BUILD_ID",),
        ("TRAVIS_BUILD_WEB_URL",),
    ),
    CI(
        "woodpecker",
        "CI_PIPELINE_FORGE_URL",
        ("CI_COMMIT_SHA",),
        ("CI_COMMIT_BRANCH", "CI_COMMIT_TAG"),
        ("CI_PIPELINE_NUMBER",),
        ("CI_PIPELINE_URL",),
    ),
    CI(
        "drone",
        "DRONE",
        ("DRONE_COMMIT_SHA",),
        ("DRONE_BRANCH", "DRONE_TAG"),
        ("DRONE_BUILD_NUMBER",),
        ("DRONE_BUILD_LINK",),
    ),
)


def find_ci(environ: Environ) -> CI | None:
    """The CI that ``environ`` is of, or None."""
    if environ.get("CI") == "woodpecker":
        return next(ci for ci in KNOWN if ci.provider == "woodpecker")
    return next((ci for ci in KNOWN if environ.get(ci.marker)), None)


def find_context(environ: Environ, directory: Path) -> RunContext:
    """What is known of this run, from its CI or from the git checkout in ``directory``."""
    ci = find_ci(environ)
    if ci is None:
        return RunContext(
            git_sha=_ask_git(directory, "rev-parse", "HEAD"),
            git_ref=_ask_git(directory, "symbolic-ref", "--short", "HEAD")
            or _ask_git(directory, "describe", "--tags", "--exact-match"),
        )
    return RunContext(
        git_sha=_find_first(environ, ci.sha) or _ask_git(directory, "rev-parse", "HEAD"),
        git_ref=_find_first(environ, ci.ref),
        ci_provider=ci.provider,
        ci_run_url=ci.url(environ) if callable(ci.url) else _find_first(environ, ci.url),
    )


def choose_deploy_id(environ: Environ) -> str:
    """``NVOI_DEPLOY_ID``, else ``GITHUB_RUN_ID``, else another CI's run id, else a new UUID.

    Raises:
        UsageError: it would change the callback's path.
    """
    ci = find_ci(environ)
    names = ("NVOI_DEPLOY_ID", "GITHUB_RUN_ID", *(ci.run_id if ci else ()))
    return check_deploy_id(_find_first(environ, names) or str(uuid.uuid4()))


def _find_first(environ: Environ, names: tuple[str, ...]) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)


def _ask_git(directory: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(  # noqa: S603 - arguments of our own
            ["git", "-C", str(directory), *arguments],  # noqa: S607 - the user's git
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None
