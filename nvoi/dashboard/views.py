"""Projects and their runs as the templates show them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from urllib.parse import quote

from nvoi.dashboard import formats
from nvoi.dashboard.projects import DEFAULT_PROJECT, Project
from nvoi.dashboard.queries import Attempt, History, Status

#: What a file's name had better not have on any system.
_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST_NAME = 80

#: A UUID, and how much of an id tells it apart from others at a glance.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SHORT_ID, _SHORT_UUID = 14, 8

#: The height of a strip's bars, and of the least of them; a bar and the space beside it.
BAR_HEIGHT, LEAST_BAR = 40, 5
BAR_WIDTH, BAR_STEP = 7, 10


#: What each state is shown by.
SIGNS: dict[Status, str] = {
    "running": "▶",
    "completed": "✓",
    "failed": "✗",
    "cancelled": "⊘",
    "lost": "?",
}

#: What a run is called that does something else than deploy.
_COMMANDS = {"delete": "Delete", "rollback": "Rollback"}


@dataclass(frozen=True, slots=True)
class DeployView:
    """An attempt with what the templates need to know beside it.

    ``now`` is the time of the page, Unix milliseconds; ``attempts`` are the numbers of all the
    deploy's attempts that are kept, from the first; ``before`` is the deploy that served before.
    """

    attempt: Attempt
    now: int
    attempts: Sequence[int] = ()
    before: Attempt | None = None

    @property
    def sign(self) -> str:
        return SIGNS[self.attempt.status]

    @property
    def icon(self) -> str:
        return f"favicon-{self.attempt.status}.svg"

    @property
    def name(self) -> str:
        """What it is known by: its commit's title, else branch and commit, else its id."""
        run = self.attempt
        if title := formats.clean_name(run.commit_title or ""):
            return title
        sha = formats.shorten_sha(run.git_sha) if run.git_sha else ""
        return formats.clean_name(f"{run.git_ref or ''} {sha}") or self.deploy_id

    @property
    def deploy_id(self) -> str:
        return formats.clean_name(self.attempt.deploy_id) or "unnamed"

    @property
    def command(self) -> str | None:
        """What it does, where that is no deploy."""
        command = self.attempt.command
        if command in {None, "deploy"}:
            return None
        return _COMMANDS.get(command or "", formats.clean_name(command or ""))

    @property
    def what(self) -> str:
        """Its name, and what it does where that is no deploy."""
        return f"{self.command}: {self.name}" if self.command else self.name

    @property
    def kind(self) -> str:
        """The class of what it does."""
        command = self.attempt.command or "deploy"
        return command if command in {"deploy", *_COMMANDS} else "other"

    @property
    def title(self) -> str:
        """The window's title: what a tab in the background tells."""
        return f"{self.sign} {self.what} {self.attempt.status} · {self.project_name}"

    @property
    def label(self) -> str:
        """What a bar of it tells."""
        took = formats.format_duration(self.duration)
        ago = formats.format_ago(max(0, self.now - self.attempt.started_at))
        return f"{self.what}, {self.attempt.status} in {took}, {ago}"

    @property
    def project_name(self) -> str:
        return name_project(self.attempt.project, self.attempt.app)

    @property
    def project_url(self) -> str:
        return build_project_url(self.attempt.project)

    @property
    def short_id(self) -> str:
        most = _SHORT_UUID if _UUID.fullmatch(self.deploy_id) else _SHORT_ID
        return self.deploy_id if len(self.deploy_id) <= most else f"{self.deploy_id[:most]}…"

    @property
    def url(self) -> str:
        """The deploy's page, which shows its newest attempt."""
        return f"{self.project_url}/deploys/{quote(self.attempt.deploy_id, safe='')}"

    @property
    def run_url(self) -> str:
        """The page of this very attempt."""
        newest = not self.attempt.superseded
        return self.url if newest else f"{self.url}?attempt={self.attempt.number}"

    @property
    def api_url(self) -> str:
        """Where the deploy's data is; ``.json`` or ``/lines.json`` follows."""
        return f"/api{self.url}"

    @property
    def commit_url(self) -> str | None:
        return build_commit_url(self.attempt)

    @property
    def compare_url(self) -> str | None:
        return build_compare_url(self.before, self.attempt) if self.before else None

    @property
    def since(self) -> int | None:
        return self.attempt.started_at if self.attempt.status == "running" else None

    @property
    def duration(self) -> int:
        """How long it took, or has taken so far, in milliseconds."""
        spent = self.attempt.duration
        return max(0, self.now - self.attempt.started_at) if spent is None else spent

    @property
    def silence(self) -> int:
        return max(0, self.now - self.attempt.last_seen_at)

    @property
    def ended_at(self) -> int:
        return self.attempt.ended_at or self.attempt.last_seen_at

    @property
    def file_name(self) -> str:
        """What its log is called when it is saved."""
        attempt = self.attempt
        names = [self.project_name, attempt.deploy_id]
        if attempt.number > 1:
            names.append(str(attempt.number))
        name = _UNSAFE.sub("_", "-".join(names))
        return f"{name[:_LONGEST_NAME].strip('.')}.txt"


@dataclass(frozen=True, slots=True)
class ProjectView:
    project: Project
    deploys: Sequence[DeployView]
    history: History
    now: int

    @property
    def name(self) -> str:
        apps = {view.attempt.app for view in self.deploys}
        return name_project(self.project.name, apps.pop() if len(apps) == 1 else None)

    @property
    def url(self) -> str:
        return build_project_url(self.project.name)

    @property
    def callback_path(self) -> str | None:
        """Where its deploys are sent to; None where it is its senders' secret."""
        return "/api/deploys" if self.project.token is None else None

    @property
    def live(self) -> DeployView | None:
        """The run that what is live comes from."""
        return self._show(self.history.live, self.history.before)

    @property
    def deleted(self) -> DeployView | None:
        return self._show(self.history.deleted)

    @property
    def last_success(self) -> DeployView | None:
        return self._show(self.history.last_success)

    def _show(self, run: Attempt | None, before: Attempt | None = None) -> DeployView | None:
        return DeployView(run, self.now, before=before) if run else None

    @property
    def bars(self) -> list[tuple[DeployView, int]]:
        """The last results, the oldest first, each with the height of its bar: how long it took."""
        views = [DeployView(run, self.now) for run in reversed(self.history.results)]
        spent = [view.duration for view in views]
        # One that took very long would make all others look alike.
        longest = max(1, min(max(spent, default=0), 3 * round(median(spent or [0]))))
        room = BAR_HEIGHT - LEAST_BAR
        heights = [LEAST_BAR + round(room * min(1.0, each / longest)) for each in spent]
        return list(zip(views, heights, strict=True))


def name_project(name: str, app: str | None = None) -> str:
    """A project's name for people; the one that needs no name has that of its only ``app``."""
    return name if name != DEFAULT_PROJECT else formats.clean_name(app or "") or "deploys"


def build_project_url(name: str) -> str:
    return f"/projects/{quote(name, safe='')}"


# -- repositories ----------------------------------------------------------------------------

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
    if host is None or not formats.is_web_url(url) or not _SHA.fullmatch(run.git_sha or ""):
        return None
    match = host.run.fullmatch(url)
    return (match[1], host) if match else None
