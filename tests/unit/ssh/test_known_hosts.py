from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.ssh.host import Host
from nvoi.ssh.known_hosts import HostKey, KnownHosts, is_named, read_key

KEY = generate_ssh_keys("host").public_key
OTHER = generate_ssh_keys("other").public_key


def find_keys(file: Path, host: Host) -> tuple[HostKey, ...]:
    return KnownHosts(file.with_name("store"), [file]).find(host)


def write(folder: Path, text: str) -> Path:
    file = folder / "known_hosts"
    file.write_text(text)
    return file


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
    assert is_named(label, patterns) is expected


@pytest.mark.parametrize(
    "host", [Host("w", "web-1.example.com"), Host("w", "10.0.0.1", 2222), Host("w", "::1")]
)
def test_names_hashed_by_ssh_keygen_are_found(host: Host, tmp_path: Path) -> None:
    file = write(tmp_path, f"{host.label} {KEY}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert host.label not in file.read_text()
    assert [key.data for key in find_keys(file, host)] == [get_key(KEY).data]
    assert find_keys(file, Host("w", "another")) == ()


def test_each_key_says_where_it_is_written(tmp_path: Path) -> None:
    lines = [
        f"# web-1 {KEY}",
        "",
        f"web-1 {KEY}",
        f"other {KEY}",
        "web-1\tssh-rsa nonsense",
        "web-1",
        f"web-1 {OTHER}",
    ]
    file = write(tmp_path, "\n".join(lines))
    found = find_keys(file, Host("w", "web-1"))
    assert [key.origin for key in found] == [f"{file}:3", f"{file}:7"]


def get_key(text: str) -> HostKey:
    key = read_key(text)
    assert key is not None
    return key


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 ???", "ssh-rsa KEY", "x AAAA"])
def test_what_is_no_key_is_none(text: str) -> None:
    assert read_key(text.replace("KEY", KEY.split()[1])) is None


def test_a_fingerprint_is_that_of_ssh_keygen(tmp_path: Path) -> None:
    file = tmp_path / "key.pub"
    file.write_text(KEY)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(file)], check=True, capture_output=True)
    assert get_key(KEY).fingerprint == shown.stdout.decode().split()[1]


def test_a_first_contact_is_kept_beside_lines_that_are_no_utf_8(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    store = tmp_path / "known_hosts"
    store.write_bytes(f"other {OTHER} M\xfcller".encode("latin-1"))
    KnownHosts(store).check(Host("w", "web-1"), get_key(KEY))
    kind, data = KEY.split()[:2]
    assert store.read_bytes().splitlines()[1:] == [f"web-1 {kind} {data}".encode()]
    assert b"M\xfcller" in store.read_bytes()
