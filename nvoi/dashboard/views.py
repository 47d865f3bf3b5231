"""Projects and their runs as the templates show them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from urllib.parse import quote

from nvoi.dashboard import formats
from nvoi.dashboard.history import History
from nvoi.dashboard.projects import DEFAULT_PROJECT, Project
from nvoi.dashboard.queries import Attempt, Status
from nvoi.dashboard.repositories import build_commit_url, build_compare_url

#: What a file's name had better not have on any system.
_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST_NAME = 80

#: A UUID, and how much of an id tells it apart from others at a glance.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SHORT_ID, _SHORT_UUID = 14, 8

#: The height of a strip's bars, and of the least of them; a bar and the space beside it.
BAR_HEIGHT, LEAST_BAR = 40, 5
BAR_WIDTH, BAR_STEP = 7, 10


@dataclass(frozen=True, slots=True)
class Badge:
    sign: str
    word: str
    icon: str


BADGES: dict[Status, Badge] = {
    "running": Badge("▶", "running", "favicon-running.svg"),
    "completed": Badge("✓", "completed", "favicon-completed.svg"),
    "failed": Badge("✗", "failed", "favicon-failed.svg"),
    "cancelled": Badge("⊘", "cancelled", "favicon-cancelled.svg"),
    "lost": Badge("?", "lost", "favicon-lost.svg"),
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
    def badge(self) -> Badge:
        return BADGES[self.attempt.status]

    @property
    def name(self) -> str:
        """What it is known by: its commit's title, else branch and commit, else its id."""
        run = self.attempt
        if title := formats.clean_name(run.commit_title or ""):
            return title
        sha = formats.shorten_sha(run.git_sha) if run.git_sha else ""
        return formats.clean_name(f"{run.git_ref or ''} {sha}") or formats.clean_name(run.deploy_id)

    @property
    def command(self) -> str | None:
        """What it does, where that is no deploy."""
        command = self.attempt.command
        if command in {None, "deploy"}:
            return None
        return _COMMANDS.get(command or "", formats.clean_name(command or ""))

    @property
    def kind(self) -> str:
        """The class of what it does."""
        command = self.attempt.command or "deploy"
        return command if command in {"deploy", *_COMMANDS} else "other"

    @property
    def title(self) -> str:
        """The window's title: what a tab in the background tells."""
        did = f"{self.command}: " if self.command else ""
        name = formats.clean_title(f"{did}{self.name}")
        return f"{self.badge.sign} {name} {self.badge.word} · {self.project_name}"

    @property
    def project_name(self) -> str:
        return name_project(self.attempt.project, self.attempt.app)

    @property
    def short_id(self) -> str:
        deploy_id = formats.clean_name(self.attempt.deploy_id)
        most = _SHORT_UUID if _UUID.fullmatch(deploy_id) else _SHORT_ID
        return deploy_id if len(deploy_id) <= most else f"{deploy_id[:most]}…"

    @property
    def url(self) -> str:
        """The deploy's page, which shows its newest attempt."""
        return build_deploy_url(self.attempt.project, self.attempt.deploy_id)

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
    def age(self) -> int:
        return max(0, self.now - self.attempt.started_at)

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
class Bar:
    """A result in a strip of them; ``x`` and ``height`` are in the strip's own units."""

    view: DeployView
    x: int
    height: int

    @property
    def y(self) -> int:
        return BAR_HEIGHT - self.height

    @property
    def label(self) -> str:
        did = f"{self.view.command}: " if self.view.command else ""
        took = formats.format_duration(self.view.duration)
        ago = formats.format_ago(self.view.age)
        return f"{did}{self.view.name}, {self.view.badge.word} in {took}, {ago}"


@dataclass(frozen=True, slots=True)
class ProjectView:
    project: Project
    deploys: Sequence[DeployView]
    history: History | None = None
    now: int = 0

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
        if self.history is None or self.history.live is None:
            return None
        return DeployView(self.history.live, self.now, before=self.history.before)

    @property
    def deleted(self) -> DeployView | None:
        found = self.history and self.history.deleted
        return DeployView(found, self.now) if found else None

    @property
    def last_success(self) -> DeployView | None:
        found = self.history and self.history.last_success
        return DeployView(found, self.now) if found else None

    @property
    def bars(self) -> list[Bar]:
        """The last results, the oldest first, each as high as it took long."""
        results = self.history.results if self.history else ()
        views = [DeployView(run, self.now) for run in reversed(results)]
        spent = [view.duration for view in views]
        # One that took very long would make all others look alike.
        longest = max(1, min(max(spent, default=0), 3 * round(median(spent or [0]))))
        room = BAR_HEIGHT - LEAST_BAR
        heights = [LEAST_BAR + round(room * min(1.0, each / longest)) for each in spent]
        return [
            Bar(view, index * BAR_STEP, height)
            for index, (view, height) in enumerate(zip(views, heights, strict=True))
        ]


def name_project(name: str, app: str | None = None) -> str:
    """A project's name for people; the one that needs no name has that of its only ``app``."""
    return name if name != DEFAULT_PROJECT else formats.clean_title(app or "") or "deploys"


def build_project_url(name: str) -> str:
    return f"/projects/{quote(name, safe='')}"


def build_deploy_url(project: str, deploy_id: str) -> str:
    return f"{build_project_url(project)}/deploys/{quote(deploy_id, safe='')}"
