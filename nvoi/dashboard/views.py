"""What the pages show of an attempt, apart from its log. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from nvoi.dashboard import formats
from nvoi.dashboard.records import DEFAULT_PROJECT, Attempt, Project, Status

#: What a file's name had better not have on any system.
_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Badge:
    """How a status is shown: its sign, its word, and the window's icon."""

    sign: str
    word: str
    icon: str


BADGES: dict[Status, Badge] = {
    "running": Badge("▶", "running", "favicon-running.svg"),
    "completed": Badge("✓", "completed", "favicon-completed.svg"),
    "failed": Badge("✗", "failed", "favicon-failed.svg"),
    "lost": Badge("?", "lost contact", "favicon-lost.svg"),
}


@dataclass(frozen=True, slots=True)
class DeployView:
    """An attempt with what the templates need to know beside it.

    ``now`` is the time of the page, Unix milliseconds; ``attempts`` are the numbers of all the
    deploy's attempts that are kept, from the first.
    """

    attempt: Attempt
    now: int
    attempts: Sequence[int] = ()

    @property
    def badge(self) -> Badge:
        """How its status is shown."""
        return BADGES[self.attempt.status]

    @property
    def title(self) -> str:
        """The window's title: what a tab in the background tells."""
        attempt = self.attempt
        names = [attempt.deploy_id] if attempt.git_ref is None else [attempt.git_ref]
        if attempt.git_ref is not None:
            names.append(attempt.deploy_id)
        name = formats.clean_title(" ".join(names))
        return f"{self.badge.sign} {name} {self.badge.word} · {name_project(attempt.project)}"

    @property
    def url(self) -> str:
        """The deploy's page, which shows its newest attempt."""
        return build_deploy_url(self.attempt.project, self.attempt.deploy_id)

    @property
    def api_url(self) -> str:
        """Where the deploy's data is; ``.json`` or ``/lines.json`` follows."""
        return f"/api{self.url}"

    @property
    def since(self) -> int | None:
        """When the run began that is still going on; None for one that is not."""
        return self.attempt.started_at if self.attempt.status == "running" else None

    @property
    def duration(self) -> int:
        """How long it took, or has taken so far, in milliseconds."""
        attempt = self.attempt
        if attempt.duration_seconds is not None:
            return attempt.duration_seconds * 1000
        end = self.now if attempt.status == "running" else attempt.ended_at or attempt.last_seen_at
        return max(0, end - attempt.started_at)

    @property
    def age(self) -> int:
        """How long ago it began, in milliseconds."""
        return max(0, self.now - self.attempt.started_at)

    @property
    def silence(self) -> int:
        """How long nothing has been heard of it, in milliseconds."""
        return max(0, self.now - self.attempt.last_seen_at)

    @property
    def file_name(self) -> str:
        """What its log is called when it is saved."""
        attempt = self.attempt
        names = [name_project(attempt.project), attempt.deploy_id]
        if attempt.number > 1:
            names.append(str(attempt.number))
        name = _UNSAFE.sub("_", "-".join(names))
        return f"{name[:_LONGEST_NAME].strip('.')}.txt"


@dataclass(frozen=True, slots=True)
class ProjectView:
    """A project and its newest deploys, the newest first."""

    project: Project
    deploys: Sequence[DeployView]

    @property
    def name(self) -> str:
        """What it is called on the pages."""
        return name_project(self.project.name)

    @property
    def url(self) -> str:
        """Its page."""
        return build_project_url(self.project.name)

    @property
    def callback_path(self) -> str | None:
        """Where its deploys are sent to; None where it is its senders' secret."""
        return "/api/deploys" if self.project.token is None else None


def name_project(name: str) -> str:
    """A project's name for people; the one that needs no name is ``deploys``."""
    return "deploys" if name == DEFAULT_PROJECT else name


def build_project_url(name: str) -> str:
    """The page of a project."""
    return f"/projects/{quote(name, safe='')}"


def build_deploy_url(project: str, deploy_id: str) -> str:
    """The page of a deploy."""
    return f"{build_project_url(project)}/deploys/{quote(deploy_id, safe='')}"
