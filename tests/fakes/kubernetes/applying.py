"""Server-side apply, merge patches, and what the API does not take, in Kubernetes' own words."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterator

from tests.fakes.kubernetes.charts import KIND, SPEC
from tests.fakes.kubernetes.kinds import ApiError, Kind, Object, matches, refuse
from tests.fakes.kubernetes.store import HIDDEN, Store, copy

#: Who applies and who patches are told apart, even of one name.
UPDATE = " (update)"
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def apply(
    store: Store, kind: Kind, place: Object, manifest: Object, manager: str, *, force: bool
) -> Object:
    """Apply one object, and return it.

    Args:
        store: the cluster.
        kind: the kind that the path names.
        place: the ``name`` and ``namespace`` that the path names.
        manifest: what is applied.
        manager: who does.
        force: whether what others have set otherwise is taken from them.
    """
    check_shape(kind, manifest)
    manifest = copy(manifest)
    metadata = manifest["metadata"]
    if kind.namespaced:
        metadata.setdefault("namespace", place["namespace"])
    check_encoding(manifest)
    live = store.get(kind.name, metadata["name"], metadata.get("namespace", ""))
    owners = (live or {}).get(HIDDEN, {})
    writers = {key: one for key, one in owners.items() if key != manager and isinstance(one, dict)}
    check_conflicts(live or {}, manifest, writers, force=force)
    others = [*writers.values()]
    item = merge(live or {}, manifest, owners.get(manager, {}), others)
    check_valid(item)
    if live is not None:
        check_change(live, item)
    if kind.name == "Service":
        give_address(store, item)
    if kind.name == KIND:
        item["spec"].setdefault("failurePolicy", SPEC["properties"]["failurePolicy"]["default"])
    item[HIDDEN] = (live or {}).get(HIDDEN, {}) | {manager: manifest}
    return put(store, live, item)


def check_conflicts(
    live: Object, wanted: Object, writers: dict[str, Object], *, force: bool
) -> None:
    """Whether others have set otherwise what is applied; they lose it where that is forced."""
    found = [*find_conflicts(live, wanted, writers, force=force)]
    if not found or force:
        return
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{manager.removesuffix(UPDATE)}" using v1',
            "field": field,
        }
        for field, manager in found
    ]
    message = f"Apply failed with {len(found)} conflicts"
    raise ApiError(409, "Conflict", message, causes=causes)


def find_conflicts(
    live: Object, wanted: Object, writers: dict[str, Object], path: str = "", *, force: bool
) -> Iterator[tuple[str, str]]:
    for key, value in wanted.items():
        place = f"{path}.{key}"
        if isinstance(value, dict):
            inner = {manager: reach(one, key) for manager, one in writers.items()}
            yield from find_conflicts(reach(live, key), value, inner, place, force=force)
            continue
        for manager, one in writers.items():
            if key in one and live.get(key) != value:
                yield place, manager
                if force:
                    del one[key]


def note_writer(live: Object, change: Object, manager: str) -> None:
    writer = live[HIDDEN].setdefault(manager + UPDATE, {})
    patch(writer, {key: part for key, part in copy(change).items() if part is not None})


def patch(live: Object, change: Object) -> None:
    """Merge a change into an object; what is null there goes (RFC 7396)."""
    for key, value in change.items():
        if value is None:
            live.pop(key, None)
        elif isinstance(value, dict) and isinstance(live.get(key), dict):
            patch(live[key], value)
        else:
            live[key] = value


def put(store: Store, live: Object | None, item: Object) -> Object:
    """Write an object; its generation grows where its spec has changed."""
    if live is None:
        return store.add(item)
    if {**live, HIDDEN: None} == {**item, HIDDEN: None}:
        live[HIDDEN] = item[HIDDEN]
        return live
    if live.get("spec") != item.get("spec") and "generation" in item["metadata"]:
        item["metadata"]["generation"] += 1
    live.clear()
    live.update(item)
    return live


def merge(live: Object, wanted: Object, before: Object, others: list[Object]) -> Object:
    """``live`` with all of ``wanted``, without what was in ``before`` and nobody else's.

    Lists are whole.
    """
    kept = {key for key in live if key not in before or any(key in one for one in others)}
    merged = {key: value for key, value in live.items() if key in kept or key in wanted}
    for key, value in wanted.items():
        if isinstance(value, dict):
            old, last, *rest = (reach(one, key) for one in (live, before, *others))
            merged[key] = merge(old, value, last, rest)
        else:
            merged[key] = value
    return merged


def reach(item: Object, key: str) -> Object:
    found = item.get(key)
    return found if isinstance(found, dict) else {}


def check_shape(kind: Kind, manifest: Object) -> None:
    name = manifest.get("metadata", {}).get("name", "")
    if manifest.get("kind") != kind.name or manifest.get("apiVersion") != kind.version:
        message = f"the object in the data ({manifest.get('kind')}) is not of {kind.name}"
        raise ApiError(400, "BadRequest", message)
    if not NAME.fullmatch(name):
        raise refuse(
            manifest,
            "metadata.name",
            f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case '
            "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
            "character",
        )


def check_encoding(manifest: Object) -> None:
    """Whether a Secret's data can be read. The API shows the value."""
    if manifest["kind"] != "Secret":
        return
    for key, value in manifest.get("data", {}).items():
        if not isinstance(value, str):
            raise ApiError(
                500,
                "",
                f"failed to create typed patch object "
                f"({manifest['metadata']['namespace']}/{manifest['metadata']['name']}; /v1, "
                f"Kind=Secret): .data.{key}: expected string, got "
                f"&value.valueUnstructured{{Value:{json.dumps(value)}}}",
            )
        try:
            binascii.a2b_base64(value, strict_mode=True)
        except binascii.Error as error:
            raise ApiError(
                400,
                "BadRequest",
                'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at '
                "input byte 4",
            ) from error


