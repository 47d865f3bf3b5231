"""Cloudflare's tunnels: each service with a domain has one, and DNS records lead to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from nvoi.account import Pace, telling_made
from nvoi.config.schema import Application, Cloudflare
from nvoi.domains.cloudflare_api import (
    CONNECTED,
    Account,
    TokenRefusedError,
    make,
    read_codes,
)
from nvoi.domains.cloudflare_records import DNSRecord, Tunnel
from nvoi.domains.cloudflare_survey import (
    AccountSurvey,
    build_rules,
    describe_removal,
    describe_site,
    has_rules,
    list_names,
    list_other_rules,
)
from nvoi.domains.domain import Domains, Site, list_hostnames, list_sites
from nvoi.errors import ConfigError, Fault, HostsError, NvoiError, RequestError
from nvoi.kubernetes.cloudflared import TUNNEL, Connector, build_cloudflared
from nvoi.kubernetes.ownership import Json, Manifest
from nvoi.log.levels import get_logger
from nvoi.naming import build_tunnel_name
from nvoi.secret import Secret
from nvoi.waiting import NotReadyError

log = get_logger("nvoi.domains")

PROVIDER = "application.domain_provider.cloudflare"
CHANGED = "Cloudflare: changed %s"
#: Seconds until the rules of a tunnel are there once they were taken, and until the connections of
#: a tunnel that nobody serves any more are gone.
RULES_SECONDS, CONNECTIONS_SECONDS = 30.0, 90.0
#: Seconds until all of Cloudflare's name servers have a new record.
SETTLE_SECONDS = 5.0


class Tunnels(Domains):
    """The tunnels of an app and the DNS records that lead to them.

    Args:
        application: the app.
        account: the section of the config.
        environ: names a proxy and CAs, if any, and a stand-in for the API.
    """

    def __init__(
        self,
        application: Application,
        account: Cloudflare,
        environ: Mapping[str, str],
        pace: Pace | None = None,
    ) -> None:
        self._app = application.name
        self._sites = [*list_sites(application)]
        self._account = Account(account, environ, pace)
        self._survey: AccountSurvey | None = None
        self._tokens: dict[str, Secret] = {}
        self._made: list[Tunnel | DNSRecord] = []
        self._undo: list[Callable[[], None]] = []

    def check(self) -> None:
        """See that the names and the rights can be had.

        Whoever may read a tunnel's token may change it.
        """
        with told_as_faults():
            survey = self._look()
            known = survey.list_named_tunnels()
            self._tokens = {tunnel.id: self._account.get_token(tunnel) for tunnel in known}
            if self._sites and not known:
                self._account.check_tunnel_rights()
            for zone in survey.list_changing():
                self._account.check_record_rights(zone)

    def connect(self, deploy_id: str) -> Sequence[Manifest]:
        survey, manifests = self._survey or self._look(), list[Manifest]()
        with telling_made(self._made):
            for site in self._sites:
                tunnel = survey.find_tunnel(site) or self._make_tunnel(survey, site)
                self._ensure_rules(survey, site, tunnel)
                token = self._tokens.get(tunnel.id) or self._account.get_token(tunnel)
                connector = Connector(self._app, site.service, tunnel.id, token, deploy_id)
                manifests += build_cloudflared(connector)
        return manifests

    def publish(self) -> float:
        survey = self._survey or self._look()
        wanted = survey.list_wanted_records()
        with telling_made(self._made):
            for record in wanted:
                self._ensure_record(survey, record)
        return 0.0 if all(record.id for record in wanted) else SETTLE_SECONDS

    def restore(self) -> None:
        """The last change is taken back first; what was made stays, and leads nowhere."""
        while self._undo:
            self._undo.pop()()

    def trim(self, live: Sequence[Json]) -> None:
        survey, ids = self._survey or self._look(), find_ids(live)
        if ids and not self._sites:
            survey.look()
        tunnels = survey.list_old_tunnels(ids)
        for tunnel in tunnels:
            survey.look_at(tunnel, list_hostnames(self._sites))
        self._tell_lost(survey, ids)
        self._remove(survey.list_old_records(), tunnels)
        # Last: by these rules the records that the gem made are known as the app's.
        for site in self._sites:
            self._trim_rules(survey, site)

    def disconnect(self, live: Sequence[Json]) -> None:
        survey, tunnels = self._find_all(live)
        self._tell_lost(survey, find_ids(live))
        self._remove([*survey.records.values()], tunnels)

    def describe(self) -> list[str]:
        def describe() -> list[str]:
            with told_as_faults():
                survey = self._survey or self._look()
            made = [line for site in self._sites for line in describe_site(survey, site)]
            return made + describe_removal(survey.list_old_records(), survey.list_old_tunnels())

        return self._glance(describe)

    def describe_deletion(self) -> list[str]:
        def describe() -> list[str]:
            survey, tunnels = self._find_all()
            return describe_removal(survey.records.values(), tunnels)

        return self._glance(describe)

    # What there is

    def _glance(self, describe: Callable[[], list[str]]) -> list[str]:
        """What would be done, or that it cannot be seen."""
        self._account.pace = self._account.pace.hurry()
        try:
            return describe()
        except RequestError as error:
            return [f"what there is at Cloudflare cannot be seen from here: {error.message}"]

    def _look(self) -> AccountSurvey:
        """Read what there is. Without a name nothing is asked.

        Raises:
            ConfigError: something stands in the way of what the config says.
        """
        survey = AccountSurvey(self._account, self._app, self._sites)
        if faults := survey.find_faults():
            raise ConfigError("config", [*dict.fromkeys(faults)])
        self._survey = survey
        return survey

    def _find_all(self, live: Sequence[Json] = ()) -> tuple[AccountSurvey, list[Tunnel]]:
        """All that the app has, whatever the config says of it by now."""
        survey, ids = AccountSurvey(self._account, self._app, self._sites), find_ids(live)
        if self._sites or ids:
            survey.look()
        named = survey.list_named_tunnels()
        for tunnel in named:
            survey.look_at(tunnel, survey.records)
        old = survey.list_old_tunnels(ids)
        for tunnel in old:
            survey.look_at(tunnel, survey.records)
        return survey, [*named, *old]

    # What is made and changed

    def _make_tunnel(self, survey: AccountSurvey, site: Site) -> Tunnel:
        name = build_tunnel_name(survey.app, site.service)
        tunnel = make(
            lambda: self._account.create_tunnel(name), lambda: self._account.find_tunnel(name)
        )
        survey.tunnels[name] = tunnel
        # One that another run has made meanwhile may have some.
        survey.settings[tunnel.id] = self._account.get_settings(tunnel)
        self._tell_made(tunnel)
        return tunnel

    def _ensure_rules(self, survey: AccountSurvey, site: Site, tunnel: Tunnel) -> None:
        """Have the tunnel lead visitors to the service.

        Visitors of names that it no longer has are led as before, until the release is reached.

        Raises:
            NvoiError: its rules are not there half a minute after they were taken.
        """
        before = survey.settings[tunnel.id]
        rules = build_rules(site, list_other_rules(before, site))
        if has_rules(before, rules):
            return
        self._put_settings(survey, tunnel, rules)
        if list_names(before):
            self._undo.append(lambda: self._account.put_settings(tunnel, before))
        log.info(CHANGED, f"the rules of {tunnel}")

    def _trim_rules(self, survey: AccountSurvey, site: Site) -> None:
        """Have the site's tunnel serve no names that the site no longer has."""
        tunnel = survey.find_tunnel(site)
        if tunnel is None or not (kept := list_other_rules(survey.settings[tunnel.id], site)):
            return
        rules = [rule for rule in survey.settings[tunnel.id]["ingress"] if rule not in kept]
        self._put_settings(survey, tunnel, rules)
        log.info(CHANGED, f"the rules of {tunnel}")

    def _put_settings(
        self, survey: AccountSurvey, tunnel: Tunnel, rules: list[dict[str, Any]]
    ) -> None:
        before = survey.settings[tunnel.id]
        self._account.put_settings(tunnel, before | {"ingress": rules})
        survey.settings[tunnel.id] = before | {"ingress": rules}

        def look() -> None:
            if not has_rules(self._account.get_settings(tunnel), rules):
                raise NotReadyError(f"{tunnel} does not have its rules yet")

        try:
            self._account.pace.look(look, f"the rules of {tunnel}", log, RULES_SECONDS)
        except NotReadyError as seen:
            raise NvoiError(f"Cloudflare: {seen}", hint="deploy again in a while") from None

    def _ensure_record(self, survey: AccountSurvey, wanted: DNSRecord) -> None:
        """Have a name lead to its tunnel. A record that is another's stays as it is.

        Raises:
            NvoiError: there is one.
        """
        before = survey.records.get(wanted.name)
        if before == wanted:
            return
        if before is None:
            make(
                lambda: self._account.create_record(wanted),
                lambda: survey.find_own_record(wanted),
            )
            self._tell_made(wanted)
            return
        self._account.change_record(wanted)
        self._undo.append(lambda: self._account.change_record(before))
        log.info(CHANGED, wanted)

    def _tell_made(self, what: Tunnel | DNSRecord) -> None:
        log.info("Cloudflare: made %s", what)
        self._made.append(what)

    def _tell_lost(self, survey: AccountSurvey, ids: set[str]) -> None:
        """Name the tunnels that led to the app and are not in this account, as after a change."""
        for tunnel_id in sorted(ids - {tunnel.id for tunnel in survey.tunnels.values()}):
            log.warning(
                "The tunnel %s, which led to the app, is not in the account %s: if it is in "
                "another one, remove it there, with its DNS records",
                tunnel_id,
                self._account.id,
            )

    # What goes

    def _remove(self, records: Sequence[DNSRecord], tunnels: Sequence[Tunnel]) -> None:
        """Remove all of it; go on past what cannot be.

        A record with nvoi's comment is the last to go: the tunnel that it leads to is found by it,
        should this be cut off. One without is told by that tunnel alone.

        Raises:
            NvoiError: something is left.
        """
        bare = [record for record in records if not record.comment]
        marked = [record for record in records if record.comment]
        things: list[DNSRecord | Tunnel] = [*bare, *tunnels, *marked]
        failures: list[NvoiError] = []
        for one in things:
            try:
                if isinstance(one, Tunnel):
                    self._remove_tunnel(one)
                else:
                    self._account.delete_record(one)
                log.info("Cloudflare: removed %s", one)
            except NvoiError as error:
                failures.append(error)
        if failures:
            raise failures[0] if len(failures) == 1 else HostsError(failures)

    def _remove_tunnel(self, tunnel: Tunnel) -> None:
        """Remove a tunnel whose cloudflared has been ended, which may still be on its way out."""

        def look() -> None:
            self._account.delete_connections(tunnel)
            try:
                self._account.delete_tunnel(tunnel)
            except RequestError as error:
                if CONNECTED not in read_codes(error):
                    raise
                raise NotReadyError(error.message) from error

        what = f"the connections of {tunnel.name} to end"
        try:
            self._account.pace.look(look, what, log, CONNECTIONS_SECONDS)
        except NotReadyError as seen:
            raise NvoiError(
                f"{tunnel} is still served: {seen}",
                hint="end the cloudflared that serves it, and run this again",
            ) from None


@contextmanager
def told_as_faults() -> Iterator[None]:
    """Have what an account refuses told at the key of the config that should change."""
    try:
        yield
    except TokenRefusedError as error:
        fault = Fault(0, 0, f"{PROVIDER}.{error.key}", error.message)
        raise ConfigError("config", [fault], hint=error.hint) from error


def find_ids(live: Iterable[Json]) -> set[str]:
    found = ((item["metadata"].get("annotations") or {}).get(TUNNEL) for item in live)
    return {tunnel_id for tunnel_id in found if tunnel_id}
