"""Who reads a dashboard, as a browser without scripts or a script without a browser does."""

from __future__ import annotations

import base64
from http.cookies import SimpleCookie
from urllib.parse import urlencode

from tests.integration.dashboard.serving import Answer, ask

PASSWORD = "correct horse battery"


class Reader:
    """Keeps cookies, follows no redirect, and sends paths as they are given.

    Args:
        port: the dashboard's, on this machine.
        headers: sent with every request.
    """

    def __init__(self, port: int, **headers: str) -> None:
        self._port = port
        self._headers = {"Accept": "text/html"} | rename(headers)
        self.cookies: dict[str, str] = {}
        #: Each cookie that was set last, with its attributes.
        self.set_cookies: list[str] = []

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
        """Send a request; an underscore in a header's name stands for a hyphen."""
        whole = self._headers | rename(headers)
        if self.cookies:
            whole["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = ask(self._port, method, path, (body or "").encode("latin-1"), whole)
        self.set_cookies = answer.headers.get_all("Set-Cookie") or []
        for cookie in self.set_cookies:
            for name, morsel in SimpleCookie(cookie).items():
                self.cookies[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.cookies[name]
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        """``GET path``."""
        return self.ask("GET", path, **headers)

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        """``POST`` a form."""
        kind = {"Content_Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, urlencode(fields), **kind | headers)

    def log_in(self, password: str = PASSWORD, path: str = "/", **headers: str) -> Answer:
        """Fill in the login form."""
        return self.post("/login", {"password": password, "next": path}, **headers)


def rename(headers: dict[str, str]) -> dict[str, str]:
    """Headers as they are sent."""
    return {name.replace("_", "-"): value for name, value in headers.items()}


def build_basic(password: str, user: str = "") -> str:
    """The ``Authorization`` of HTTP Basic."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
