"""A dashboard that answers every request alike, and remembers what it was sent."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from nvoi import protocol


class Dashboard(HTTPServer):
    """Serves on a loopback port, from ``with`` to its end; ``tls`` makes it https."""

    def __init__(
        self,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__("127.0.0.1", ssl_context=tls)
        self.status = status
        self.expect_request(re.compile(""), method="POST").respond_with_handler(
            lambda _: Response(status=self.status, headers=dict(headers or {}))
        )

    @property
    def url(self) -> str:
        return self.url_for("/api/deploys")

    @property
    def requests(self) -> list[Request]:
        return [request for request, _ in self.log]

    def check_signatures(self, key: str) -> None:
        """Every request was signed with ``key`` in both ways."""
        for request in self.requests:
            body, headers = request.get_data(), request.headers
            assert protocol.verify(body, headers["X-Nvoi-Signature"], key)
            assert protocol.verify_webhook(
                body,
                headers["Webhook-Signature"],
                key,
                webhook_id=headers["Webhook-Id"],
                timestamp=headers["Webhook-Timestamp"],
            )
