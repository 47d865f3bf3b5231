"""What the URL of a request that reads asks for."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from nvoi.dashboard.attempts import find_attempt
from nvoi.dashboard.projects import find_project
from nvoi.dashboard.records import Attempt, Project
from nvoi.errors import UsageError
from nvoi.protocol import check_deploy_id

if TYPE_CHECKING:
    from starlette.requests import Request

#: More digits than any number here has, and few enough for SQLite.
_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)


def get_number(request: Request, name: str, default: int, *, most: int | None = None) -> int:
    """The number that the query gives ``name``, ``default`` without one, ``most`` at most.

    Raises:
        HTTPException: 422: it is no number.
    """
    number = find_number(request, name)
    if number is None:
        number = default
    return number if most is None else min(number, most)


def find_number(request: Request, name: str) -> int | None:
    """The number that the query gives ``name``.

    Raises:
        HTTPException: 422: it is no number.
    """
    text = request.query_params.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise HTTPException(422, f"{name} has to be a whole number")
    return int(text)


def get_deploy_id(request: Request) -> str:
    """The deploy id of the path.

    Raises:
        HTTPException: 404: it cannot be one.
    """
    try:
        return check_deploy_id(request.path_params["deploy_id"] or "")
    except UsageError:
        raise HTTPException(404, "there is no such deploy") from None


def get_project(connection: sqlite3.Connection, name: str | None) -> Project:
    """The project of the path.

    Raises:
        HTTPException: 404: there is none.
    """
    project = find_project(connection, name) if name else None
    if project is None:
        raise HTTPException(404, "there is no such project")
    return project


def get_attempt(
    connection: sqlite3.Connection, name: str | None, deploy_id: str, number: int | None
) -> Attempt:
    """An attempt of the deploy of the path, its newest where ``number`` is None.

    Raises:
        HTTPException: 404: there is none.
    """
    attempt = find_attempt(connection, get_project(connection, name), deploy_id, number)
    if attempt is None:
        raise HTTPException(404, "there is no such deploy")
    return attempt
