"""Whether all is as it should be: what the demo needs, and what came of its deploys."""

from __future__ import annotations

import importlib.util

from nvoi.demo.place import GREETING, Place
from nvoi.demo.watcher import Watcher, ask
from nvoi.errors import NvoiError, UsageError
from nvoi.secret import Secret

#: The modules of the extra `demo` that the demo cannot do without.
NEEDED = ("supervisor", "psutil", "starlette", "uvicorn", "jinja2")


def check_extras() -> None:
    """Make sure that the extra `demo` is installed.

    Raises:
        UsageError: a module is missing.
    """
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise UsageError(
                f"the demo needs {name}, which is not installed", hint="pip install 'nvoi[demo]'"
            )


def check_app(place: Place) -> str:
    """The page that the app answers with, which names its release.

    Raises:
        NvoiError: it does not answer, or not with its greeting.
    """
    page = ask(f"{place.app_url}/").data.decode("utf-8", "replace")
    if GREETING not in page:
        raise NvoiError(f"{place.app_url} does not greet")
    return page


def check_deploy(watcher: Watcher, deploy_id: str, *, status: str, token: Secret) -> str:
    """See that the dashboard has all of a deploy.

    Returns:
        The reason of a failed one, in one line; else nothing.

    Raises:
        NvoiError: it ended otherwise, lines are missing, or the app's secret is among them.
    """
    deploy = watcher.get_deploy(deploy_id)
    attempt, page = deploy.attempt, watcher.build_page(deploy_id)
    if attempt["status"] != status:
        raise NvoiError(f"{page} shows {attempt['status']}, and {status} was expected")
    count = len(deploy.messages)
    if attempt["gaps"] or attempt["log_dropped"] or count != attempt["log_count"]:
        raise NvoiError(f"{page} has {count} of {attempt['log_count']} lines")
    text = "\n".join([*deploy.messages, attempt["error"] or ""])
    if token.reveal() in text or "API_TOKEN=[REDACTED]" not in text:
        raise NvoiError(f"{page} does not have the app's secret masked")
    if status == "failed" and not attempt["error"]:
        raise NvoiError(f"{page} gives no reason")
    # Where its log is follows in brackets: it is about to go.
    return (attempt["error"] or "").partition("\n")[0].partition(" (")[0]
