from __future__ import annotations

import re

from ruamel.yaml import YAML

from nvoi.providers.cloud_init import LARGEST_USER_DATA, build_user_data
from nvoi.providers.host_keys import generate_host_key

#: Hetzner's and Kubernetes' rule for the value of a label.
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def test_the_user_data_are_a_cloud_config_with_the_user_and_the_host_key() -> None:
    pair = generate_host_key()
    text = build_user_data("shop-main-1", "ssh-ed25519 AAAA me@here\n", pair)
    assert text.startswith("#cloud-config\n")
    document = YAML(typ="safe").load(text)
    assert document["hostname"] == "shop-main-1"
    assert document["users"] == [
        {
            "name": "deploy",
            "shell": "/bin/bash",
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "lock_passwd": True,
            "ssh_authorized_keys": ["ssh-ed25519 AAAA me@here"],
        }
    ]
    assert document["ssh_keys"] == {
        "ed25519_private": pair.private.reveal(),
        "ed25519_public": pair.public,
    }
    assert not document["ssh_pwauth"]


def test_nothing_is_upgraded_at_the_first_start() -> None:
    document = YAML(typ="safe").load(build_user_data("a", "k", generate_host_key()))
    assert (document["package_upgrade"], document["package_update"]) == (False, False)


def test_the_user_data_are_small_enough_for_every_cloud() -> None:
    text = build_user_data("n" * 63, "ssh-ed25519 " + "A" * 1000, generate_host_key())
    assert len(text.encode()) < LARGEST_USER_DATA
