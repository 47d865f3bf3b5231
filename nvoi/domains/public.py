"""The public check: an app's addresses asked as visitors do, and what their answers mean.

Cloudflare's pages and codes are of its documentation, "Cloudflare 1xxx errors" and "Cloudflare 5xx
errors".
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import (
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as LateError

from nvoi import network, parallel
from nvoi.command import build_script
from nvoi.domains.domain import Site
from nvoi.errors import ServiceError
from nvoi.http import build_connect, find_cause
from nvoi.log.levels import get_logger
from nvoi.parallel import work_on_all
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host
from nvoi.version import __version__
from nvoi.waiting import NotReadyError, ask_in_a_row, wait_for

log = get_logger("nvoi.domains")

#: Seconds within which good answers in a row come.
SECONDS = 60.0
#: Seconds between two tries.
TRY_PAUSE = 1.0
#: Seconds until a connection is there, and without a byte of an answer.
ANSWER_SECONDS = 10.0
#: Bytes of an answer that are looked at.
LOOKED_AT = 64 * 1024
HTTPS = 443
#: Of a certificate that nobody else has signed (OpenSSL, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT).
SELF_SIGNED = 18
#: What a healthcheck takes for good, as a probe of Kubernetes does.
LEAST, LARGEST = 200, 399
SERVER_ERROR = 500
#: The status of Cloudflare's pages with a code of four digits.
NO_ORIGIN = 530
#: Cloudflare's own pages: the code of its error in text and in HTML.
CODE = re.compile(r"\berror(?: code:)?\s+(\d{3,4})\b", re.IGNORECASE)
PAGE = re.compile(r"cf-error|cloudflare ray id", re.IGNORECASE)
#: What the codes say that a tunnel may bring about, and what to do about it.
CODES: Mapping[int, tuple[str, str]] = {
    1014: (
        "the DNS record leads to a tunnel of another account",
        "`account_id` must be that of the account which has the domain's zone",
    ),
    1016: (
        "the DNS record leads to a tunnel that is gone",
        "deploy again: a tunnel is made anew where it lacks",
    ),
    1033: (
        "no cloudflared is connected to the tunnel",
        "see what the cloudflared pods print: the servers must reach Cloudflare at port 7844",
    ),
    502: (
        "cloudflared does not reach the service in the cluster",
        "see what the cloudflared pods print",
    ),
}
ELSEWHERE = "the DNS record leads elsewhere than to the app: see it at Cloudflare"
#: Rules that an account has made, which turn this check away as they are to turn others away.
OWN_RULES = frozenset({1005, 1006, 1007, 1008, 1009, 1010, 1012, 1015, 1020})
LOOK_UP = 'getent ahosts "$1" >/dev/null'


class BadAnswerError(NotReadyError):
    """An answer that is not what a visitor is to see, or none; ``hint`` says what to do."""

    def __init__(self, seen: str, hint: str = "") -> None:
        super().__init__(seen)
        self.hint = hint


@dataclass(frozen=True)
class Seen:
    """An answer as it came; ``text`` is the beginning of its body."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True)
class Way:
    """A way to an address: ``place`` is where it begins, as it reads after "from".

    ``connect`` makes a new pool of connections; ``resolves`` says whether the name is known there.
    """

    place: str
    connect: Callable[[], urllib3.HTTPConnectionPool]
    resolves: Callable[[], bool] = lambda: True


def ask_all(
    sites: Sequence[Site], environ: Mapping[str, str], connections: Connections, master: Host
) -> None:
    """Ask for all sites at once, from here and through the master, until all have answered well.

    Args:
        sites: what is asked for.
        environ: names proxies and CAs, if any.
        connections: the way to the master.
        master: a part of the cluster.

    Raises:
        HostsError: several do not answer well three times in a row within 60 s.
        ServiceError: one does not.
    """
    with ExitStack() as stack:
        ways = {
            (site, way.place): way
            for site in sites
            for way in (
                Way("here", build_connect(site.url, environ)),
                stack.enter_context(lead_through(master, connections, site.hostname, environ)),
            )
        }
        work_on_all([*ways], lambda key: wait_for_answers(key[0], ways[key]))


@contextmanager
def lead_through(
    master: Host, connections: Connections, name: str, environ: Mapping[str, str]
) -> Iterator[Way]:

    def resolves() -> bool:
        command = build_script("nvoi-look-up", LOOK_UP, name)
        return connections.run(master, command, check=False, level=None).is_ok

    with connections.forward(master, name, HTTPS) as local:

        def connect() -> urllib3.HTTPConnectionPool:
            tls = network.build_tls(environ)
            return urllib3.HTTPSConnectionPool(
                "127.0.0.1", local, ssl_context=tls, server_hostname=name
            )

        yield Way("the cluster", connect, resolves)


