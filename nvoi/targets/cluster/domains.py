"""The steps that lead visitors to the release and see that they come there, and the ingress.

The ingress is the cluster's own, which its apps share: it is set up and waited for before a
release, and given back where no app needs it any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial

from nvoi import parallel
from nvoi.domains import list_sites
from nvoi.domains.domain import list_hostnames
from nvoi.domains.public import ask_all
from nvoi.errors import ConfigError, NvoiError, ServiceError
from nvoi.k3s.plan import has_traefik
from nvoi.kubernetes.ingress import (
    SETTINGS,
    TRAEFIK,
    build_chart_config,
    describe_settings,
    is_set_up,
    keep_ways,
)
from nvoi.kubernetes.names import (
    COMPONENT,
    DOMAIN,
    MANAGED_BY,
    NAME,
    OWNER,
    PART_OF,
    build_label_value,
)
from nvoi.kubernetes.ownership import (
    Json,
    Manifest,
    Reference,
    get_label,
    is_owned,
    is_unchanged,
    read_reference,
)
from nvoi.kubernetes.registry import SYSTEM_NAMESPACE
from nvoi.log.levels import get_logger
from nvoi.log.masking import masker
from nvoi.operation import Step
from nvoi.protocol import Tunnel
from nvoi.providers import Server
from nvoi.targets.cluster.cleanup import attempt, remove_objects
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.release import check_owners, roll_out
from nvoi.waiting import NotReadyError, wait_for

log = get_logger("nvoi.domains")

LOST_ACCOUNT = (
    "What was made for the app's domains outside the cluster stays: the config no longer says "
    "whose account it is in"
)
#: Seconds that what leads visitors to the app may take to be up, image pulls included.
ROUTE_SECONDS = 300.0
#: Seconds that k3s may take to install Traefik, or to set it up anew, and then that its pod may.
INSTALL_SECONDS = 180.0
START_SECONDS = 300.0
#: Lines that Traefik has printed last, among which are its refusals.
LINES = 200
PODS = f"{NAME}={TRAEFIK}"
DEPLOYMENT = Reference("Deployment", TRAEFIK, SYSTEM_NAMESPACE)


def check(context: ClusterContext) -> None:
    """See that the names can be had, before anything is made."""
    context.domains.check()
    if context.application.uses_ingress:
        look_up(context, context.provider.list_servers())


def look_up(context: ClusterContext, servers: Sequence[Server]) -> None:
    """See that the names can be brought to the master. Where that is rented, it may not be yet."""
    addresses = [server.host.address for server in servers if server.is_master]
    if addresses:
        context.domains.check_addresses(addresses)


def check_addresses(context: ClusterContext) -> None:
    """Look at the names once rented servers are made, and have their addresses.

    Raises:
        NvoiError: they do not lead there yet.
    """
    if not context.provider.is_rented:
        return
    try:
        look_up(context, context.survey.servers)
    except ConfigError as error:
        names = ", ".join(server.name for server in context.survey.servers)
        hint = f"{names} stay; set the records, and deploy again"
        raise NvoiError(error.message, hint=hint) from error


def connect(context: ClusterContext) -> None:
    """Lead the names to the release, whose services answer inside the cluster."""
    domains = context.domains
    if context.lock is not None and context.lock.rival is not None:
        # Another run was at work since they were looked at.
        domains.check()
    routes = context.rollout.routes = (*domains.connect(context.request.deploy_id),)
    if not routes:
        return
    check_owners(context, routes)
    roll_out(context, routes, ROUTE_SECONDS)
    context.check_lock()
    parallel.sleep(domains.publish())


def ask(context: ClusterContext) -> None:
    """Ask every service as its visitors do, from here and from the cluster, all at once.

    Raises:
        HostsError: several do not answer well three times in a row.
        ServiceError: one does not.
    """
    sites = [*list_sites(context.application)]
    try:
        ask_all(sites, context.request.environ, context.connections, context.master.host)
    except NvoiError as error:
        if context.application.uses_ingress:
            error.output = (*error.output, *read_refusals(context, list_hostnames(sites)))
        raise
    for site in sites:
        context.tunnels.append(Tunnel(site.service, site.hostname))
        context.urls.append(site.url)


def remove_old(context: ClusterContext) -> None:
    """Remove what led to names and services that are gone: visitors came by that until now.

    The release serves: what cannot be removed is only told.
    """
    named = {read_reference(item) for item in context.rollout.routes}
    old = [item for item in list_routes(context) if read_reference(item) not in named]
    attempt("what led to names that are gone", partial(trim, context, old))
    attempt("what let visitors in by them", partial(close_ways, context))
    # Also where only a deploy that failed had it set up.
    if not context.application.uses_ingress and had_traefik(context):
        attempt("what the ingress was set up with", partial(give_ports_back, context))
    attempt("what let visitors in at the firewall", partial(close_ports, context))


def close_ways(context: ClusterContext) -> None:
    """Have the cluster be as the release wants it, without what was kept for the one before."""
    if closed := list_closed(context):
        context.cluster.apply(closed)


def list_closed(context: ClusterContext) -> list[Manifest]:
    """What the cluster holds otherwise until the release is reached."""
    wanted = [*context.manifests.policies, *context.rollout.apps, *context.rollout.routes]
    kept = keep_ways(context.state.objects, wanted)
    return [item for item, with_ways in zip(wanted, kept, strict=True) if item != with_ways]


def close_ports(context: ClusterContext) -> None:
    context.check_lock()
    context.provider.close_ports()


def list_routes(context: ClusterContext) -> list[Json]:
    """What of the app in the cluster leads visitors to it. Secrets are not among it."""
    state = context.state
    return [
        item
        for item in state.objects
        if is_owned(item, state.app) and get_label(item, COMPONENT) == DOMAIN
    ]


def trim(context: ClusterContext, old: Sequence[Json]) -> None:
    references = [read_reference(item) for item in old]
    # None of it runs; the objects stay until what they stand for is gone.
    for one in references:
        if one.kind == "Deployment":
            context.cluster.change(one, {"spec": {"replicas": 0}})
    # All that led to it: a service whose account has changed has another tunnel of its name.
    context.domains.trim(list_routes(context))
    if has_lost_account(context, old):
        log.warning(LOST_ACCOUNT)
    remove_objects(context, references, wait=False)


def remove(context: ClusterContext) -> None:
    """Take all away that brought names to the app; what did so in the cluster is gone.

    Raises:
        NvoiError: something is left, which the config may no longer say where to find.
    """
    routes = list_routes(context)
    context.domains.disconnect(routes)
    if has_lost_account(context, routes):
        hint = "have `domain_provider` and the services' domains as they were, and run it again"
        raise NvoiError(LOST_ACCOUNT, hint=hint)


def has_lost_account(context: ClusterContext, routes: Sequence[Json]) -> bool:
    """Whether something leads here from outside the cluster, of which the config says nothing."""
    return context.application.cloudflare is None and any(
        item["kind"] != "Ingress" for item in routes
    )


# The ingress


def set_ingress_up(context: ClusterContext) -> None:
    """Have Traefik take visitors as the config says, and wait until it does.

    Raises:
        NvoiError: others have set it up otherwise.
        ServiceError: it does not come up.
    """
    settings = context.application.ingress
    if settings is None or not context.application.uses_ingress:
        return
    live = find_in_system(context, "helmchartconfigs")
    wanted = build_chart_config(settings, context.request.deploy_id)
    if live is not None:
        check_rivals(context, live)
    if not is_unchanged(live, wanted):
        context.cluster.apply([wanted])

    def look() -> None:
        deployment = find_in_system(context, "deployments")
        if deployment is None or not is_set_up(deployment, settings):
            raise NotReadyError("k3s has not installed it yet")

    try:
        wait_for(look, what="k3s to set Traefik up", seconds=INSTALL_SECONDS, log=log)
    except NotReadyError:
        raise ServiceError(
            f"traefik: k3s has not set it up after {INSTALL_SECONDS:g} s",
            hint="see `k3s kubectl -n kube-system logs job/helm-install-traefik` on "
            f"{context.master.name}",
        ) from None
    context.cluster.follow([DEPLOYMENT], START_SECONDS, is_quiet=True)
    log.info("Traefik takes visitors at ports 80 and 443 of %s", context.master.name)


def check_rivals(context: ClusterContext, live: Json) -> None:
    """See that nobody else has set Traefik up, or just as the config does.

    Raises:
        NvoiError: somebody has.
    """
    if get_label(live, MANAGED_BY) != OWNER:
        raise NvoiError(
            "the cluster has helmchartconfig/traefik, which nvoi did not make",
            hint="it would be overwritten: delete it in kube-system with kubectl",
        )
    there = live["metadata"].get("annotations", {}).get(SETTINGS, "")
    wanted = describe_settings(context.application.ingress)
    others = list_others(context)
    if others and there not in {"", wanted}:
        raise NvoiError(
            f"the cluster's ingress is that of {', '.join(others)} too, which has its certificates "
            f"for {there}; this config says {wanted}",
            hint="give all apps of the cluster one `domain_provider.ingress`",
        )


def give_ports_back(context: ClusterContext) -> None:
    live = find_in_system(context, "helmchartconfigs")
    is_in_use = live is not None and live["metadata"].get("annotations", {}).get(SETTINGS)
    if not is_in_use or list_others(context):
        return
    context.cluster.apply([build_chart_config(None, context.request.deploy_id)])
    log.info("No app needs the ingress: Traefik gives ports 80 and 443 back")


def had_traefik(context: ClusterContext) -> bool:
    """Whether the master had Traefik when the run looked, for an app that had it take visitors."""
    survey = context.survey
    return survey.is_reached and has_traefik(survey.facts[context.master.name].k3s)


def read_refusals(context: ClusterContext, names: Collection[str]) -> Iterator[str]:
    """What Traefik has printed last of certificates for ``names`` that it could not get."""
    with suppress(NvoiError):
        pods = context.cluster.get(["pods"], namespace=SYSTEM_NAMESPACE, selector=PODS)
        for pod in map(read_reference, pods):
            for line in context.cluster.read_lines(pod, TRAEFIK, lines=LINES):
                if "certificate" in line and any(name in line for name in names):
                    yield masker.clean_text(line)


def list_others(context: ClusterContext) -> list[str]:
    """Whom else Traefik leads visitors to: apps by their names, others by those of objects."""
    own = build_label_value(context.application.name)
    items = context.cluster.get(["ingresses"], namespace=None)
    names = [
        get_label(item, PART_OF) or f"ingress/{item['metadata']['name']}"
        for item in items
        if item["spec"].get("ingressClassName") in {TRAEFIK, None}
    ]
    return sorted({name for name in names if name != own})


def find_in_system(context: ClusterContext, kind: str) -> Json | None:
    items = context.cluster.get([kind], namespace=SYSTEM_NAMESPACE)
    return next((item for item in items if item["metadata"]["name"] == TRAEFIK), None)


# What is told


def plan_check(context: ClusterContext) -> Iterator[str]:
    names = list_hostnames(list_sites(context.application))
    if not names:
        return
    yield f"sees that {', '.join(names)} can be led to the app"
    if context.application.uses_ingress and not context.provider.is_rented:
        look_up(context, context.provider.list_servers())


def plan_connect(context: ClusterContext) -> Iterator[str]:
    for site in list_sites(context.application):
        yield f"leads {' and '.join(site.hostnames)} to {site.service}"
    # Looked for behind the first line: a run asks only whether there is one.
    yield from context.domains.describe()


def plan_ask(context: ClusterContext) -> Iterator[str]:
    for site in list_sites(context.application):
        yield f"asks {site.url} from here and from the cluster, three times good in a row"


def plan_old(context: ClusterContext) -> Iterator[str]:
    named = {read_reference(item) for item in context.rollout.routes}
    is_old = any(read_reference(item) not in named for item in list_routes(context))
    if is_old or list_closed(context):
        yield "removes what led to names and services that are gone"


def plan_deletion(context: ClusterContext) -> Iterator[str]:
    for site in list_sites(context.application):
        yield f"takes {' and '.join(site.hostnames)} away"
    yield from context.domains.describe_deletion()


DOMAINS: Step[ClusterContext] = Step(name="Domains", run=check, plan=plan_check)
#: It is told with the first look, which is at the same names.
ADDRESSES: Step[ClusterContext] = Step(name="Addresses", run=check_addresses, plan=lambda _: ())
ROUTES: Step[ClusterContext] = Step(
    name="Routes",
    run=connect,
    plan=plan_connect,
    # Before the cluster is put back too.
    undo=lambda context: context.domains.restore(),
    undoes=lambda context: "the routes" if context.rollout.routes else "",
)
PUBLIC: Step[ClusterContext] = Step(name="Public check", run=ask, plan=plan_ask)
OLD_ROUTES: Step[ClusterContext] = Step(name="Old routes", run=remove_old, plan=plan_old)
