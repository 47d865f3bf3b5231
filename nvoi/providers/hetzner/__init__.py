"""Servers of Hetzner Cloud (``compute_provider: {hetzner: …}``). Only here is hcloud imported."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial

from nvoi import parallel
from nvoi.account import Pace, telling_made
from nvoi.config.schema import Application, HetznerProvider
from nvoi.errors import ConfigError, Fault, NvoiError, RequestError
from nvoi.naming import build_firewall_name, build_network_name
from nvoi.providers.cloud import RentedServers, log
from nvoi.providers.cloud_init import get_public_key
from nvoi.providers.hetzner.api import (
    API,
    FIREWALL,
    NETWORK,
    SERVER,
    VOLUME,
    Record,
    build_record,
    find_address,
    list_actions,
    list_busy,
)
from nvoi.providers.hetzner.offers import Catalog, list_types, read_catalog
from nvoi.providers.hetzner.plan import (
    Plan,
    Work,
    build_fingerprint,
    describe_changes,
    describe_deletion,
    plan_removal,
)
from nvoi.providers.hetzner.refusals import (
    SILENCE_HINT,
    explain,
    find_config_fault,
    is_gone,
    may_pass,
)
from nvoi.providers.hetzner.situation import Situation, find_limits
from nvoi.providers.provider import Server
from nvoi.providers.rented import (
    WantedServer,
    build_disk,
    build_labels,
    build_server,
    get_account,
    list_name_faults,
    list_volume_names,
    list_wanted,
)
from nvoi.ssh.routes import Routes
from nvoi.waiting import NotReadyError

__all__ = ["Hetzner", "list_types"]

#: How often what may pass is tried, and stages after which what lacks will never be there.
TRIES, STAGES = 4, 12


class Hetzner(RentedServers[Situation]):
    """A project at Hetzner.

    Raises:
        UsageError: ``environ`` names a proxy or an address of the API that cannot be used.
    """

    title, console = "Hetzner", "in Hetzner's console"
    api: API

    def __init__(
        self,
        application: Application,
        routes: Routes,
        environ: Mapping[str, str],
        pace: Pace | None = None,
    ) -> None:
        token = get_account(application, HetznerProvider).api_token
        super().__init__(application, routes, API(token, environ, pace or Pace()))
        self._catalog: Catalog | None = None
        self._made: list[str] = []

    def find_faults(self) -> list[Fault]:
        return [*find_limits(self.application), *list_name_faults(self.application)]

    def ensure_servers(self) -> tuple[Server, ...]:
        seen = self._look()
        with telling_made(self._made), self._asking():
            self._converge(seen)
        return self.list_servers()

    def close_ports(self) -> None:
        def select(found: Situation) -> Iterator[Work]:
            return Plan(self.application, found.resources, api=self.api).plan_closing()

        if any(select(self._look())):
            with self._asking():
                self._repeat(select)

    def _relabel(self, found: Record, labels: dict[str, str]) -> Record:
        with self._asking():
            return build_record(SERVER, found.data.update(labels=labels))

    def delete_surplus(self, servers: Sequence[Server], *, with_volumes: bool) -> None:
        names = {one.name for one in servers}

        def select(found: Situation) -> Iterator[Work]:
            gone = [one for one in found.surplus if one.name in names]
            return plan_removal([*gone, *(found.surplus_data if with_volumes else ())])

        with self._asking():
            self._repeat(select)

    def _delete_own(self, seen: Situation, *, with_volumes: bool) -> Sequence[str]:
        del seen
        with self._asking():
            self._repeat(
                lambda found: plan_removal(list_going(found, with_volumes=with_volumes)),
                with_keys=True,
            )
        after = self._look()
        return () if with_volumes else sorted(one.name for one in after.data if after.is_own(one))

    # What is shown beforehand

    def _describe(self, *, with_volumes: bool) -> list[str]:
        seen = self._look()
        with self._asking():
            plan = self._build_plan(seen)
            catalog = self._get_catalog()
        return describe_changes(plan, catalog, with_volumes=with_volumes)

    def _describe_deletion(self, *, with_volumes: bool) -> list[str]:
        with self._asking():
            seen = self._read(with_keys=True)
            catalog = self._get_catalog()
        return describe_deletion(seen, catalog, list_going(seen, with_volumes=with_volumes))

    # What there is

    def _read(self, *, with_keys: bool = False) -> Situation:
        wanted = list(list_wanted(self.application))
        names: dict[str, Collection[str]] = {
            SERVER: [one.name for one in wanted],
            VOLUME: list_volume_names(wanted),
            NETWORK: [build_network_name(self.application.name)],
            FIREWALL: [build_firewall_name(self.application.name)],
        }
        records = self.api.look(build_labels(self.application), names, with_keys=with_keys)
        self._seen = Situation(self.application, records)
        return self._seen

    def _settle(self) -> Situation:
        """Look until all that a run has begun is done, be it this one or one before."""

        def look() -> Situation:
            found = self._read()
            if busy := [*list_busy(found.usable)]:
                raise NotReadyError(", ".join(busy))
            return found

        return self.api.wait(look, "Hetzner to end what it does")

    def _get_catalog(self) -> Catalog:
        if self._catalog is None:
            architecture = get_account(self.application, HetznerProvider).architecture
            self._catalog = read_catalog(self.api, architecture)
        return self._catalog

    def _build_server(self, seen: Situation, wanted: WantedServer, found: Record) -> Server:
        address = find_address(found.data.public_net)
        if address is None:
            raise NvoiError(
                f"server {wanted.name} has no public address",
                hint="give it one in Hetzner's console, or delete it there: nvoi makes a new one",
            )
        return build_server(
            self.application,
            wanted,
            self.routes,
            address,
            labels=found.labels,
            private_ip=found.addresses.get(seen.network.id) if seen.network else None,
            disks=[
                build_disk(one.name, one.data.linux_device, one.size)
                for one in seen.data
                if one.holder == found.id
            ],
        )

    # Changes

    def _converge(self, found: Situation) -> None:
        """Make what lacks, in stages: what one has made, the next one finds."""
        if any(list_busy(found.usable)):
            found = self._settle()
        for line in found.list_warnings():
            log.warning("%s", line)
        tries = TRIES
        for _ in range(STAGES):
            works = list(self._build_plan(found).list_works())
            if not works:
                return
            stage = min(work.stage for work in works)
            errors = change(self.api, [work for work in works if work.stage == stage], self._made)
            tries -= bool(errors)
            if errors and (tries <= 0 or not all(map(may_pass, errors.values()))):
                raise build_error(errors, is_untouched=not self._made)
            found = self._settle()
        raise NvoiError(
            f"Hetzner takes this and does not do it: {', '.join(map(str, works))}",
            hint=SILENCE_HINT,
        )

    def _build_plan(self, found: Situation) -> Plan:
        """What lacks, once it is seen that it can be had."""
        build = partial(Plan, self.application, found.resources, api=self.api)
        plan = build()
        self._check_names(plan)
        if overlap := plan.find_overlap():
            raise NvoiError(overlap, hint="rename it at Hetzner, or the app in the config")
        catalog = self._get_catalog() if plan.needs_catalog else None
        fingerprint = build_fingerprint(get_public_key(self.application))
        plan = build(catalog, self.api.find_key(fingerprint) if plan.lacking else None)
        if faults := plan.list_faults():
            raise ConfigError("config", faults)
        return plan

    def _repeat(
        self,
        select: Callable[[Situation], Iterator[Work]],
        *,
        with_keys: bool = False,
    ) -> None:
        """Do what ``select`` finds to give back, past all failures, until nothing is left."""
        errors: dict[Work, NvoiError] = {}
        for _ in range(TRIES):
            works = list(select(self._read(with_keys=with_keys)))
            if not works:
                return
            errors = {}
            for stage in sorted({work.stage for work in works}):
                errors |= change(self.api, [work for work in works if work.stage == stage], [])
            if errors and not any(map(may_pass, errors.values())):
                break
        left = list(select(self._read(with_keys=with_keys)))
        if left:
            reason = build_error(errors, is_untouched=False)
            names = ", ".join(work.thing for work in left)
            raise NvoiError(
                f"left at Hetzner: {names}\n{reason.message}".rstrip(), hint=reason.hint
            )

    def _explain(self, error: NvoiError) -> NvoiError:
        if not isinstance(error, RequestError):
            return error
        fault = find_config_fault(error)
        is_untouched = not self._made
        return ConfigError("config", [fault]) if fault and is_untouched else explain(error, "")


def list_going(found: Situation, *, with_volumes: bool) -> list[Record]:
    """What a deletion takes."""
    return [
        one for one in found.resources if found.is_own(one) and (with_volumes or not one.is_data)
    ]


def change(api: API, works: Sequence[Work], made: list[str]) -> dict[Work, NvoiError]:
    """Do all of them, going on past failures, which are returned.

    Args:
        made: gets what they make.

    Raises:
        NvoiError: what they began has not ended by the deadline.
    """
    results = parallel.work_on_all(works, attempt)
    errors = {work: one for work, one in results.items() if isinstance(one, NvoiError)}
    made += [one.thing for one in works if one.verb == "makes" and one not in errors]
    begun = {
        action.id: (work, action)
        for work, answer in results.items()
        for action in list_actions(answer)
    }
    failed = api.wait_for_actions([action for _, action in begun.values()])
    return errors | {begun[number][0]: error for number, error in failed.items()}


def attempt(work: Work) -> object:
    """Do it; an error is returned, so that others go on."""
    log.info("%s", work)
    try:
        return work.do()
    except parallel.CancelledError:
        raise
    except RequestError as error:
        return None if work.verb == "deletes" and is_gone(error) else error
    except NvoiError as error:
        return error


def build_error(errors: Mapping[Work, NvoiError], *, is_untouched: bool) -> NvoiError:
    """One error of all; of the config where that is at fault, and nothing was changed yet."""
    refusals = [one for one in errors.values() if isinstance(one, RequestError)]
    faults = dict.fromkeys(fault for one in refusals if (fault := find_config_fault(one)))
    if faults and is_untouched:
        return ConfigError("config", list(faults))
    told = [explain(error, work.thing) for work, error in errors.items()]
    hints = dict.fromkeys(one.hint for one in told if one.hint)
    return NvoiError("\n".join(one.message for one in told), hint="; ".join(hints))
