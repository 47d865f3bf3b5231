"""What CI this is, which commit it runs for, and the id of the run.

The variables are those of each CI's own page on predefined variables. Their values and git's
answers are bytes that anybody chose: what is read of them here is one line of clean text.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from nvoi.log.rendering import clean
from nvoi.process import ask
from nvoi.protocol import check_deploy_id

Environ = Mapping[str, str]

GIT_SECONDS = 5


@dataclass(frozen=True)
class RunContext:
    """What ``started`` tells of a run; None is not known.

    ``commit_author`` is a name without an address; ``dirty`` says that the checkout differs
    from its commit, files that git neither tracks nor ignores among them.
    """

    git_sha: str | None = None
    git_ref: str | None = None
    ci_provider: str | None = None
    ci_run_url: str | None = None
    commit_title: str | None = None
    commit_author: str | None = None
    dirty: bool = False

    def as_payload(self) -> dict[str, str | None]:
        """The context that :func:`nvoi.protocol.build_started` takes."""
        return {**asdict(self), "dirty": "1" if self.dirty else None}


@dataclass(frozen=True)
class CI:
    """One CI: the variable that tells it, and templates of what is asked for.

    Where a field has several templates, spaces apart, the first counts whose variables are all
    set. A run is what the CI starts as a whole, a pipeline or build, as in GitHub Actions: one
    of its jobs that is started again keeps the id.
    """

    marker: str
    sha: str = ""
    ref: str = ""
    run_id: str = ""
    url: str = ""
    title: str = ""
    author: str = ""


_RUNS = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/"
GITHUB = CI(
    marker="GITHUB_ACTIONS",
    sha="{GITHUB_SHA}",
    ref="{GITHUB_REF_NAME}",
    run_id="{GITHUB_RUN_ID}",
    url=_RUNS + "{GITHUB_RUN_ID}",
)
# These two set GitHub's variables as well, and address a run by its number in the repository.
_GITEA = replace(GITHUB, marker="GITEA_ACTIONS", url=f"{_RUNS}{{GITHUB_RUN_NUMBER}} {GITHUB.url}")

NONE = CI("")
KNOWN = {
    "forgejo_actions": replace(_GITEA, marker="FORGEJO_ACTIONS"),
    "gitea_actions": _GITEA,
    "github_actions": GITHUB,
    "gitlab_ci": CI(
        marker="GITLAB_CI",
        sha="{CI_COMMIT_SHA}",
        ref="{CI_COMMIT_REF_NAME}",
        run_id="{CI_PIPELINE_ID} {CI_JOB_ID}",
        url="{CI_PIPELINE_URL} {CI_JOB_URL}",
        title="{CI_COMMIT_TITLE}",
        author="{CI_COMMIT_AUTHOR}",
    ),
    "circleci": CI(
        marker="CIRCLECI",
        sha="{CIRCLE_SHA1}",
        ref="{CIRCLE_BRANCH} {CIRCLE_TAG}",
        run_id="{CIRCLE_WORKFLOW_ID} {CIRCLE_BUILD_NUM}",
        url="{CIRCLE_BUILD_URL}",
    ),
    "buildkite": CI(
        marker="BUILDKITE",
        sha="{BUILDKITE_COMMIT}",
        ref="{BUILDKITE_BRANCH} {BUILDKITE_TAG}",
        run_id="{BUILDKITE_BUILD_ID}",
        url="{BUILDKITE_BUILD_URL}",
        title="{BUILDKITE_MESSAGE}",
        author="{BUILDKITE_BUILD_AUTHOR}",
    ),
    "bitbucket_pipelines": CI(
        marker="BITBUCKET_BUILD_NUMBER",
        sha="{BITBUCKET_COMMIT}",
        ref="{BITBUCKET_BRANCH} {BITBUCKET_TAG}",
        run_id="{BITBUCKET_BUILD_NUMBER}",
        url="{BITBUCKET_GIT_HTTP_ORIGIN}/pipelines/results/{BITBUCKET_BUILD_NUMBER}",
    ),
    "azure_pipelines": CI(
        marker="TF_BUILD",
        sha="{BUILD_SOURCEVERSION}",
        ref="{BUILD_SOURCEBRANCHNAME} {BUILD_SOURCEBRANCH}",
        run_id="{BUILD_BUILDID}",
        url="{SYSTEM_COLLECTIONURI}/{SYSTEM_TEAMPROJECT}/_build/results?buildId={BUILD_BUILDID}",
        title="{BUILD_SOURCEVERSIONMESSAGE}",
    ),
    "jenkins": CI(
        marker="JENKINS_URL",
        sha="{GIT_COMMIT}",
        ref="{GIT_BRANCH}",
        run_id="{BUILD_TAG}",
        url="{BUILD_URL}",
    ),
    "travis_ci": CI(
        marker="TRAVIS",
        sha="{TRAVIS_COMMIT}",
        ref="{TRAVIS_BRANCH} {TRAVIS_TAG}",
        run_id="{TRAVIS_BUILD_ID}",
        url="{TRAVIS_BUILD_WEB_URL}",
        title="{TRAVIS_COMMIT_MESSAGE}",
    ),
    "woodpecker": CI(
        marker="CI_PIPELINE_FORGE_URL",
        sha="{CI_COMMIT_SHA}",
        ref="{CI_COMMIT_BRANCH} {CI_COMMIT_TAG}",
        run_id="{CI_PIPELINE_NUMBER}",
        url="{CI_PIPELINE_URL}",
        title="{CI_COMMIT_MESSAGE}",
        author="{CI_COMMIT_AUTHOR}",
    ),
    "drone": CI(
        marker="DRONE",
        sha="{DRONE_COMMIT_SHA}",
        ref="{DRONE_BRANCH} {DRONE_TAG}",
        run_id="{DRONE_BUILD_NUMBER}",
        url="{DRONE_BUILD_LINK}",
        title="{DRONE_COMMIT_MESSAGE}",
        author="{DRONE_COMMIT_AUTHOR_NAME} {DRONE_COMMIT_AUTHOR}",
    ),
}


def find_ci(environ: Environ) -> tuple[str | None, CI]:
    """The CI that ``environ`` is of, with the name of its provider; or None and :data:`NONE`."""
    if environ.get("CI") == "woodpecker":
        return "woodpecker", KNOWN["woodpecker"]
    found = ((provider, ci) for provider, ci in KNOWN.items() if environ.get(ci.marker))
    return next(found, (None, NONE))


def choose_deploy_id(environ: Environ) -> str:
    """``NVOI_DEPLOY_ID``, else ``GITHUB_RUN_ID``, else another CI's run id, else a new UUID.

    Raises:
        UsageError: it would change the callback's path.
    """
    run_id = _fill(f"{GITHUB.run_id} {find_ci(environ)[1].run_id}", environ)
    return check_deploy_id(environ.get("NVOI_DEPLOY_ID") or run_id or str(uuid.uuid4()))


def find_context(environ: Environ, directory: Path) -> RunContext:
    """What is known of this run, from its CI and from the git checkout in ``directory``."""
    provider, ci = find_ci(environ)
    git = partial(ask_git, directory, environ)
    sha = _fill(ci.sha, environ) or git("rev-parse", "HEAD")
    ref = _fill(ci.ref, environ)
    if provider is None:
        ref = git("symbolic-ref", "--short", "HEAD") or git("describe", "--tags", "--exact-match")
    commit = ("--no-patch", "--encoding=UTF-8", "--end-of-options", f"{sha}^{{commit}}", "--")
    # GitLab's is "Name <address>".
    author = re.sub(r"\s*<.*", "", _fill(ci.author, environ) or "")
    # Servers may end in a slash, projects have spaces, and Bitbucket's address begins with http.
    url = re.sub(r"(?<!:)//+", "/", _fill(ci.url, environ) or "").replace(" ", "%20")
    return RunContext(
        git_sha=sha,
        git_ref=ref,
        ci_provider=provider,
        ci_run_url=url.replace("http://bitbucket.org/", "https://bitbucket.org/") or None,
        commit_title=git("show", "--format=%s", *commit) or _fill(ci.title, environ),
        commit_author=git("show", "--format=%an", *commit) or author or None,
        dirty=bool(git("status", "--porcelain", "--untracked-files=normal", "--", ".")),
    )


def _fill(templates: str, environ: Environ) -> str | None:
    for template in templates.split():
        if all(environ.get(name) for name in re.findall(r"{(\w+)}", template)):
            return _take_line(template.format_map(environ)) or None
    return None


def _take_line(text: str) -> str:
    """The first line of ``text``, as valid Unicode without control characters."""
    return clean(text).strip().partition("\n")[0].expandtabs(1)


def ask_git(directory: Path, environ: Environ, *words: str) -> str | None:
    """The first line that git prints; None where it fails, takes too long, or prints nothing."""
    # A hook's GIT_DIR would name another checkout.
    settings = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    options = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false")
    printed = ask(
        ("git", "-C", str(directory), *options, *words),
        settings | {"GIT_TERMINAL_PROMPT": "0"},
        seconds=GIT_SECONDS,
    )
    return _take_line(printed or "") or None
