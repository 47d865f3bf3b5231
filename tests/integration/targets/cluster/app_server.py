"""What answers requests to an app in the place of its pods."""

from __future__ import annotations

from collections.abc import Callable

from werkzeug import Request, Response

from tests.fakes.kubernetes.server import start_server


class AppServer:
    """Answers every request with ``status``.

    Args:
        wait: called before each answer.
    """

    def __init__(self, wait: Callable[[], object] = lambda: None) -> None:
        self.status = 200
        self.requests: list[tuple[str, str]] = []
        self.wait = wait
        self._server = start_server(self._answer, tls=False)
        self.port = self._server.port

    def close(self) -> None:
        """Answer no more."""
        self._server.stop()

    def _answer(self, request: Request) -> Response:
        self.requests.append((request.headers["Host"], request.path))
        self.wait()
        return Response(status=self.status)
