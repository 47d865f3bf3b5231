from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.ssh.host import Host
from nvoi.ssh.known_hosts import HostKey, find_keys, is_match, read_key

KEY = generate_ssh_keys("host").public_key
OTHER = generate_ssh_keys("other").public_key


def get_key(text: str = KEY) -> HostKey:
    key = read_key(text)
    assert key is not None
    return key


@pytest.mark.parametrize(
    ("patterns", "label", "expected"),
    [
        ("web-1", "web-1", True),
        ("WEB-1", "web-1", True),
        ("web-1", "web-12", False),
        ("a,web-1,b", "web-1", True),
        ("web-?", "web-1", True),
        ("*.example.com", "a.example.com", True),
        ("*.example.com,!a.example.com", "a.example.com", False),
        ("!a.example.com", "a.example.com", False),
        ("[web-1]:2222", "[web-1]:2222", True),
        ("[web-1]:2222", "web-1", False),
        ("web-1", "[web-1]:2222", False),
        ("[*]:2222", "[10.0.0.1]:2222", True),
        ("|1|bad|worse", "web-1", False),
        ("|1|nothing", "web-1", False),
    ],
)
def test_a_line_names_hosts_by_patterns(patterns: str, label: str, expected: bool) -> None:
    assert is_match(patterns, label) is expected


@pytest.mark.parametrize("label", ["web-1.example.com", "[10.0.0.1]:2222", "::1"])
def test_names_hashed_by_ssh_keygen_are_found(label: str, tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"{label} {KEY}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert label not in file.read_text()
    found = list(find_keys(file.read_text(), label, "file"))
    assert [key.data for key in found] == [get_key().data]
    assert not list(find_keys(file.read_text(), "another", "file"))


def test_each_key_says_where_it_is_written() -> None:
    text = f"# web-1 {KEY}\n\nweb-1 {KEY}\nother {KEY}\nweb-1\tssh-rsa nonsense\nweb-1 {OTHER}\n"
    assert [key.origin for key in find_keys(text, "web-1", "F")] == ["F:3", "F:6"]


def test_marked_lines_are_told_apart() -> None:
    text = f"@cert-authority * {KEY}\n@revoked web-1 {OTHER}\n"
    found = list(find_keys(text, "web-1", "F"))
    assert [(key.data, key.is_revoked) for key in found] == [(get_key(OTHER).data, True)]


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 ???", "ssh-rsa KEY", "x AAAA"])
def test_what_is_no_key_is_none(text: str) -> None:
    assert read_key(text.replace("KEY", KEY.split()[1])) is None


def test_a_fingerprint_is_that_of_ssh_keygen(tmp_path: Path) -> None:
    file = tmp_path / "key.pub"
    file.write_text(KEY)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(file)], check=True, capture_output=True)
    assert get_key().fingerprint == shown.stdout.decode().split()[1]


def test_a_host_is_labelled_as_known_hosts_files_do() -> None:
    assert Host("w", "10.0.0.1").label == "10.0.0.1"
    assert Host("w", "::1", 2222).label == "[::1]:2222"


def test_a_host_is_named_with_its_place() -> None:
    assert str(Host("web-1", "10.0.0.1")) == "web-1 (10.0.0.1)"
    assert str(Host("web-1", "10.0.0.1", 2222)) == "web-1 (10.0.0.1 port 2222)"
    assert str(Host("10.0.0.1", "10.0.0.1")) == "10.0.0.1"
