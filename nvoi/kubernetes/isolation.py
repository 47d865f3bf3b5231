"""Who reaches an app's pods: its own, those that the config lets in, and the nodes.

Facts are of the Kubernetes documentation, "Network Policies". k3s enforces them by itself (its
documentation, "Networking Services", "Network Policy Controller").
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence

from nvoi.kubernetes.names import (
    NAME,
    PART_OF,
    build_label_value,
    build_labels,
    build_metadata,
    build_object,
)
from nvoi.naming import build_label, build_prefix

#: k3s' own default, told to it all the same.
POD_NETWORK = "10.42.0.0/16"
#: The bits of a node's own part of that (k3s documentation, "k3s server", `cluster-cidr`).
NODE_BITS = 24
EVERYBODY = "*"
NAMESPACE_PREFIX = "namespace/"
NAMESPACE_NAME = "kubernetes.io/metadata.name"


Peer = Mapping[str, object]

#: The pods of k3s' own Traefik, which has the public's requests.
INGRESS: Peer = {
    "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: "kube-system"}},
    "podSelector": {"matchLabels": {NAME: "traefik"}},
}


def build_nodes() -> tuple[Peer, ...]:
    """All that is no pod: the nodes, and who comes through them.

    A node is seen by its own address or, on its way to another one, by the first two of its part
    of the pods' network, which are those of its tunnel and its bridge and never a pod's (flannel,
    "Backends"). All parts that there can be are named, so that a node that joins needs nothing.
    """
    parts = ipaddress.ip_network(POD_NETWORK).subnets(new_prefix=NODE_BITS)
    own = [{"ipBlock": {"cidr": f"{part.network_address}/31"}} for part in parts]
    return ({"ipBlock": {"cidr": "0.0.0.0/0", "except": [POD_NETWORK]}}, *own)


NODES = build_nodes()


def build_app_policy(
    app: str, others: Sequence[str], deploy_id: str, *, ingress: bool = False
) -> dict[str, object]:
    """Who reaches an app's pods, of whatever release they are, and its database.

    ``others`` are those whom its config lets in; ``ingress`` is whether the cluster's is too.
    """
    name = build_label(build_prefix(app))
    metadata = build_metadata(name, build_labels(app, "policy", name, "policy"), deploy_id)
    peers: list[Peer] = []
    if EVERYBODY not in others:
        peers += [*map(build_peer, (app, *others)), *NODES, *([INGRESS] if ingress else ())]
    return build_policy(metadata, {PART_OF: build_label_value(app)}, peers)


def build_peer(name: str) -> Peer:
    """The pods of an app, or all of a namespace."""
    if name.startswith(NAMESPACE_PREFIX):
        labels = {NAMESPACE_NAME: name.removeprefix(NAMESPACE_PREFIX)}
        return {"namespaceSelector": {"matchLabels": labels}}
    return {"podSelector": {"matchLabels": {PART_OF: build_label_value(name)}}}


def build_policy(
    metadata: Mapping[str, object], selector: Mapping[str, str], peers: Iterable[Peer]
) -> dict[str, object]:
    """Lets ``peers`` reach the pods of ``selector``, and nobody else; no peers are everybody.

    What the pods themselves reach is left open: names are asked of kube-system, and apps call
    whom they like.
    """
    rule = {"from": [dict(peer) for peer in peers]}
    specification = {
        "podSelector": {"matchLabels": dict(selector)},
        "policyTypes": ["Ingress"],
        "ingress": [rule if rule["from"] else {}],
    }
    return build_object("NetworkPolicy", dict(metadata), spec=specification)
