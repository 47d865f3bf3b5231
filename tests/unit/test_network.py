from __future__ import annotations

import base64
from pathlib import Path

import pytest
import trustme

from nvoi import network

PROXY = "http://proxy.test:3128"


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"HTTP_PROXY": PROXY}, PROXY),
        ({"HTTP_PROXY": "proxy.test:3128"}, PROXY),
        ({"HTTPS_PROXY": PROXY}, None),
        ({"ALL_PROXY": PROXY}, PROXY),
        ({"http_proxy": PROXY, "HTTP_PROXY": "http://other.test"}, PROXY),
        ({"http_proxy": "", "HTTP_PROXY": PROXY}, None),
        ({"http_proxy": "", "HTTP_PROXY": PROXY, "ALL_PROXY": ""}, None),
        ({"REQUEST_METHOD": "GET", "HTTP_PROXY": PROXY}, None),
        ({"REQUEST_METHOD": "GET", "http_proxy": PROXY}, PROXY),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "dashboard.test"}, None),
        ({"HTTP_PROXY": PROXY, "no_proxy": "", "NO_PROXY": "dashboard.test"}, PROXY),
    ],
)
def test_a_proxy_is_named_by_the_environment_and_lower_case_wins(
    environ: dict[str, str], proxy: str | None
) -> None:
    assert network.find_proxy("http://dashboard.test/api", environ) == proxy


@pytest.mark.parametrize(
    ("exceptions", "url", "is_direct"),
    [
        ("*", "http://a.test", True),
        ("b.test, *", "http://a.test", True),
        ("A.test", "http://a.TEST", True),
        (" b.test ,\ta.test ", "http://a.test", True),
        ("b.test a.test", "http://a.test", True),
        ("a.test.", "http://a.test", True),
        ("a.test", "http://a.test.", True),
        ("a.test", "http://x.a.test", True),
        (".a.test", "http://x.a.test", True),
        (".a.test", "http://a.test", True),
        ("*.a.test", "http://x.a.test", True),
        ("a.test", "http://xa.test", False),
        (".", "http://a.test", False),
        ("", "http://a.test", False),
        ("a.test:8080", "http://a.test:8080", True),
        ("a.test:8080", "http://a.test", False),
        ("a.test:80", "http://a.test", True),
        ("a.test:443", "https://a.test", True),
        ("10.0.0.0/8", "http://10.255.1.2", True),
        ("10.1.2.3/8", "http://10.255.1.2:8080/x", True),
        ("10.0.0.0/8", "http://11.0.0.1", False),
        ("10.0.0.0/8", "http://10.test", False),
        ("10.0.0.0/33", "http://10.0.0.1", False),
        ("10.0.0.1", "http://10.0.0.1", True),
        ("10.0.0.1:81", "http://10.0.0.1:81", True),
        ("10.0.0.1:81", "http://10.0.0.1:82", False),
        ("fd00::/8", "http://[fd12::1]", True),
        ("fd00::/8", "http://[fe80::1]", False),
        ("fd00::/8", "http://10.0.0.1", False),
        ("2001:DB8:0::1", "http://[2001:db8::1]:80", True),
        ("[2001:db8::1]", "http://[2001:db8::1]", True),
        ("[2001:db8::]/32", "http://[2001:db8::1]", True),
        ("[2001:db8::1]:81", "http://[2001:db8::1]:81", True),
        ("[2001:db8::1]:81", "http://[2001:db8::1]:82", False),
    ],
)
def test_no_proxy_names_hosts_domains_ports_and_networks(
    exceptions: str, url: str, is_direct: bool
) -> None:
    environ = {"ALL_PROXY": PROXY, "NO_PROXY": exceptions}
    assert network.find_proxy(url, environ) == (None if is_direct else PROXY)


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.9.8.7", "[::1]", "LocalHost."])
def test_no_proxy_stands_before_this_machine(host: str) -> None:
    assert network.find_proxy(f"http://{host}/", {"ALL_PROXY": PROXY}) is None


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("https://me:pass@a.test/", b"me:pass"),
        ("https://token@a.test/x@y", b"token:"),
        ("https://token:@a.test", b"token:"),
        ("https://:pass@a.test", b":pass"),
        ("https://me:p%40ss%3A%2F@a.test", b"me:p@ss:/"),
        ("https://me:a:b@a.test", b"me:a:b"),
        ("https://caf%C3%A9:%ff@a.test", "café:".encode() + b"\xff"),
        *((url, b"") for url in ("https://a.test/", "https://a.test/x@y", "https://@a.test/")),
    ],
)
def test_a_user_is_sent_with_a_colon_and_a_password_if_only_an_empty_one(
    url: str, credentials: bytes
) -> None:
    kind, _, value = (network.find_auth(url) or "").partition(" ")
    assert (kind, base64.b64decode(value)) == ("Basic" if credentials else "", credentials)


def test_the_authorities_are_read_once(tmp_path: Path) -> None:
    environ = {"SSL_CERT_DIR": str(tmp_path)}
    assert network.build_tls(environ) is network.build_tls(environ)
    assert network.build_tls(environ) is not network.build_tls({})
    environ["SSL_CERT_FILE"] = str(tmp_path / "gone")
    for _ in range(2):
        with pytest.raises(network.NetworkError, match="gone that the environment names cannot"):
            network.build_tls(environ)


def test_authorities_that_have_changed_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (trustme.CA(organization_name=name).cert_pem.bytes() for name in ("one", "two"))

    def find(environ: network.Environ) -> set[str]:
        found = str(network.build_tls(environ).get_ca_certs())
        return {name for name in ("one", "two") if f"'organizationName', '{name}'" in found}

    file = tmp_path / "authorities.pem"
    environ = {"SSL_CERT_FILE": str(file)}
    for content, names in ((one, {"one"}), (two, {"two"}), (one + two, {"one", "two"})):
        file.write_bytes(content)
        assert find(environ) == names
    # OpenSSL asks the environment of the process, too.
    assert find({}) == set()
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert find({}) == {"one", "two"}
    file.write_bytes(two)
    assert find({}) == {"two"}