def wait_for_answers(
    site: Site,
    way: Way,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = parallel.sleep,
) -> None:
    """Ask until there were good answers in a row.

    Raises:
        ServiceError: there was still a bad one after 60 s.
    """
    try:
        limit = wait_for(
            lambda: ask_in_a_row(lambda: judge(site, ask_once(site, way)), sleep),
            what=f"{site.url} to answer from {way.place}",
            seconds=SECONDS,
            log=log,
            pause=TRY_PAUSE,
            sleep=sleep,
            clock=clock,
        )
    except BadAnswerError as seen:
        message = f"{site.url} does not answer well from {way.place}: {seen}"
        raise ServiceError(message, hint=seen.hint) from None
    if limit:
        log.warning("%s, asked from %s: %s", site.url, way.place, limit)
    else:
        log.info("%s answers from %s", site.url, way.place)


def ask_once(site: Site, way: Way) -> Seen:
    """One question over a connection of its own.

    Raises:
        BadAnswerError: there is no answer.
    """
    pool = way.connect()
    try:
        answer = pool.urlopen(
            "GET",
            site.path or "/",
            headers={"Host": site.hostname, "User-Agent": f"nvoi/{__version__}"},
            timeout=ANSWER_SECONDS,
            retries=False,
            redirect=False,
            preload_content=False,
        )
        text = answer.read(LOOKED_AT, decode_content=True).decode(errors="replace")
        answer.close()
    except (HTTPError, OSError) as error:
        raise find_silence(site, way, error) from error
    finally:
        pool.close()
    return Seen(answer.status, answer.headers, text)


def find_silence(site: Site, way: Way, error: HTTPError | OSError) -> BadAnswerError:
    """Why there is no answer: the name, the certificate, or the connection."""
    cause = find_cause(error)
    if isinstance(error, NameResolutionError) or not way.resolves():
        return BadAnswerError(
            f"DNS: {site.hostname} has no address there",
            "a resolver that was asked before the record was there may remember that for 30 "
            "minutes; see that the domain's name servers are those that its zone names",
        )
    if isinstance(error, ProxyError):
        return BadAnswerError("the proxy that the environment names does not lead there")
    if isinstance(error, SSLError) or isinstance(cause, ssl.SSLError):
        return build_tls_fault(site, cause)
    if isinstance(error, LateError) and not isinstance(error, NewConnectionError):
        return BadAnswerError(f"no answer came within {ANSWER_SECONDS:g} s")
    reason = cause.strerror if isinstance(cause, OSError) else None
    text = "the connection was refused or lost"
    return BadAnswerError(f"{text}: {reason}" if reason else text)


def build_tls_fault(site: Site, cause: BaseException | None) -> BadAnswerError:
    soon = "the certificate of a domain that is new may take some minutes"
    if not isinstance(cause, ssl.SSLCertVerificationError):
        reason = getattr(cause, "reason", None) or "it was ended"
        return BadAnswerError(f"TLS: no connection can be made: {reason}", soon)
    if cause.verify_code == SELF_SIGNED:
        return BadAnswerError(
            f"TLS: there is no certificate for {site.hostname} yet: the one that is shown has "
            "signed itself, as Traefik's default certificate has",
            f"the authority must reach {site.hostname} at port 80 of the first server: open it, "
            "and 443, in every firewall before it",
        )
    return BadAnswerError(
        f"TLS: the certificate is not good for {site.hostname}: {cause.verify_message}", soon
    )


def judge(site: Site, seen: Seen) -> str:
    """What of an answer that will do was not looked at; empty where it was the app's own.

    Raises:
        BadAnswerError: it will not do.
    """
    is_good = LEAST <= seen.status <= LARGEST
    if "cloudflare" in seen.headers.get("server", "").lower() and not is_good:
        code = find_code(seen)
        if "cf-mitigated" in seen.headers or code in OWN_RULES:
            which = f"error {code}" if code in OWN_RULES else "a challenge"
            return f"Cloudflare's rules turn it away ({which}); only the way there was checked"
        if code is not None:
            what, hint = CODES.get(code, ("", ELSEWHERE))
            text = f"Cloudflare's own page, error {code}"
            raise BadAnswerError(f"{text}: {what}" if what else text, hint)
    if is_good or (site.path is None and seen.status < SERVER_ERROR):
        return ""
    raise BadAnswerError(
        f"the app answered {seen.status} to {site.path or '/'}",
        "it answers well inside the cluster: does it know the name that it is asked by?",
    )


def find_code(seen: Seen) -> int | None:
    """The code of a page that is Cloudflare's own, None where the app has answered."""
    match = CODE.search(seen.text)
    if match and (len(seen.text) <= len(match[0]) + 2 or PAGE.search(seen.text)):
        return int(match[1])
    return seen.status if PAGE.search(seen.text) or seen.status == NO_ORIGIN else None
