"""Servers at Amazon Web Services: EC2, in a network of the app's own. Needs the extra ``aws``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nvoi import parallel
from nvoi.account import telling_made
from nvoi.config.schema import Application, AWSProvider
from nvoi.errors import Fault, NvoiError
from nvoi.invocation import name_command
from nvoi.providers.aws.api import EC2
from nvoi.providers.aws.app import App, try_all
from nvoi.providers.aws.catalog import list_regions, list_types
from nvoi.providers.aws.clients import PACE, Pace
from nvoi.providers.aws.description import (
    describe_changes,
    describe_costs,
    describe_deletion,
)
from nvoi.providers.aws.network import Network
from nvoi.providers.aws.resources import Resource, build_pairs
from nvoi.providers.aws.servers import describe_other_type, wait
from nvoi.providers.aws.situation import Situation
from nvoi.providers.aws.volumes import find_device, list_holders
from nvoi.providers.cloud import RentedServers, log
from nvoi.providers.provider import Server
from nvoi.providers.rented import (
    WantedServer,
    build_disk,
    build_server,
    get_account,
    list_name_faults,
    list_volume_names,
    list_wanted,
)
from nvoi.providers.wording import build_left_error
from nvoi.ssh.routes import Routes
from nvoi.waiting import NotReadyError

__all__ = ["AWS", "list_regions", "list_types"]

MADE = "made so far, and taken up by the next run: {}"
#: States of disks that go with their servers.
GOING = ("in-use", "deleting")


class AWS(RentedServers[Situation]):
    """``compute_provider: {aws: {…}}``.

    Args:
        routes: the ways to servers, whose addresses the account tells.
        environ: the caller's environment.
        pace: how long AWS is waited for.
    """

    title, console = "AWS", "at AWS"
    api: EC2

    def __init__(
        self,
        application: Application,
        routes: Routes,
        environ: Mapping[str, str],
        pace: Pace = PACE,
    ) -> None:
        account = get_account(application, AWSProvider)
        super().__init__(application, routes, EC2(account, environ, pace))
        self.app = App(self.api, application)
        self._network: Network | None = None

    def find_faults(self) -> list[Fault]:
        return [*self.app.offers.find_faults(), *list_name_faults(self.application)]

    def _read(self) -> Situation:
        return self.app.look()

    def _build_server(self, seen: Situation, wanted: WantedServer, found: Resource) -> Server:
        private: str | None = found.item.get("PrivateIpAddress")
        return build_server(
            self.application,
            wanted,
            self.routes,
            # One that is stopped has no public address: it does not answer anyway.
            found.item.get("PublicIpAddress") or private or found.id,
            labels=found.tags,
            private_ip=private,
            disks=[
                build_disk(one.name, find_device(one), one.size)
                for one in seen.data
                if found.id in list_holders(one)
            ],
        )

    def ensure_servers(self) -> tuple[Server, ...]:
        app = self.app
        situation, choice, zone = app.check(self._look())
        self._seen = None
        for one, type_ in situation.list_other_types():
            log.warning("%s", describe_other_type(one, type_))
        with telling_made(self.api.made, MADE):
            network = self._network = app.networks.ensure(situation.vpc, situation.subnet, zone)
            made = parallel.work_on_all(
                situation.wanted,
                lambda one: app.ensure_server(
                    one, situation.find_server(one.name), network, choice
                ),
            )
            running = app.servers.wait_until_running([*made.values()])
            volumes = app.volumes.ensure(running, situation.wanted, situation.find_data)
        self._seen = situation.replace([*running.values(), *volumes, network.vpc])
        return self.list_servers()

    def close_ports(self) -> None:
        if self._network is None or not self._network.former:
            return
        self.app.networks.close(self._network)
        self._network = replace(self._network, former=())

    def _relabel(self, found: Resource, labels: dict[str, str]) -> Resource:
        if new := {key: text for key, text in labels.items() if found.tags.get(key) != text}:
            self.api.call("create_tags", Resources=[found.id], Tags=build_pairs(new))
        if gone := [{"Key": key} for key in found.tags if key not in labels]:
            self.api.call("delete_tags", Resources=[found.id], Tags=gone)
        return replace(found, tags=labels)

    def delete_surplus(self, servers: Sequence[Server], *, with_volumes: bool) -> None:
        app, names = self.app, {server.name for server in servers}
        self._seen = None
        failures = app.delete([one for one in app.servers.list_own() if one.name in names])
        if with_volumes:
            named = list_volume_names(list_wanted(self.application))
            unnamed = [one for one in app.volumes.list_own() if one.name not in named]
            failures |= try_all(unnamed, app.volumes.detach)
            failures |= app.delete([one for one in unnamed if one not in failures])
        if failures:
            raise build_error(failures)

    def _delete_own(self, seen: Situation, *, with_volumes: bool) -> Sequence[str]:
        del seen
        app = self.app
        with app.tell_faults():
            own = app.list_own(with_volumes=with_volumes)
        self._check_all_gone(app, {*own}, app.delete(own), with_volumes=with_volumes)
        if traces := app.find_traces():
            raise build_elsewhere_error(traces)
        return [] if with_volumes else [one.name for one in app.volumes.list_own()]

    def _check_all_gone(
        self,
        app: App,
        asked: set[Resource],
        failures: dict[Resource, NvoiError],
        *,
        with_volumes: bool,
    ) -> None:
        """Look again; what is deleted may be shown for a while.

        What shows only now is asked to go as well, such as a disk that has outlived its server.
        """

        def look() -> list[Resource]:
            left = app.list_own(with_volumes=with_volumes)
            if not any(one.is_server for one in failures):
                left += app.volumes.list_root()
            late = [one for one in left if one not in asked and one.state not in GOING]
            asked.update(late)
            failures.update(app.delete(late))
            if going := [one for one in left if one not in failures]:
                raise NotReadyError(", ".join(map(str, going)))
            return left

        if left := wait(self.api, "what was deleted to be gone", look):
            raise build_error({one: failures.get(one) for one in left})

    def _describe(self, *, with_volumes: bool) -> list[str]:
        app = self.app
        situation, _, zone = app.check(self._look())
        drift = app.networks.find_drift(situation.vpc) if situation.vpc else None
        lines = describe_changes(situation, app.networks, drift, zone, with_volumes=with_volumes)
        costs = describe_costs(
            self.api,
            (*situation.servers, *situation.lacking),
            lambda tariff: tariff.describe_changes(
                situation, lambda _: "", with_volumes=with_volumes
            ),
        )
        return [*lines, costs]

    def _describe_deletion(self, *, with_volumes: bool) -> list[str]:
        app = self.app
        with app.tell_faults():
            own = app.list_own(with_volumes=True)
        lines = describe_deletion(own, with_volumes=with_volumes)
        traces = app.find_traces().items()
        lines += [f"leaves {trace}, which is in {region}" for region, trace in traces]
        if own:
            servers = [one for one in own if one.is_server]
            data = [one for one in own if one.is_data]
            priced, kept = [*servers, *data], [] if with_volumes else data
            costs = describe_costs(self.api, servers, lambda it: it.describe(priced, kept))
            lines.append(costs)
        return lines


def build_error(failures: Mapping[Resource, NvoiError | None]) -> NvoiError:
    """The error of what could not be deleted."""
    hints = {error.hint: None for error in failures.values() if error and error.hint}
    hint = "; ".join(hints) or "see what uses it at AWS, and run it again"
    return build_left_error("AWS", failures, hint)


def build_elsewhere_error(traces: Mapping[str, Resource]) -> NvoiError:
    """The error of a delete that leaves what is in other regions."""
    told = ", ".join(f"{trace} in {region}" for region, trace in traces.items())
    return NvoiError(
        f"left at AWS: {told}",
        hint=f"set region to {' and then to '.join(traces)}, and run {name_command('delete')} "
        "there as well",
    )
