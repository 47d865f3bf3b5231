"""Asks whether a dashboard follows the deploys, and tries it: a signed call, and its answer."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nvoi.config.fields import parse_callback_url
from nvoi.log.clock import read_seconds
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.prompts import DOTS, Choice, Interview, Prompts, Verdict, ask, ask_blank
from nvoi.protocol import LogBatch, Run, build_headers, build_url
from nvoi.secret import Secret

if TYPE_CHECKING:
    from nvoi.log.transport import Answer, TransportError

#: Where `nvoi dashboard` listens unless told otherwise, and takes deploys.
DEFAULT_URL = "http://127.0.0.1:8787/api/deploys"
#: How long a person waits for the answer.
CONNECT_SECONDS, TOTAL_SECONDS = 3.0, 6.0
# Up to the last `@` of the authority, as RFC 3986's readers take it.
USERINFO = re.compile(r"://(?P<userinfo>[^/?#\s]*)@")

START = (
    "Once the config is saved, `nvoi dashboard` in the app's folder starts one that has this "
    f"app's key (it needs nvoi's extra dashboard). Its callback URL is {DEFAULT_URL}"
)
ADD_KEY = (
    "Once the config is saved, give it the key: where it runs, `nvoi dashboard project add NAME "
    "--key-file deploy.key` prints the callback URL to use; a dashboard of another make has its "
    "own place for the key."
)
#: What an answer other than 2xx means, and what to do.
MEANINGS = {
    400: "It is there, and takes the test call for malformed: is this a callback of nvoi's?",
    401: f"It is there, but does not know this app's key yet. {ADD_KEY}",
    403: f"It is there, but refuses this app's key. {ADD_KEY}",
    404: "The server is there, but nothing has this path. `nvoi dashboard project list` names the "
    "callback URL of each project.",
    405: "The server is there, but this path takes no POST: is this the address of a page?",
    410: "The server says that this is gone for good.",
    413: "The server takes not even the smallest request.",
    422: "It is there, but does not take the test call, which holds no lines: is this a callback "
    "of nvoi's? It may take a deploy all the same.",
    429: "It is there, and wants fewer requests. Try again in a minute.",
}


AFTER_TROUBLE = (
    Choice("keep this URL", "keep"),
    Choice("change the URL", "change"),
    Choice("try again", "again"),
    Choice("stream to no dashboard", "none"),
)


WHICH = (
    Choice("start one on this machine, in the background", value=True),
    Choice("one that runs already", value=False),
)


def ask_streaming(interview: Interview, answers: Answers) -> Answers:
    """``callback_url``, or none; one that does not answer well is kept if the user wants that."""
    prompts = interview.prompts
    before = answers.callback_url
    if not prompts.confirm("Stream deploy logs to a dashboard?", default=bool(before)):
        return replace(answers, callback_url=None)
    url = before or start(interview, answers.name) or ask_first_url(interview)
    action = "change" if before else "again"
    while True:
        if action == "change":
            url = ask_url(prompts, url)
        prompts.say("  A test call ...")
        verdict = prompts.once(partial(interview.call_dashboard, url))
        prompts.say(f"{'  ' if verdict.ok else '! '}{verdict.text}")
        action = "keep" if verdict.ok else prompts.choose("What now?", AFTER_TROUBLE, None)
        if action == "none":
            return replace(answers, callback_url=None)
        if action == "keep":
            return replace(answers, callback_url=url)


def start(interview: Interview, name: str) -> str:
    """The callback URL of a dashboard that is started now; "" where the user has another one."""
    prompts, begin = interview.prompts, interview.start_dashboard
    if begin is None or not prompts.choose("Which one?", WHICH, default=True):
        return ""
    started = prompts.once(partial(begin, name))
    prompts.say(f"{'  ' if started.url else '! '}{started.text}")
    return started.url


def ask_first_url(interview: Interview) -> str:
    if interview.start_dashboard is None:
        interview.prompts.say(f"  No dashboard yet? {START}")
    return ask_url(interview.prompts, DEFAULT_URL)


def ask_url(prompts: Prompts, before: str) -> str:
    """The callback URL; one with a password is not shown, and kept by a blank answer."""
    shown = hide_password(before)
    if shown == before:
        return ask(prompts, "Callback URL:", parse_callback_url, before)
    return ask_blank(prompts, f"Callback URL (blank: {shown}):", parse_callback_url) or before


def hide_password(url: str) -> str:
    """``url`` with dots for the password in it, or for the token in place of user and password."""

    def hide(match: re.Match[str]) -> str:
        user, colon, _ = match["userinfo"].partition(":")
        return f"://{user if colon else ''}{colon}{DOTS}@"

    return USERINFO.sub(hide, url)


def describe_streaming(answers: Answers) -> list[str]:
    return [hide_password(answers.callback_url) if answers.callback_url else "none"]


def call_dashboard(url: str, key: Secret, environ: Mapping[str, str]) -> Verdict:
    """Send a batch without lines, which a dashboard takes and does not store."""
    from nvoi.log.transport import Transport, TransportError  # noqa: PLC0415 - slow to import

    deploy_id = f"nvoi-onboard-{secrets.token_hex(6)}"
    request = LogBatch([], first=0)
    body = request.encode()
    headers = build_headers(
        request,
        body,
        key=key.reveal(),
        deploy_id=deploy_id,
        run=Run(),
        timestamp=int(time.time()),
    )
    transport = Transport(url, environ=environ, connect_seconds=CONNECT_SECONDS)
    try:
        target = build_url(url, deploy_id, request.kind)
        until = read_seconds() + TOTAL_SECONDS
        answer = transport.post(target, body, headers, lambda: until)
    except TransportError as error:
        return explain_failure(error, url)
    finally:
        transport.close()
    return explain_answer(answer)


def explain_answer(answer: Answer) -> Verdict:
    status = answer.status
    if 200 <= status < 300:  # noqa: PLR2004 - the successful ones
        return Verdict(ok=True, text=f"The dashboard answers ({status}) and takes this app's key.")
    if 300 <= status < 400:  # noqa: PLR2004 - redirects
        target = describe_target(answer.headers.get("location", ""))
        text = f"It redirects{target}. No redirect is followed: give the address it leads to."
    elif status in MEANINGS:
        text = MEANINGS[status]
    elif status >= 500:  # noqa: PLR2004 - the server's faults
        text = "The server is there, but has a fault of its own, or what stands behind it is down."
    else:
        text = "That is no answer of a dashboard."
    return Verdict(ok=False, text=f"It answered {status}. {text}")


def describe_target(location: str) -> str:
    """Where a redirect leads, without what the address may hold of secrets."""
    try:
        parts = urlsplit(location)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    if not location.isprintable() or parts.scheme not in {"http", "https"} or not parts.hostname:
        return ""
    return f" to {parts.scheme}://{parts.hostname}{port}{parts.path}"


def explain_failure(error: TransportError, url: str) -> Verdict:
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    hints = {
        "unreachable": f"Is the address right, and does the dashboard run? {START}",
        "timeout": "Is the address right? A firewall may drop what is sent there.",
        "tls": "A certificate of your own authority: name its file in $SSL_CERT_FILE. Where the "
        "server speaks plain HTTP, the address begins with http://",
        "proxy": "See $HTTP_PROXY, $HTTPS_PROXY and $NO_PROXY.",
        "environment": "",
        "garbage": "Is this the port of a web server? One that speaks TLS needs https://",
        "reset": f"A server that speaks TLS needs https:// in front of it: {place}",
    }
    text = f"No answer: {error}. {hints.get(error.kind, '')}"
    return Verdict(ok=False, text=text.strip())
