"""What a manifest tells, and where a registry is reached."""

from __future__ import annotations

from nvoi.images.push import choose_ports
from nvoi.images.registries import Manifest


def test_a_manifest_is_known_by_its_own_digest_or_its_configs() -> None:
    manifest = Manifest("sha256:aa", "sha256:bb")
    assert manifest.is_of("aa")
    assert manifest.is_of("bb")
    assert not manifest.is_of("cc")
    assert not Manifest("sha256:aa", None).is_of("bb")
    assert not Manifest("sha256:aa", None).is_of("")


def test_a_registrys_ports_are_its_own_and_the_same_each_time() -> None:
    ports = choose_ports("web-1 10.43.0.100:5000")
    assert ports == choose_ports("web-1 10.43.0.100:5000")
    assert ports != choose_ports("web-2 10.43.0.100:5000")
    # Kubelet's, on a server that nvoi itself runs on.
    assert min(ports) > 10250
    assert all(1024 < port < 32768 for port in ports)
