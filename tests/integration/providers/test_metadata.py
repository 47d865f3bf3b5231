"""Pods do not reach the metadata of the cloud, whoever let them in."""

from __future__ import annotations

import subprocess

import pytest

from nvoi.k3s.networks import UNIT
from tests.integration.targets.cluster.machine import IS_ROOT
from tests.waiting import PATIENCE

#: A node whose one pod is a network of its own. What the address leads to is the node itself.
NODE = """\
set -eu
ip link set lo up
unshare --net sleep 1000 &
pod=$!
trap 'kill $pod' EXIT
until [ "$(readlink /proc/$pod/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do :; done
inside() { nsenter --target $pod --net "$@"; }
ip link add cni0 type veth peer name eth0 netns $pod
ip address add 10.42.0.1/24 dev cni0
ip address add 169.254.169.254/32 dev cni0
ip link set cni0 up
inside ip address add 10.42.0.5/24 dev eth0
inside ip link set eth0 up
inside ip route add default via 10.42.0.1
ask() {
  who=$1 address=$2 seconds=$3
  shift 3
  "$@" python3 -c "
import socket
try:
    socket.create_connection(('$address', 80), $seconds)
except ConnectionRefusedError:
    print('$who reaches $address')
except TimeoutError:
    print('$who does not reach $address')
"
}
ask pod 169.254.169.254 60 inside
# As systemd runs it, at a start of the server and in a deploy.
eval "$ensure"
eval "$ensure"
iptables -t raw -S PREROUTING
ask pod 169.254.169.254 0.2 inside
ask pod 10.42.0.1 60 inside
ask node 169.254.169.254 60 env
"""


@pytest.mark.skipif(not IS_ROOT, reason="nobody else may make networks with rules")
def test_a_node_s_rule_holds_for_every_pod_and_for_pods_alone() -> None:
    (ensure,) = [line for line in UNIT.splitlines() if line.startswith("ExecStart=")]
    ensure = ensure.removeprefix("ExecStart=/bin/sh -c '").removesuffix("'")
    words = ["unshare", "--net", "sh", "-c", f"ensure=$1\n{NODE}", "node", ensure]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout.splitlines() == [
        "pod reaches 169.254.169.254",
        "-P PREROUTING ACCEPT",
        "-A PREROUTING -s 10.42.0.0/16 -d 169.254.0.0/16 -j DROP",
        "pod does not reach 169.254.169.254",
        "pod reaches 10.42.0.1",
        "node reaches 169.254.169.254",
    ], done.stderr
