"""Host certificates that ssh-keygen(1) has signed, and the authorities of known_hosts."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from nvoi.errors import HostKeyError
from nvoi.ssh.host import Host, Route
from nvoi.ssh.known_hosts import HostKey, KnownHosts, read_key

WEB = Host("web-1", "web.example.com", 2222)


class Authority:
    """Signs the keys of hosts."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.file = folder / f"ca-{kind}"
        size = ["-b", "2048"] if kind == "rsa" else []
        run("-q", "-t", kind, *size, "-N", "", "-f", str(self.file))

    @property
    def public_key(self) -> str:
        return self.file.with_name(f"{self.file.name}.pub").read_text().strip()

    def sign(self, key: Path, *options: str) -> HostKey:
        """The key as a host shows it with a certificate."""
        public = key.with_name(f"{key.name}.pub")
        run("-q", "-s", str(self.file), "-I", "web", *options, str(public))
        shown = read_key(public.read_text())
        certificate = read_key(key.with_name(f"{key.name}-cert.pub").read_text())
        assert shown is not None
        assert certificate is not None
        return replace(shown, certificate=certificate.data)


def run(*words: str) -> None:
    subprocess.run(["ssh-keygen", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Authority]:
    """One of each kind of key."""
    folder = tmp_path_factory.mktemp("authorities")
    return {kind: Authority(folder, kind) for kind in ("ed25519", "ecdsa", "rsa")}


@pytest.fixture
def authority(authorities: dict[str, Authority]) -> Authority:
    return authorities["ed25519"]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The private key of a host."""
    path = tmp_path_factory.mktemp("keys") / "host"
    run("-q", "-t", "ed25519", "-N", "", "-f", str(path))
    return path


def check(folder: Path, shown: HostKey, *lines: str, host: Host = WEB) -> None:
    """Raises where a host may not show the key; nothing is ever stored."""
    file, store = folder / "known_hosts", folder / "state" / "known_hosts"
    file.write_text("".join(f"{line}\n" for line in lines))
    try:
        KnownHosts(store, [file]).check(host, shown)
    finally:
        assert not store.exists()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_certificate_of_the_authority_lets_a_key_stand_for_a_host(
    kind: str, authorities: dict[str, Authority], key: Path, tmp_path: Path
) -> None:
    line = f"@cert-authority *.example.com {authorities[kind].public_key}"
    for options in (
        [],
        ["-n", "db.example.com,WEB.example.com"],
        ["-n", "*.example.com"],
        ["-V", "-1d:+1d"],
        ["-V", "always:forever"],
        ["-O", "extension:colour=blue"],
    ):
        check(tmp_path, authorities[kind].sign(key, "-h", *options), line)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-h", "-n", "web"], "is for web and not for web.example.com"),
        (["-h", "-n", "example.com,w?b"], "is for example.com, w?b and not for web.example.com"),
        (["-h", "-V", "20200101:20200102"], "was valid until 2020-01-0"),
        (["-h", "-V", "20600101:20600102"], "is valid from 20"),
        (["-h", "-O", "critical:colour=blue"], "has an option that nvoi does not know: colour"),
        (["-n", "web.example.com"], "is one of a user"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_told(
    options: list[str], message: str, authority: Authority, key: Path, tmp_path: Path
) -> None:
    line = f"@cert-authority *.example.com {authority.public_key}"
    with pytest.raises(HostKeyError) as caught:
        check(tmp_path, authority.sign(key, *options), line)
    assert message in str(caught.value)
    assert f"{tmp_path / 'known_hosts'}:1" in str(caught.value)
    assert "host_keys in the config" in caught.value.hint


def test_another_authority_says_nothing(
    key: Path, authorities: dict[str, Authority], tmp_path: Path
) -> None:
    authority, other = authorities["ed25519"], authorities["ecdsa"]
    with pytest.raises(HostKeyError, match="signed by another authority"):
        check(tmp_path, other.sign(key, "-h"), f"@cert-authority * {authority.public_key}")
    # One of several does.
    lines = [f"@cert-authority * {one.public_key}" for one in (authority, other)]
    check(tmp_path, other.sign(key, "-h"), *lines)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_certificate_that_was_changed_is_refused(
    kind: str, authorities: dict[str, Authority], key: Path, tmp_path: Path
) -> None:
    authority = authorities[kind]
    shown = authority.sign(key, "-h", "-n", "db.example.com")
    blob = shown.certificate.replace(b"db.example.com", b"web.example.cm")
    assert blob != shown.certificate
    line = f"@cert-authority * {authority.public_key}"
    for changed in (blob, shown.certificate[:-1], b"\0", shown.certificate + b"\0", shown.data):
        with pytest.raises(HostKeyError, match=r"signature of its host certificate|cannot be read"):
            check(tmp_path, replace(shown, certificate=changed), line)


def test_a_signature_with_sha_1_is_refused(
    key: Path, authorities: dict[str, Authority], tmp_path: Path
) -> None:
    authority = authorities["rsa"]
    line = f"@cert-authority * {authority.public_key}"
    with pytest.raises(HostKeyError, match="signature of its host certificate is wrong"):
        check(tmp_path, authority.sign(key, "-h", "-t", "ssh-rsa"), line)


def test_a_revoked_authority_or_key_is_refused(
    authority: Authority, key: Path, tmp_path: Path
) -> None:
    shown = authority.sign(key, "-h")
    own = key.with_name("host.pub").read_text().strip()
    trusted = f"@cert-authority * {authority.public_key}"
    with pytest.raises(HostKeyError, match=r"the authority of its host key, SHA256:.* revoked"):
        check(tmp_path, shown, trusted, f"@revoked * {authority.public_key}")
    with pytest.raises(HostKeyError, match=r"its host key SHA256:.* revoked"):
        check(tmp_path, shown, trusted, f"@revoked web.example.com {own}")
    # Also where the config knows the key.
    host = replace(WEB, host_keys=(own,))
    check(tmp_path, shown, host=host)
    with pytest.raises(HostKeyError, match=r"its host key SHA256:.* revoked"):
        check(tmp_path, shown, f"@revoked web.example.com {own}", host=host)


def test_a_known_key_does_without_a_certificate(
    authority: Authority, key: Path, tmp_path: Path
) -> None:
    line = f"@cert-authority * {authority.public_key}"
    own = key.with_name("host.pub").read_text().strip()
    shown = authority.sign(key, "-h", "-n", "another")
    check(tmp_path, shown, line, f"{WEB.label} {own}")
    with pytest.raises(HostKeyError, match="has changed"):
        check(tmp_path, shown, line, f"{WEB.label} {authority.public_key}")
    # So does one that was met before the authority was named.
    file, store = tmp_path / "known_hosts", tmp_path / "store"
    store.write_text(f"{WEB.label} {own}\n")
    file.write_text(f"{line}\n")
    KnownHosts(store, [file]).check(WEB, replace(shown, certificate=b""))


def test_an_authority_is_for_the_hosts_of_its_line(
    authority: Authority, key: Path, tmp_path: Path
) -> None:
    shown = authority.sign(key, "-h", "-n", "web.example.com,web-alias")
    file = tmp_path / "known_hosts"
    file.write_text(f"web.example.com {authority.public_key}\n")
    run("-q", "-H", "-f", str(file))
    hashed = file.read_text().strip()
    assert "web.example.com" not in hashed
    check(tmp_path, shown, f"@cert-authority {hashed}")
    aliased = replace(WEB, route=Route(alias="web-alias"))
    check(tmp_path, shown, f"@cert-authority web-alias {authority.public_key}", host=aliased)
    other = f"@cert-authority *.example.com,!web.example.com {authority.public_key}"
    (tmp_path / "known_hosts").write_text(other)
    store = tmp_path / "store"
    KnownHosts(store, [file]).check(WEB, shown)
    # It is a first contact as any other.
    assert base64.b64encode(shown.data).decode() in store.read_text()