def give_address(store: Store, service: Object) -> None:
    """A Service has the address it asks for, or one of its own."""
    spec = service.setdefault("spec", {})
    if spec.get("clusterIP") == "None":
        return
    number = 0 if "clusterIP" in spec else store.count("address") + 1000
    address = spec.setdefault("clusterIP", f"10.43.{number // 250}.{number % 250 + 1}")
    defaults = {"type": "ClusterIP", "sessionAffinity": "None", "clusterIPs": [address]}
    for key, value in defaults.items():
        spec.setdefault(key, value)


#: What may change in a StatefulSet.
CHANGEABLE = (
    *("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit"),
    *("persistentVolumeClaimRetentionPolicy", "minReadySeconds"),
)


def check_valid(item: Object) -> None:
    if item["kind"] in ("Deployment", "StatefulSet"):
        spec = item["spec"]
        labels = spec.get("template", {}).get("metadata", {}).get("labels", {})
        wanted = spec.get("selector", {}).get("matchLabels", {})
        if not wanted:
            raise refuse(item, "spec.selector", "Required value")
        if not matches(",".join(f"{key}={value}" for key, value in wanted.items()), labels):
            raise refuse(
                item,
                "spec.template.metadata.labels",
                f"Invalid value: {write_map(labels)}: `selector` does not match template `labels`",
            )
    if item["kind"] in ("Deployment", "StatefulSet", "Job"):
        containers = item["spec"].get("template", {}).get("spec", {}).get("containers")
        if not containers:
            raise refuse(item, "spec.template.spec.containers", "Required value")
        for index, container in enumerate(containers):
            if not container.get("image"):
                place = f"spec.template.spec.containers[{index}].image"
                raise refuse(item, place, "Required value")


def check_change(live: Object, item: Object) -> None:
    check = CHANGES.get(item["kind"])
    reason = check(live, item) if check else None
    if reason:
        raise refuse(item, *reason.split(": ", 1))


def check_deployment(live: Object, item: Object) -> str | None:
    """A Deployment's pods are found by the same labels for ever."""
    new = item["spec"]["selector"]
    if live["spec"].get("selector") == new:
        return None
    return (
        f"spec.selector: Invalid value: v1.LabelSelector{{MatchLabels:"
        f"{write_map(new['matchLabels'])}, "
        "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable"
    )


def check_statefulset(live: Object, item: Object) -> str | None:
    """A StatefulSet is its name, its labels and its disks."""
    if not differ(live["spec"], item["spec"], CHANGEABLE):
        return None
    allowed = (
        "'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
        "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds'"
    )
    what = "updates to statefulset spec for fields other than"
    return f"spec: Forbidden: {what} {allowed} are forbidden"


def check_job(live: Object, item: Object) -> str | None:
    """A Job is what it runs. The API prints all of that, environment and all."""
    old, new = live["spec"], item["spec"]
    if old.get("template") != new.get("template"):
        dump = f"core.PodTemplateSpec{{{json.dumps(new['template'])}}}"
        return f"spec.template: Invalid value: {dump}: field is immutable"
    return None


def check_service(live: Object, item: Object) -> str | None:
    """A Service stays at its address."""
    old, new = live["spec"].get("clusterIP"), item["spec"].get("clusterIP", "")
    if old in (None, "", new):
        return None
    return f'spec.clusterIPs[0]: Invalid value: []string{{"{new}"}}: may not change once set'


def check_data(live: Object, item: Object) -> str | None:
    """What is immutable stays as it is, and so does a Secret's type."""
    forbidden = "Forbidden: field is immutable when `immutable` is set"
    if live.get("immutable") and not item.get("immutable"):
        return f"immutable: {forbidden}"
    # An empty map is stored as none, and is not the same as none when it comes again.
    if live.get("immutable") and (live.get("data") or None) != item.get("data"):
        return f"data: {forbidden}"
    if live.get("type", "Opaque") != item.get("type", "Opaque"):
        return f'type: Invalid value: "{item.get("type")}": field is immutable'
    return None


CHANGES = {
    "Deployment": check_deployment,
    "StatefulSet": check_statefulset,
    "Job": check_job,
    "Service": check_service,
    "Secret": check_data,
    "ConfigMap": check_data,
}


def differ(old: Object, new: Object, but: tuple[str, ...]) -> bool:
    return any(old.get(key) != new.get(key) for key in (old.keys() | new.keys()) - set(but))


def write_map(values: Object) -> str:
    inner = ", ".join(f'"{key}":"{value}"' for key, value in sorted(values.items()))
    return f"map[string]string{{{inner}}}"
