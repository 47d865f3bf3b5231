"""What the Ruby gem nvoi 0.2 has made of an app in a cluster, and how it becomes nvoi's. Pure.

The gem put no labels on its objects: its own are known by their names, and by the one label that
their pods have and are selected by (getnvoi/cli v0.2.2, ``templates``, ``deploy_service.rb`` and
``setup_k3s.rb``). Selectors of workloads never change, so these are deleted and made anew: where
pods of both may run, those of the gem go on until the new release serves. What is taken over is
marked, so that a run that was cut off, or fails, needs to ask nobody again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from nvoi.config.schema import Application
from nvoi.kubernetes.names import (
    ADOPTED,
    INSTANCE,
    MANAGED_BY,
    PART_OF,
    build_label_value,
    build_labels,
    build_metadata,
)
from nvoi.kubernetes.ownership import (
    WORKLOADS,
    Json,
    Manifest,
    Reference,
    is_adopted,
    list_immutable_changes,
    read_reference,
)
from nvoi.kubernetes.pods import build_peer, build_policy
from nvoi.naming import build_database_name, build_label, build_prefix, build_workload_name, shorten

#: The label of the gem's pods.
APP = "app"
REGISTRY = "nvoi-registry"
#: How the images in the gem's registry are named.
REGISTRY_ADDRESS = "localhost:30500/"
INGRESS_CLASS, INGRESS_NAMESPACE = "nginx", "ingress-nginx"
LEFT = "adopted"
#: The kinds of which the gem has made objects, and what it has made for them.
MADE = (
    *("deployments", "statefulsets", "services", "ingresses"),
    *("replicasets", "persistentvolumeclaims"),
)
#: Where the gem mounted the volume of every database, whichever it was.
FOLDER = "/var/lib/postgresql/data"


def list_names(application: Application) -> dict[Reference, tuple[str, str]]:
    """The objects that the gem makes for an app, each with its service and component here."""
    app, database = application.name, build_database_name(application.name)
    left = [("Secret", f"app-secret-{app}"), ("Secret", f"db-secret-{app}")]
    left += [("Deployment", REGISTRY), ("Service", REGISTRY)]
    found = {
        Reference("StatefulSet", database): ("database", "database"),
        Reference("Service", database): ("database", "database"),
        Reference("PersistentVolumeClaim", f"data-{database}-0"): ("database", "database"),
    }
    components = dict.fromkeys(application.app, "app")
    for name, component in (components | dict.fromkeys(application.services, "service")).items():
        workload = build_workload_name(app, name)
        for kind in ("Deployment", "Service"):
            found[Reference(kind, workload)] = name, component
        if component == "app":
            left += [("Ingress", workload), ("Deployment", f"cloudflared-{name}")]
        else:
            left.append(("Secret", f"{workload}-secret"))
    return found | {Reference(kind, name): (name, LEFT) for kind, name in left}


def find_made(application: Application, live: Iterable[Json]) -> list[Json]:
    """What of ``live`` the gem has made for the app, and nobody has taken over yet.

    ``live`` are all objects of the kinds in :data:`MADE`, and the Secrets that bear no labels of
    nvoi's, of which the metadata will do.
    """
    items, names = [*live], list_names(application)
    found = [one for one in items if read_reference(one) in names and is_made(one)]
    if not any(one["kind"] in {"Deployment", "StatefulSet", "Service"} for one in found):
        return []
    own = {read_reference(one) for one in found}
    if any(uses_registry(one) for one in items if read_reference(one) not in own):
        found = [one for one in found if read_reference(one).name != REGISTRY]
        own = {read_reference(one) for one in found}
    return [*found, *(one for one in items if is_replica(one, own))]


def is_made(item: Json) -> bool:
    """Whether an object that has a name of the gem's is as the gem makes it."""
    metadata, specification = item["metadata"], item.get("spec") or {}
    if MANAGED_BY in (metadata.get("labels") or {}):
        return False
    wanted = {APP: metadata["name"]}
    if item["kind"] in {"Deployment", "StatefulSet"}:
        return bool((specification.get("selector") or {}).get("matchLabels") == wanted)
    if item["kind"] == "Service":
        return bool(specification.get("selector") == wanted)
    if item["kind"] == "Ingress":
        return bool(specification.get("ingressClassName") == INGRESS_CLASS)
    return True


def is_replica(item: Json, owners: Iterable[Reference]) -> bool:
    """Whether it is a ReplicaSet of one of the Deployments."""
    references = item["metadata"].get("ownerReferences") or ()
    own = {Reference(one["kind"], one["name"]) for one in references}
    return item["kind"] == "ReplicaSet" and not own.isdisjoint(owners)


