"""The cluster's own ingress, which its apps share: set up, waited for, and given back."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress

from nvoi.errors import NvoiError, ServiceError
from nvoi.k3s.plan import has_traefik
from nvoi.kubernetes.ingress import (
    NAME,
    SETTINGS,
    build_chart_config,
    describe_settings,
    is_set_up,
)
from nvoi.kubernetes.names import MANAGED_BY, OWNER, PART_OF, build_label_value
from nvoi.kubernetes.names import NAME as LABEL
from nvoi.kubernetes.ownership import (
    Json,
    Reference,
    get_label,
    is_unchanged,
    read_reference,
)
from nvoi.kubernetes.registry import SYSTEM_NAMESPACE
from nvoi.log.levels import get_logger
from nvoi.log.masking import masker
from nvoi.targets.cluster.context import ClusterContext
from nvoi.waiting import NotReadyError, wait_for

log = get_logger("nvoi.cluster")

#: Seconds that k3s may take to install Traefik, or to set it up anew, and then that its pod may.
INSTALL_SECONDS = 180.0
START_SECONDS = 300.0
#: Lines that Traefik has printed last, among which are its refusals.
LINES = 200
PODS = f"{LABEL}={NAME}"
DEPLOYMENT = Reference("Deployment", NAME, SYSTEM_NAMESPACE)


def set_up(context: ClusterContext) -> None:
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
            for line in context.cluster.read_lines(pod, NAME, lines=LINES):
                if "certificate" in line and any(name in line for name in names):
                    yield masker.clean_text(line)


def list_others(context: ClusterContext) -> list[str]:
    """Whom else Traefik leads visitors to: apps by their names, others by those of objects."""
    own = build_label_value(context.application.name)
    items = context.cluster.get(["ingresses"], namespace=None)
    names = [
        get_label(item, PART_OF) or f"ingress/{item['metadata']['name']}"
        for item in items
        if item["spec"].get("ingressClassName") in {NAME, None}
    ]
    return sorted({name for name in names if name != own})


def find_in_system(context: ClusterContext, kind: str) -> Json | None:
    items = context.cluster.get([kind], namespace=SYSTEM_NAMESPACE)
    return next((item for item in items if item["metadata"]["name"] == NAME), None)


def plan(context: ClusterContext) -> Iterator[str]:
    if context.application.uses_ingress:
        yield "has k3s' Traefik take visitors at ports 80 and 443 of the master"
