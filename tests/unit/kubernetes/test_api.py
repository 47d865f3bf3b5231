from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from pytest_httpserver import HTTPServer  # noqa: TC002 - pytest reads it
from urllib3 import HTTPConnectionPool

from nvoi.errors import ConnectionFailedError, RequestError
from nvoi.http import Client
from nvoi.kubernetes.api import Api
from nvoi.kubernetes.ownership import Reference
from nvoi.kubernetes.watches import LogStream, read_last_lines
from nvoi.parallel import hold
from tests.waiting import PATIENCE

POD: Any = {"kind": "Pod", "metadata": {"name": "web-1", "uid": "1"}}


@pytest.mark.parametrize("code", [410, 500, 504])
def test_a_watch_that_the_api_ends_by_an_error_lists_again(
    httpserver: HTTPServer, code: int
) -> None:
    path = "/api/v1/namespaces/default/pods"
    listing = {"metadata": {"resourceVersion": "7"}, "items": [POD]}
    error = {"type": "ERROR", "object": {"kind": "Status", "code": code, "message": "etcd"}}
    for _ in range(2):
        httpserver.expect_ordered_request(path).respond_with_json(listing)
        httpserver.expect_ordered_request(path).respond_with_data(json.dumps(error) + "\n")
    api = Api(Client(lambda: HTTPConnectionPool(httpserver.host, httpserver.port)))
    changes = api.watch("pods", "default")
    assert [next(changes).type for _ in range(2)] == ["LISTED", "LISTED"]


class Endless:
    """Stands in for an API whose container prints for ever."""

    def __init__(self) -> None:
        self.count = 0
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()

    def follow_lines(self, pod: Reference, container: str) -> Any:
        self.count += 1
        with hold(self):
            self.cancelled.wait()
        yield from ()
        raise ConnectionFailedError("cut off")


def test_the_lines_of_a_container_are_not_asked_for_again_once_that_is_ended() -> None:
    api: Any = Endless()
    stream = LogStream(api, Reference("Pod", "web-1"), "web", lambda _: None)
    stream.ensure(is_running=True)
    stream.close(0.0)
    stream.close(0.0)
    assert api.count == 1


class Cut:
    """Stands in for an API whose first answer is cut off, as soon as that is wanted."""

    def __init__(self) -> None:
        self.count = 0
        self.wanted = threading.Event()

    def follow_lines(self, pod: Reference, container: str) -> Any:
        self.count += 1
        yield "one"
        if self.count == 1:
            self.wanted.wait(PATIENCE)
            raise RequestError("cut off", is_silence=True)
        yield "two"


def test_lines_that_are_cut_off_as_a_container_ends_are_asked_for_once_more() -> None:
    api: Any = Cut()
    told: list[str] = []

    class Ending(LogStream):
        def ensure(self, *, is_running: bool) -> None:
            super().ensure(is_running=is_running)
            if not is_running:
                api.wanted.set()

    stream = Ending(api, Reference("Pod", "web-1"), "web", told.append)
    stream.ensure(is_running=True)
    stream.close(PATIENCE)
    assert told == ["one", "two"]


class Unreachable:
    """Stands in for an API whose server cannot be reached any more."""

    def read_lines(self, *args: Any, **options: Any) -> Any:
        raise ConnectionFailedError("the connection was lost")


def test_a_failure_is_told_though_the_server_cannot_be_asked_for_lines() -> None:
    api: Any = Unreachable()
    assert read_last_lines(api, POD, "web", previous=True) == ()
