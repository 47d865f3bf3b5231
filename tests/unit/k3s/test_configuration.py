"""The files that k3s reads, and what is noted of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from ruamel.yaml import YAML

from nvoi.k3s.configuration import (
    HEADER,
    K3sSettings,
    Node,
    build_config,
    build_registries,
    build_stamp,
    build_url,
    find_secret,
    read_config,
    read_token,
)
from nvoi.k3s.installer import Work, build_input, build_removal, build_setup
from nvoi.secret import Secret

SETTINGS = K3sSettings(system_default_registry="mirror.example:5000")
TOKEN = Secret("5eed" * 16)
MASTER = Node("main-1", "main", "10.0.0.1", TOKEN, None, "v1.36.4+k3s1")
WORKER = Node("web-1", "web", "10.0.0.2", TOKEN, "10.0.0.1", "v1.36.4+k3s1")


@pytest.mark.parametrize("node", [MASTER, WORKER])
def test_a_config_is_yaml_that_is_read_again(node: Node) -> None:
    text = build_config(node, SETTINGS).reveal()
    assert text.splitlines()[0] == HEADER
    values = YAML(typ="safe", pure=True).load(text)
    assert values.pop("token") == TOKEN.reveal()
    assert read_config(text) == values
    assert read_token(text) == TOKEN
    assert values["node-label"] == [f"nvoi.io/server-name={node.group}"]


def test_what_is_the_masters_own_is_not_told_to_workers() -> None:
    master = read_config(build_config(MASTER, SETTINGS).reveal())
    worker = read_config(build_config(WORKER, SETTINGS).reveal())
    assert "server" not in master
    assert worker.keys() == {"node-name", "node-ip", "node-label", "server"}


@pytest.mark.parametrize("node", [MASTER, WORKER])
def test_pods_of_other_servers_are_reached_over_the_device_of_the_nodes_address(node: Node) -> None:
    config = read_config(build_config(replace(node, device="eth1"), SETTINGS).reveal())
    assert config["flannel-iface"] == "eth1"


def test_a_config_does_not_show_itself() -> None:
    assert TOKEN.reveal() not in f"{build_config(MASTER, SETTINGS)}{MASTER!r}"


def test_an_address_of_ipv6_is_bracketed() -> None:
    assert build_url("fd00::1") == "https://[fd00::1]:6443"


def test_registries_name_the_clusters_own_and_the_mirrors() -> None:
    settings = replace(SETTINGS, mirrors={"docker.io": ("https://m.example",)})
    mirrors = json.loads(build_registries(settings))["mirrors"]
    assert mirrors.keys() == {"docker.io", "10.43.0.100:5000"}


def test_the_stamp_changes_with_all_but_the_label() -> None:
    stamp = build_stamp(WORKER, SETTINGS)
    assert build_stamp(replace(WORKER, group="front"), SETTINGS) == stamp
    others = [
        build_stamp(replace(WORKER, version="v1.36.5+k3s1"), SETTINGS),
        build_stamp(replace(WORKER, ip="10.0.0.3"), SETTINGS),
        build_stamp(replace(WORKER, token=Secret("other")), SETTINGS),
        build_stamp(WORKER, replace(SETTINGS, registry_address="10.43.0.7:5000")),
    ]
    assert len({stamp, *others}) == 5


def test_what_is_no_yaml_has_no_settings() -> None:
    for text in ("", "- a\n- b\n", "a: [", "\t:", "just words"):
        assert read_config(text) == {}
        assert read_token(text) is None
    assert read_token("", "K10abc::server:def") == Secret("K10abc::server:def")


@pytest.mark.parametrize(
    "line", ["token: s3cret", 'token: "s3cret"', "'token' : 's3cret'", "agent-token: s3cret"]
)
def test_a_secret_is_found_in_its_line(line: str) -> None:
    assert find_secret(line) == Secret("s3cret")


def test_other_lines_have_none() -> None:
    assert find_secret("node-name: web-1") is None
    assert find_secret("# token") is None
    assert find_secret("token:") is None


class TestCommands:
    """The commands that set a server up."""

    FILES = (build_config(WORKER, SETTINGS), build_registries(SETTINGS))

    def build(self, work: Work) -> str:
        command = build_setup(
            WORKER, work, self.FILES, "stamp", install_url="https://get.k3s.io", seconds=60
        )
        return command.reveal()

    def test_have_no_secret_in_their_words(self) -> None:
        work = Work(writes=True, installs=True, starts=True)
        assert TOKEN.reveal() not in self.build(work)
        assert TOKEN.reveal().encode() in build_input(work, self.FILES)

    def test_say_what_is_to_be_done(self) -> None:
        text = self.build(Work(writes=True, installs=False, starts=True))
        sizes = " ".join(str(len(one.encode())) for one in self.FILES)
        end = f"agent v1.36.4+k3s1 https://get.k3s.io {sizes} stamp no yes 60 /opt/nvoi/registry"
        assert text.endswith(f" nvoi-k3s {end}")

    def test_send_no_files_where_none_differ(self) -> None:
        work = Work(writes=False, installs=False, starts=True)
        assert " 0 0 stamp no yes 60" in self.build(work)
        assert build_input(work, self.FILES) == b""

    def test_remove_only_what_belongs_to_k3s(self) -> None:
        words = build_removal().reveal()
        assert words.endswith(" /opt/nvoi/registry")
        assert "/opt/nvoi/volumes" not in words
