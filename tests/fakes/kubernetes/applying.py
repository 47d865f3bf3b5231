"""``kubectl apply --server-side``: one owner's fields, merged into what there is."""

from __future__ import annotations

import binascii
import json
import re
import sys

from tests.fakes.kubernetes.arguments import Arguments
from tests.fakes.kubernetes.kinds import KINDS, NAMESPACES, KubectlError, Object
from tests.fakes.kubernetes.refusals import check_change, check_valid
from tests.fakes.kubernetes.store import HIDDEN, Store, copy

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def apply(store: Store, arguments: Arguments, stdin: str) -> int:
    """Apply each document; one that is refused does not keep the others from it."""
    if not arguments.has("server-side"):
        raise KubectlError("fake kubectl: only apply --server-side is known", 64)
    code = 0
    documents = read_documents(stdin)
    if not documents:
        raise KubectlError("error: no objects passed to apply")
    for manifest in documents:
        try:
            print(apply_one(store, arguments, manifest))
        except KubectlError as error:
            print(error.text, file=sys.stderr)
            code = error.code
    return code


def read_documents(text: str) -> list[Object]:
    """The objects of a document, a list of them or one."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        message = f"error: error parsing STDIN: invalid character at {error.pos}"
        raise KubectlError(message) from error
    return list(document["items"]) if document.get("kind") == "List" else [document]


def apply_one(store: Store, arguments: Arguments, manifest: Object) -> str:
    """Apply one object, and say so."""
    check_shape(manifest)
    kind = KINDS[manifest["kind"]]
    manifest = copy(manifest)
    metadata, manager = manifest["metadata"], arguments.options.get("field-manager", "kubectl")
    if kind.namespaced:
        metadata.setdefault("namespace", arguments.namespace or "default")
        check_namespace(store, metadata["namespace"])
    encode_strings(manifest)
    live = store.get(kind.name, metadata["name"], metadata.get("namespace", ""))
    owners = (live or {}).get(HIDDEN, {})
    others = [one for key, one in owners.items() if key != manager and isinstance(one, dict)]
    item = merge(live or {}, manifest, owners.get(manager, {}), others)
    check_valid(item)
    if live is not None:
        check_change(live, item)
    if kind.name == "Service":
        give_address(store, item)
    is_dry = arguments.options.get("dry-run") == "server"
    if not is_dry:
        item[HIDDEN] = (live or {}).get(HIDDEN, {}) | {manager: manifest}
        put(store, live, item)
    return f"{kind.shown}/{metadata['name']} serverside-applied{' (server dry run)' * is_dry}"


def put(store: Store, live: Object | None, item: Object) -> None:
    """Write an object; its generation grows where its spec has changed."""
    if live is None:
        item[HIDDEN]["number"] = store.count("number")
        store.add(item)
        return
    if {**live, HIDDEN: None} == {**item, HIDDEN: None}:
        live[HIDDEN] = item[HIDDEN]
        return
    if live.get("spec") != item.get("spec") and "generation" in item["metadata"]:
        item["metadata"]["generation"] += 1
    live.clear()
    live.update(item)
    store.touch(live)


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
    """A map within another, empty where it is none."""
    found = item.get(key)
    return found if isinstance(found, dict) else {}


def check_shape(manifest: Object) -> None:
    """Whether kubectl itself sends it at all."""
    kind, version = manifest.get("kind"), manifest.get("apiVersion")
    name = manifest.get("metadata", {}).get("name", "")
    if not kind:
        raise KubectlError('error: error validating "STDIN": error validating data: kind not set')
    if not version:
        message = 'error: error validating "STDIN": error validating data: apiVersion not set'
        raise KubectlError(message)
    if kind not in KINDS or KINDS[kind].version != version:
        raise KubectlError(
            f'error: resource mapping not found for name: "{name}" namespace: "" from "STDIN": '
            f'no matches for kind "{kind}" in version "{version}"\nensure CRDs are installed first'
        )
    if not name:
        raise KubectlError("error: resource name may not be empty")
    if not NAME.fullmatch(name):
        raise KubectlError(
            f'The {kind} "{name}" is invalid: metadata.name: Invalid value: "{name}": a lowercase '
            "RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
            "and must start and end with an alphanumeric character"
        )


def check_namespace(store: Store, name: str) -> None:
    """Whether a namespace is there."""
    if name not in NAMESPACES and store.get("Namespace", name) is None:
        raise KubectlError(f'Error from server (NotFound): namespaces "{name}" not found')


def encode_strings(manifest: Object) -> None:
    """``stringData`` of a Secret, and whether its data can be read. The API shows the value."""
    if manifest["kind"] != "Secret":
        return
    for key, value in manifest.pop("stringData", {}).items():
        manifest.setdefault("data", {})[key] = binascii.b2a_base64(
            value.encode(), newline=False
        ).decode()
    for key, value in manifest.get("data", {}).items():
        if not isinstance(value, str):
            raise KubectlError(
                f"Error from server: failed to create typed patch object "
                f"({manifest['metadata']['namespace']}/{manifest['metadata']['name']}; /v1, "
                f"Kind=Secret): .data.{key}: expected string, got "
                f"&value.valueUnstructured{{Value:{json.dumps(value)}}}"
            )
        try:
            binascii.a2b_base64(value, strict_mode=True)
        except binascii.Error as error:
            raise KubectlError(
                'Error from server (BadRequest): error when creating "STDIN": Secret in version '
                '"v1" cannot be handled as a Secret: illegal base64 data at input byte 4'
            ) from error


def give_address(store: Store, service: Object) -> None:
    """A Service has the address it asks for, or one of its own."""
    spec = service.setdefault("spec", {})
    if spec.get("clusterIP") == "None":
        return
    number = 0 if "clusterIP" in spec else store.count("address") + 1000
    address = spec.setdefault("clusterIP", f"10.43.{number // 250}.{number % 250 + 1}")
    for other in store.select("Service"):
        if (
            other["spec"].get("clusterIP") == address
            and other["metadata"]["name"] != (service["metadata"]["name"])
        ):
            raise KubectlError(
                f'The Service "{service["metadata"]["name"]}" is invalid: spec.clusterIPs: Invalid '
                f'value: []string{{"{address}"}}: failed to allocate IP {address}: provided IP is '
                "already allocated"
            )
    defaults = {"type": "ClusterIP", "sessionAffinity": "None", "clusterIPs": [address]}
    for key, value in defaults.items():
        spec.setdefault(key, value)
