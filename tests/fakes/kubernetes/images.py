"""Images as a node's containerd pulls them."""

from __future__ import annotations

from tests.fakes.kubernetes.kinds import Object
from tests.fakes.kubernetes.store import Store


def find_fault(store: Store, image: str) -> str | None:
    """Why an image cannot be pulled, in containerd's words."""
    for rule in store.scenario.get("pods", ()):
        if rule["match"] in image and rule.get("behaviour") == "image-pull":
            return str(rule.get("message", build_missing(image)))
    return None


def build_missing(image: str) -> str:
    """What containerd says of an image that is not there."""
    return f'failed to resolve reference "{image}": {image}: not found'


def pull(store: Store, image: str) -> Object:
    """What ``crictl pull`` prints. A rule's ``times`` is how often it fails."""
    fault = find_fault(store, image)
    rules = [one for one in store.scenario.get("pods", ()) if one["match"] in image]
    times = rules[0].get("times") if rules else None
    if fault is None or (times is not None and store.count(f"pull {image}") > times):
        return {"stdout": f"Image is up to date for {image}\n"}
    text = f'rpc error: code = Unknown desc = failed to pull and unpack image "{image}": {fault}'
    return {"stderr": f"FATA[0001] pulling image: {text}\n", "exit": 1}
