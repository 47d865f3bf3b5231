"""Servers of Hetzner Cloud: ``compute_provider: {hetzner: …}``. hcloud is imported only here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from nvoi.account import Pace, telling_made
from nvoi.config.schema import Application, HetznerProvider
from nvoi.errors import ConfigError, Fault, HostsError, NvoiError, RequestError
from nvoi.naming import build_firewall_name, build_network_name
from nvoi.providers.hetzner.api import API, log
from nvoi.providers.hetzner.changes import build_error, change
from nvoi.providers.hetzner.description import (
    describe_changes,
    describe_deletion,
    describe_needs,
)
from nvoi.providers.hetzner.inventory import (
    FIREWALL,
    NETWORK,
    SERVER,
    VOLUME,
    Found,
    KeyRecord,
    ServerRecord,
    VolumeRecord,
)
from nvoi.providers.hetzner.offers import Catalog, read_catalog
from nvoi.providers.hetzner.plan import Plan, Work, build_fingerprint, get_public_key, plan_removal
from nvoi.providers.hetzner.refusals import (
    SILENCE_HINT,
    explain,
    find_config_fault,
    may_pass,
)
from nvoi.providers.hetzner.situation import (
    Situation,
    find_limits,
)
from nvoi.providers.host_keys import replace_host_key_labels
from nvoi.providers.provider import Disk, Server
from nvoi.providers.rented import (
    GROUP,
    RentedServers,
    WantedServer,
    build_disk_folder,
    build_labels,
    build_server,
    build_surplus,
    find_other_owner,
    get_account,
    list_name_faults,
    list_volume_names,
    list_wanted,
)
from nvoi.providers.wording import build_strangers_error, describe_silence
from nvoi.ssh.routes import Routes
from nvoi.waiting import NotReadyError

#: How often what may pass is tried, and rounds after which what lacks will never be there.
TRIES, ROUNDS = 4, 12
MADE = "made so far, which the next run goes on from: {}"

Select = Callable[[Found], Iterator[Work]]


class Hetzner(RentedServers):
    """A project at Hetzner. What it has of an app is looked at once in a run, and after changes.

    Raises:
        UsageError: ``environ`` names a proxy or an address of the API that cannot be used.
    """

    def __init__(
        self,
        application: Application,
        routes: Routes,
        environ: Mapping[str, str],
        pace: Pace | None = None,
    ) -> None:
        self.routes = routes
        self._api = API(
            get_account(application, HetznerProvider).api_token, environ, pace or Pace()
        )
        self._found: dict[str, Found] = {}
        self._catalog: Catalog | None = None

    def find_faults(self, application: Application) -> list[Fault]:
        return [*find_limits(application), *list_name_faults(application)]

    def list_servers(self, application: Application) -> tuple[Server, ...]:
        with self._tell():
            found = self._get_found(application)
        return tuple(self._list_servers(application, found))

    def ensure_servers(self, application: Application) -> tuple[Server, ...]:
        made: list[str] = []
        with self._tell(made):
            found = self._converge(application, made)
        return tuple(self._list_servers(application, found))

    def close_ports(self, application: Application) -> None:
        def select(found: Found) -> Iterator[Work]:
            return Plan(application, found, api=self._api).plan_closing()

        with self._tell():
            if any(select(self._get_found(application))):
                self._remove(application, select)

    def list_unlabelled(self, application: Application) -> Sequence[str]:
        with self._tell():
            found = self._get_found(application)
        return Situation(application, found).list_strangers(with_volumes=True)

    def list_surplus(self, application: Application) -> tuple[Server, ...]:
        with self._tell():
            found = self._get_found(application)
        servers, _ = self._list_unwanted(application, found)
        return tuple(
            self._build_server(
                application, build_surplus(one.name, one.labels.get(GROUP, "")), found
            )
            for one in servers
        )

    def keep_host_keys(self, server: Server, keys: Sequence[str]) -> Server:
        found, record = self._get_record(server)
        labels = replace_host_key_labels(record.labels, keys)
        with self._tell():
            updated = self._api.label_server(record.id, labels)
        found.servers.own[server.name] = updated
        return server.known_by(keys)

    def delete_surplus(
        self, application: Application, servers: Sequence[Server], *, with_volumes: bool
    ) -> None:
        names = {one.name for one in servers}

        def select(found: Found) -> Iterator[Work]:
            surplus, disks = self._list_unwanted(application, found)
            gone = [one for one in surplus if one.name in names]
            return plan_removal(self._api, gone, disks if with_volumes else [])

        with self._tell():
            self._remove(application, select)

    def delete_servers(self, application: Application, *, with_volumes: bool) -> Sequence[str]:
        def select(found: Found) -> Iterator[Work]:
            return self._plan_deletion(found, with_volumes=with_volumes)

        with self._tell():
            found = self._get_found(application)
            situation = Situation(application, found)
            for clash in situation.list_clashes():
                log.warning("%s, and stays", clash)
            strangers = situation.list_strangers(with_volumes=with_volumes)
            errors: list[NvoiError] = []
            try:
                found = self._remove(application, select, with_keys=True)
            except NvoiError as error:
                errors.append(error)
            if strangers:
                place = "in Hetzner's console"
                errors.append(build_strangers_error("Hetzner", strangers, "label", place))
            if errors:
                raise errors[0] if len(errors) == 1 else HostsError(errors)
        return () if with_volumes else sorted(found.volumes.own)

    def describe(self, application: Application, *, with_volumes: bool = False) -> list[str]:
        self._api.pace = self._api.pace.hurry()
        try:
            with self._tell():
                found = self._get_found(application)
                plan, catalog = self._build_plan(application, found), self._get_catalog(application)
        except RequestError as error:
            # Whatever else is wrong was raised as another.
            return [describe_silence(error), *describe_needs(application)]
        servers, volumes = self._list_unwanted(application, found)
        return describe_changes(plan, catalog, servers, volumes, with_volumes=with_volumes)

    def describe_deletion(self, application: Application, *, with_volumes: bool) -> list[str]:
        self._api.pace = self._api.pace.hurry()
        try:
            with self._tell():
                found = self._look(application, with_keys=True)
                catalog = self._get_catalog(application)
        except RequestError as error:
            return [describe_silence(error)]
        situation = Situation(application, found)
        works = self._plan_deletion(found, with_volumes=with_volumes)
        return describe_deletion(situation, catalog, works, with_volumes=with_volumes)

    # What there is

    def _get_found(self, application: Application) -> Found:
        """As the last look of this run saw it."""
        if application.name not in self._found:
            self._look(application)
        return self._found[application.name]

    def _look(self, application: Application, *, with_keys: bool = False) -> Found:
        wanted = list(list_wanted(application))
        names: dict[str, Collection[str]] = {
            SERVER: [one.name for one in wanted],
            VOLUME: list_volume_names(wanted),
            NETWORK: [build_network_name(application.name)],
            FIREWALL: [build_firewall_name(application.name)],
        }
        found = self._api.look(build_labels(application), names, with_keys=with_keys)
        self._found[application.name] = found
        return found

    def _settle(self, application: Application) -> Found:
        """Look until all that a run has begun is done, be it this one or one before."""

        def look() -> Found:
            found = self._look(application)
            if busy := found.list_busy():
                raise NotReadyError(", ".join(busy))
            return found

        return self._api.wait(look, "Hetzner to end what it does")

    def _get_catalog(self, application: Application) -> Catalog:
        if self._catalog is None:
            self._catalog = read_catalog(
                self._api, get_account(application, HetznerProvider).architecture
            )
        return self._catalog

    def _get_record(self, server: Server) -> tuple[Found, ServerRecord]:
        for found in self._found.values():
            if record := found.servers.find(server.name):
                return found, record
        raise NvoiError(f"server {server.name} is not there any more")

    def _list_unwanted(
        self, application: Application, found: Found
    ) -> tuple[list[ServerRecord], list[VolumeRecord]]:
        wanted = list(list_wanted(application))
        return found.list_unwanted({one.name for one in wanted}, list_volume_names(wanted))

    def _list_servers(self, application: Application, found: Found) -> Iterator[Server]:
        own = build_labels(application)
        for wanted in list_wanted(application):
            record = found.servers.find(wanted.name)
            # One of another app is none of this one's, whatever it is called.
            if record is not None and find_other_owner(record.labels, own) is None:
                yield self._build_server(application, wanted, found)

    def _build_server(self, application: Application, wanted: WantedServer, found: Found) -> Server:
        record = found.servers.find(wanted.name)
        if record is None or record.address is None:
            raise NvoiError(
                f"server {wanted.name} has no public address",
                hint="give it one in Hetzner's console, or delete it there: nvoi makes a new one",
            )
        network = found.networks.find(build_network_name(application.name))
        sizes = {one.name: one.size for one in wanted.volumes}
        return build_server(
            application,
            wanted,
            self.routes,
            record.address,
            labels=record.labels,
            private_ip=record.networks.get(network.id) if network else None,
            disks=[
                Disk(
                    one.name,
                    build_disk_folder(one.name),
                    one.device,
                    sizes.get(one.name, one.size),
                )
                for one in found.list_disks(record)
            ],
        )

    # Changes

    def _converge(self, application: Application, made: list[str]) -> Found:
        """Make what lacks, in rounds: what one has made, the next one finds."""
        found = self._get_found(application)
        if found.list_busy():
            found = self._settle(application)
        for line in Situation(application, found).list_warnings():
            log.warning("%s", line)
        tries = TRIES
        for _ in range(ROUNDS):
            works = list(self._build_plan(application, found).list_works())
            if not works:
                return found
            stage = min(work.stage for work in works)
            errors = change(self._api, [work for work in works if work.stage == stage], made)
            tries -= bool(errors)
            if errors and (tries <= 0 or not all(map(may_pass, errors.values()))):
                raise build_error(errors, is_untouched=not made)
            found = self._settle(application)
        raise NvoiError(
            f"Hetzner takes this and does not do it: {', '.join(map(str, works))}",
            hint=SILENCE_HINT,
        )

    def _build_plan(self, application: Application, found: Found) -> Plan:
        """What lacks, once it is seen that it can be had."""
        plan = Plan(application, found, api=self._api)
        catalog, key = None, None
        if plan.needs_catalog:
            catalog = self._get_catalog(application)
        if plan.lacking:
            key = self._find_key(application)
        plan = Plan(application, found, catalog, key, api=self._api)
        faults = plan.list_faults()
        if faults:
            raise ConfigError("config", faults)
        hindrances = [*plan.list_clashes(), *filter(None, [plan.find_overlap()])]
        if hindrances:
            raise NvoiError(
                "\n".join(hindrances),
                hint="rename it at Hetzner, or the app in the config",
            )
        return plan

    def _find_key(self, application: Application) -> KeyRecord | None:
        return self._api.find_key(build_fingerprint(get_public_key(application)))

    def _plan_deletion(self, found: Found, *, with_volumes: bool) -> Iterator[Work]:
        others = [
            (kind, record)
            for kind, listing in found.list_kinds()
            if kind not in {SERVER, VOLUME}
            for record in listing.own.values()
        ]
        volumes = list(found.volumes.own.values()) if with_volumes else []
        return plan_removal(self._api, list(found.servers.own.values()), volumes, others)

    def _remove(
        self, application: Application, select: Select, *, with_keys: bool = False
    ) -> Found:
        """Do away with what ``select`` finds, past all failures, and look again at the end."""
        errors: dict[Work, NvoiError] = {}
        for _ in range(TRIES):
            found = self._look(application, with_keys=with_keys)
            works = list(select(found))
            if not works:
                return found
            errors = {}
            for stage in sorted({work.stage for work in works}):
                errors |= change(self._api, [work for work in works if work.stage == stage], [])
            if errors and not any(map(may_pass, errors.values())):
                break
        found = self._look(application, with_keys=with_keys)
        left = list(select(found))
        if not left:
            return found
        reason = build_error(errors, is_untouched=False)
        names = ", ".join(work.thing for work in left)
        raise NvoiError(f"left at Hetzner: {names}\n{reason.message}".rstrip(), hint=reason.hint)

    @contextmanager
    def _tell(self, made: Sequence[str] = ()) -> Iterator[None]:
        """Word what the API refuses, and name what was made before it did."""
        with telling_made(made, MADE):
            try:
                yield
            except RequestError as error:
                fault = find_config_fault(error)
                if fault is not None and not made:
                    raise ConfigError("config", [fault]) from error
                raise explain(error, "") from error
