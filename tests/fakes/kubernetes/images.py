"""Images as a node's containerd pulls them."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

from tests.fakes.kubernetes.kinds import Object
from tests.fakes.kubernetes.store import Store

REFUSED = "failed to authorize: failed to fetch anonymous token: 401 Unauthorized"


def find_fault(store: Store, image: str) -> str | None:
    """Why an image cannot be pulled, in containerd's words."""
    for rule in store.scenario.get("pods", ()):
        if rule["match"] in image and rule.get("behaviour") == "image-pull":
            return str(rule.get("message", build_missing(image)))
    return None


def find_wanted(store: Store, image: str) -> tuple[str, str] | None:
    """What a login to an image's registry is kept under, and what it is, where one is needed."""
    for name, login in store.scenario.get("logins", {}).items():
        host = image.partition("/")[0] if "." in image.partition("/")[0] else "docker.io"
        if host == name:
            key = "https://index.docker.io/v1/" if name == "docker.io" else name
            return key, b64encode(login.encode()).decode()
    return None


def find_refused_pod(store: Store, pod: Object) -> Object | None:
    """A rule for a pod whose Secrets do not let its node have its image."""
    for container in pod["spec"]["containers"]:
        wanted = find_wanted(store, container["image"])
        if wanted is None:
            continue
        given = set()
        for one in pod["spec"].get("imagePullSecrets", ()):
            secret = store.get("Secret", one["name"], pod["metadata"]["namespace"]) or {}
            text = secret.get("data", {}).get(".dockerconfigjson", "e30=")
            auths = json.loads(b64decode(text)).get("auths", {})
            given |= {(key, entry["auth"]) for key, entry in auths.items()}
        if wanted not in given:
            return {"behaviour": "image-pull", "looks": 1, "message": REFUSED}
    return None


def build_missing(image: str) -> str:
    """What containerd says of an image that is not there."""
    return f'failed to resolve reference "{image}": {image}: not found'


def pull(store: Store, image: str, login: str = "") -> Object:
    """What ``crictl pull`` prints. A rule's ``times`` is how often it fails."""
    fault, wanted = find_fault(store, image), find_wanted(store, image)
    if wanted is not None and login != wanted[1]:
        fault = REFUSED
    rules = [one for one in store.scenario.get("pods", ()) if one["match"] in image]
    times = rules[0].get("times") if rules else None
    if fault is None or (times is not None and store.count(f"pull {image}") > times):
        return {"stdout": f"Image is up to date for {image}\n"}
    text = f'rpc error: code = Unknown desc = failed to pull and unpack image "{image}": {fault}'
    return {"stderr": f"FATA[0001] pulling image: {text}\n", "exit": 1}
