"""Servers at Amazon Web Services: EC2, in a network of the app's own. Needs the extra ``aws``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from nvoi import parallel
from nvoi.account import telling_made
from nvoi.config.schema import Application, AWSProvider
from nvoi.errors import Fault, NvoiError
from nvoi.log.levels import get_logger
from nvoi.providers.aws.api import EC2
from nvoi.providers.aws.app import App, try_all
from nvoi.providers.aws.clients import PACE, Pace
from nvoi.providers.aws.description import (
    describe_changes,
    describe_costs,
    describe_deletion,
    describe_surplus,
    describe_wishes,
    list_costly,
    list_costly_afterwards,
)
from nvoi.providers.aws.network import Network, Networks
from nvoi.providers.aws.offers import Offers
from nvoi.providers.aws.ownership import Owner
from nvoi.providers.aws.prices import read_prices
from nvoi.providers.aws.quotas import Quotas
from nvoi.providers.aws.refusals import EC2Error
from nvoi.providers.aws.regions import Regions, build_elsewhere_error
from nvoi.providers.aws.resources import Resource
from nvoi.providers.aws.servers import Servers, wait
from nvoi.providers.aws.situation import Situation
from nvoi.providers.aws.volumes import Volumes
from nvoi.providers.host_keys import FIRST_HOST_KEY, build_host_key_labels
from nvoi.providers.provider import Server
from nvoi.providers.rented import (
    GROUP,
    RentedServers,
    WantedServer,
    build_server,
    build_surplus,
    get_account,
    list_name_faults,
    list_wanted,
)
from nvoi.providers.wording import build_left_error, build_strangers_error
from nvoi.ssh.routes import Routes
from nvoi.waiting import NotReadyError

log = get_logger("nvoi.providers")

MADE = "made so far, and taken up by the next run: {}"


class AWS(RentedServers):
    """``compute_provider: {aws: {…}}``.

    Args:
        routes: the ways to servers, whose addresses the account tells.
        environ: the caller's environment.
        pace: how long AWS is waited for.
    """

    def __init__(
        self,
        application: Application,
        routes: Routes,
        environ: Mapping[str, str],
        pace: Pace = PACE,
    ) -> None:
        self.routes = routes
        self._application = application
        self._account = get_account(application, AWSProvider)
        self._ec2 = EC2(self._account, environ, pace)
        self._situation: Situation | None = None
        self._network: Network | None = None

    def _open(self, application: Application) -> App:
        owner = Owner(self._ec2, application)
        offers = Offers(self._ec2, application, self._account)
        public_key = application.ssh_keys.public_key if application.ssh_keys else ""
        return App(
            wanted=tuple(list_wanted(application)),
            owner=owner,
            offers=offers,
            networks=Networks(self._ec2, owner, application),
            servers=Servers(self._ec2, owner, public_key),
            volumes=Volumes(self._ec2, owner),
            regions=Regions(self._ec2, owner),
            quotas=Quotas(self._ec2, offers),
        )

    def find_faults(self, application: Application) -> list[Fault]:
        return [*self._open(application).offers.find_faults(), *list_name_faults(application)]

    def list_servers(self, application: Application) -> tuple[Server, ...]:
        situation = self._look(self._open(application))
        there = (one for one in situation.wanted if one.name in situation.servers)
        return tuple(self._build_server(application, one, situation) for one in there)

    def list_unlabelled(self, application: Application) -> Sequence[str]:
        app = self._open(application)
        with app.tell_faults():
            return [str(one) for one in app.list_unlabelled(self._look(app))]

    def list_surplus(self, application: Application) -> tuple[Server, ...]:
        situation = self._look(self._open(application))
        surplus = (build_surplus(one.name, one.tags.get(GROUP, "")) for one in situation.surplus)
        return tuple(self._build_server(application, one, situation) for one in surplus)

    def _look(self, app: App) -> Situation:
        """What there is of servers and volumes, as this run has seen it last."""
        if self._situation is None:
            with app.tell_faults():
                self._situation = app.look()
        return self._situation

    def _build_server(
        self, application: Application, wanted: WantedServer, situation: Situation
    ) -> Server:
        found = situation.servers[wanted.name]
        private: str | None = found.item.get("PrivateIpAddress")
        return build_server(
            application,
            wanted,
            self.routes,
            # One that is stopped has no public address: it does not answer anyway.
            found.item.get("PublicIpAddress") or private or found.id,
            labels=found.tags,
            private_ip=private,
            disks=[*situation.list_disks(found)],
        )

    def ensure_servers(self, application: Application) -> tuple[Server, ...]:
        app = self._open(application)
        situation, choice, zone = app.check(self._look(app))
        self._situation = None
        with telling_made(self._ec2.made, MADE):
            network = self._network = app.networks.ensure(situation.vpc, situation.subnet, zone)
            made = parallel.work_on_all(
                situation.wanted,
                lambda one: app.ensure_server(
                    one, situation.servers.get(one.name), network, choice
                ),
            )
            running = app.servers.wait_until_running([*made.values()])
            volumes = app.volumes.ensure(running, situation.wanted, situation.volumes)
        self._situation = replace(
            situation,
            servers={**situation.servers, **running},
            volumes={**situation.volumes, **volumes},
        )
        return self.list_servers(application)

    def close_ports(self, application: Application) -> None:
        if self._network is None or not self._network.former:
            return
        self._open(application).networks.close(self._network)
        self._network = replace(self._network, former=())

    def keep_host_keys(self, server: Server, keys: Sequence[str]) -> Server:
        app, labels = self._open(self._application), build_host_key_labels(keys)
        found = app.servers.find(server.name)
        if found is None:
            raise NvoiError(f"{server.name} is not at AWS any more")
        self._situation = None
        app.owner.tag(found, labels)
        if FIRST_HOST_KEY in found.tags and FIRST_HOST_KEY not in labels:
            tags = [{"Key": FIRST_HOST_KEY}]
            self._ec2.call("delete_tags", Resources=[found.id], Tags=tags)
        return server.known_by(keys)

    def delete_surplus(
        self, application: Application, servers: Sequence[Server], *, with_volumes: bool
    ) -> None:
        app, names = self._open(application), {server.name for server in servers}
        self._situation = None
        own = app.servers.list_own()
        failures = app.delete_servers([one for one in own if one.name in names])
        if with_volumes:
            volumes = app.volumes.list_own()
            unnamed = [one for one in volumes if one.name not in app.volume_names]
            failures |= try_all(unnamed, app.volumes.detach)
            failures |= app.delete_parts([one for one in unnamed if one not in failures])
        if failures:
            raise build_error(failures)

    def delete_servers(self, application: Application, *, with_volumes: bool) -> Sequence[str]:
        app = self._open(application)
        self._situation = None
        with app.tell_faults():
            own, data = app.list_own(with_volumes=with_volumes), app.volumes.list_own()
            for clash in app.list_clashes([*own, *data]):
                log.warning("%s, and stays", clash)
        failures = app.delete_servers([one for one in own if one.kind == "instance"])
        failures |= app.delete_parts([one for one in own if one.kind != "instance"])
        self._check_all_gone(app, failures, with_volumes=with_volumes)
        if traces := app.regions.find_traces():
            raise build_elsewhere_error(traces)
        if with_volumes:
            return []
        return [one.name for one in app.volumes.list_own()]

    def _check_all_gone(
        self, app: App, failures: Mapping[Resource, NvoiError], *, with_volumes: bool
    ) -> None:
        """Look again; what is deleted may be shown for a while."""

        def look() -> list[Resource]:
            left = app.list_own(with_volumes=with_volumes)
            if not any(one.kind == "instance" for one in failures):
                left += app.volumes.list_root()
            if going := [one for one in left if one not in failures]:
                raise NotReadyError(", ".join(map(str, going)))
            return left

        if left := wait(self._ec2, "what was deleted to be gone", look):
            raise build_error({one: failures.get(one) for one in left})
        if free := app.list_free(with_volumes=with_volumes):
            raise build_strangers_error("AWS", free, "tag", "at AWS")

    def describe(self, application: Application, *, with_volumes: bool = False) -> list[str]:
        app = self._open(application)
        self._ec2.pace = self._ec2.pace.hurry()
        try:
            situation, _, zone = app.check(self._look(app))
            drift = app.networks.find_drift(situation.vpc) if situation.vpc else None
        except EC2Error as error:
            if not error.is_silence:
                raise
            told = f"AWS cannot be asked what there is: {error.message}"
            return [told, *describe_wishes(app.wanted, app.networks, app.offers.get_type)]
        lines = [f"takes over {one}, and labels it" for one in app.list_unlabelled(situation)]
        lines += describe_changes(situation, app.networks, drift, zone, app.offers.get_type)
        lines += describe_surplus(situation, with_volumes=with_volumes)
        now = list_costly([*situation.servers.values(), *situation.volumes.values()])
        afterwards = list_costly_afterwards(
            situation, app.offers.get_type, with_volumes=with_volumes
        )
        return [*lines, describe_costs(partial(read_prices, self._ec2), now, afterwards)]

    def describe_deletion(self, application: Application, *, with_volumes: bool) -> list[str]:
        app = self._open(application)
        self._ec2.pace = self._ec2.pace.hurry()
        try:
            with app.tell_faults():
                own = app.list_own(with_volumes=True)
        except EC2Error as error:
            if not error.is_silence:
                raise
            return [f"AWS cannot be asked what there is: {error.message}"]
        lines = describe_deletion(own, with_volumes=with_volumes)
        traces = app.regions.find_traces().items()
        lines += [f"leaves {trace}, which is in {region}" for region, trace in traces]
        if own:
            kept = [one for one in own if one.kind == "volume" and not with_volumes]
            read = partial(read_prices, self._ec2)
            lines.append(describe_costs(read, list_costly(own), list_costly(kept)))
        return lines


def build_error(failures: Mapping[Resource, NvoiError | None]) -> NvoiError:
    """The error of what could not be deleted."""
    hints = {error.hint: None for error in failures.values() if error and error.hint}
    hint = "; ".join(hints) or "see what uses it at AWS, and run it again"
    return build_left_error("AWS", failures, hint)
