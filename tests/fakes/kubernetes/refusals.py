"""What the API does not take: texts of Kubernetes' own validation."""

from __future__ import annotations

import json

from tests.fakes.kubernetes.kinds import Object, refuse
from tests.fakes.kubernetes.selectors import matches

#: What may change in a StatefulSet.
CHANGEABLE = (
    *("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit"),
    *("persistentVolumeClaimRetentionPolicy", "minReadySeconds"),
)


def check_valid(item: Object) -> None:
    """Whether an object makes sense by itself."""
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
    """Whether an object may become another."""
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
    if old.get("completions") != new.get("completions"):
        return f"spec.completions: Invalid value: {new.get('completions')}: field is immutable"
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
    """Whether anything else differs."""
    return any(old.get(key) != new.get(key) for key in (old.keys() | new.keys()) - set(but))


def write_map(values: Object) -> str:
    """A map as Go prints it."""
    inner = ", ".join(f'"{key}":"{value}"' for key, value in sorted(values.items()))
    return f"map[string]string{{{inner}}}"