def uses_registry(item: Json) -> bool:
    if item["kind"] not in {"Deployment", "StatefulSet"}:
        return False
    containers = item["spec"]["template"]["spec"]["containers"]
    return any(one["image"].startswith(REGISTRY_ADDRESS) for one in containers)


def build_marks(application: Application, item: Json) -> dict[str, Any]:
    """The change by which an object becomes the app's.

    A ReplicaSet stays one that nothing but the gem's own Deployment selects.
    """
    name = item["metadata"]["name"]
    service, component = list_names(application).get(read_reference(item), (name, LEFT))
    labels = build_labels(application.name, service, name, component)
    if item["kind"] == "ReplicaSet":
        del labels[INSTANCE]
    return {"metadata": {"labels": labels, "annotations": {ADOPTED: "true"}}}


def build_way_in(application: Application, deploy_id: str) -> Manifest:
    """Lets the gem's tunnels and ingress reach the new pods too, until the release serves."""
    name = shorten(f"{build_label(build_prefix(application.name))}-{LEFT}")
    labels = build_labels(application.name, LEFT, name, LEFT)
    tunnels = {"key": APP, "operator": "In"}
    names = [f"cloudflared-{service}" for service in application.app]
    peers = (
        build_peer(f"namespace/{INGRESS_NAMESPACE}"),
        {"podSelector": {"matchExpressions": [tunnels | {"values": names}]}},
    )
    selector = {PART_OF: build_label_value(application.name)}
    return build_policy(build_metadata(name, labels, deploy_id), selector, peers)


def find_faults(
    application: Application, made: Iterable[Json], wanted: Iterable[Manifest]
) -> Iterator[str]:
    """What of the app would not be there any more if it were taken over."""
    named, names = {read_reference(item) for item in wanted}, list_names(application)
    for item in made:
        reference = read_reference(item)
        service, component = names.get(reference, ("", LEFT))
        if reference.kind == "Service" and reference not in named and component == "service":
            port = item["spec"]["ports"][0]["port"]
            yield (
                f"others reach {service} at {reference.name}:{port}, which the gem took from "
                f"its image: add `port: {port}` to services.{service}"
            )


def is_data_inside(item: Json) -> bool:
    """Whether a database's data is in its container alone, where it ends with its pod.

    The gem mounted the volume of a MySQL where a postgres has its data.
    """
    if item["kind"] != "StatefulSet":
        return False
    names = {one["name"] for one in item["spec"]["template"]["spec"]["containers"]}
    return not any(name.lower().startswith("postgres") for name in names)


def describe(item: Json, wanted: Iterable[Manifest]) -> str:
    """What becomes of an object, a line for people."""
    reference = read_reference(item)
    new: Any = next((one for one in wanted if read_reference(one) == reference), None)
    fate = "leads to the new pods once they are ready"
    if item["kind"] == "PersistentVolumeClaim":
        fate = "stays, with the data that it has"
    elif new is None:
        fate = "is removed once the release serves"
    elif item["kind"] == "Deployment" and rolls(new):
        fate = "is made anew; its pods go on until the release serves"
    elif item["kind"] in WORKLOADS:
        fate = "stops and is made anew, on the data that it has"
    elif item["spec"].get("clusterIP") == "None":
        fate = "is made anew"
    return f"{reference}: {fate}"


def rolls(item: Manifest) -> bool:
    """Whether pods of two releases may run at once."""
    specification: Any = item.get("spec") or {}
    strategy = specification.get("strategy") or {}
    return item["kind"] == "Deployment" and strategy.get("type") == "RollingUpdate"


def find_detached(live: Iterable[Json], wanted: Iterable[Manifest]) -> list[Reference]:
    """The gem's Deployments that are deleted without their pods, which serve until they go."""
    items, manifests = [*live], [*wanted]
    adopted = {read_reference(item) for item in items if is_adopted(item)}
    rolling = {read_reference(item) for item in manifests if rolls(item)}
    return [one for one in list_immutable_changes(items, manifests) if one in adopted & rolling]


def find_turned(live: Iterable[Json], wanted: Iterable[Manifest]) -> list[Manifest]:
    """The Services that lead to the gem's pods until the new ones are ready."""
    items, manifests = [*live], [*wanted]
    adopted = {read_reference(item) for item in items if is_adopted(item)}
    services = [one for one in manifests if one["kind"] == "Service"]
    fixed = list_immutable_changes(items, services)
    return [one for one in services if read_reference(one) in adopted.difference(fixed)]


def build_turn(service: Manifest) -> dict[str, Any]:
    """The change by which a Service of the gem's leads to the new pods, and is not its any more."""
    specification: Any = service["spec"]
    selector = {APP: None} | specification["selector"]
    annotations = {ADOPTED: None}
    return {
        "metadata": {"annotations": annotations},
        "spec": {"selector": selector, "ports": specification["ports"]},
    }
