from __future__ import annotations

import base64
import json
import time

import pytest

from nvoi.config.schema import K3s, Resources, SSHProvider
from tests.unit.config.texts import fault, faults, parse, ssh

#: Longer than any name of a host, in parts that are not.
LONG = ".".join(["a" * 50] * 5)
SERVERS = "servers: {main: {host: h}}\n"
RSA = base64.b64encode(b"\0\0\0\x07ssh-rsa" + bytes(300)).decode()


def cluster(text: str) -> str:
    return ssh(f"{SERVERS}{text}")


def web(text: str) -> str:
    return cluster(f"app: {{web: {{servers: [main], {text}}}}}")


HOST_KEY = "must be a public host key, such as ssh-ed25519 AAAA…"
IMAGE = "must be an image, such as ghcr.io/acme/web:3"
K3S_VERSION = "must be a release of k3s, such as v1.33.4+k3s1"
URL = "must be an http or https URL with a host, and no query, fragment, space or bare %"
NO_USER = "must have no user and no password in it"
READY_TIME = "must be a time from 0 to 2m, such as 10s"
TIME = "must be a time above 0, such as 10s, 500ms or 1m"
MEMORY = "must be an amount of memory from 6Mi, such as 512Mi or 2Gi"
CPU = "must be processor time above 0, such as 250m or 1.5"


def build(place: str, given: str) -> str:
    """A config with ``given`` in a service, in the group of servers, or in k3s' section."""
    if place == "servers.main":
        return ssh(f"servers: {{main: {{host: h, {given}}}}}")
    return cluster(f"k3s: {{{given}}}") if place == "k3s" else web(given)


@pytest.mark.parametrize(
    ("place", "key", "values", "message"),
    [
        (
            "servers.main",
            "host_keys",
            [
                ["ssh-ed25519"],
                ["ssh-ed25519 AAAA"],
                [f"ssh-ed25519 {RSA}"],
                [f"ssh-rsa {RSA[:-5]}!"],
                [f"h ssh-rsa {RSA}"],
                ["SHA256:uNiVztksCsDhcc0u9e8BrG5bIFVTMdPl7yzXPTgcFzs"],
                [""],
                ["é é"],
            ],
            HOST_KEY,
        ),
        (
            "app.web",
            "image",
            [
                *("Web", "ghcr.io/Acme/web", "web:", "web: 3", "/web", "web/", "a//b", "-web"),
                *("web-", "a___b", "a..b", "ghcr.io:port/web", "web@sha256:abc", "wéb"),
                *(f"web:{129 * 'a'}", f"web@md5:{64 * 'a'}", "https://ghcr.io/acme/web"),
            ],
            IMAGE,
        ),
        (
            "app.web",
            "domain",
            ["localhost", "-a.com", LONG],
            "must be a domain, such as example.com",
        ),
        ("app.web", "pre_run_timeout", ["0", "soon", "-1s", "1h"], TIME),
        ("app.web", "min_ready", ["soon", "-1s", "121s", "3m"], READY_TIME),
        ("k3s", "version", ["latest", "1.33.4+k3s1", "v1.33.4", "v1.33+k3s1"], K3S_VERSION),
        ("k3s", "install_url", ["get.k3s.io", "file:///i.sh", "https://h/i.sh?x=1"], URL),
        ("k3s", "install_url", ["https://u:p4ss@h/i.sh"], NO_USER),
        ("k3s", "registry_image", ["Registry"], IMAGE),
        (
            "k3s",
            "system_default_registry",
            ["https://m.example.com"],
            "must be a registry, such as mirror.example.com:5000",
        ),
    ],
)
def test_a_value_that_cannot_be_is_refused(
    place: str, key: str, values: list[str | list[str]], message: str
) -> None:
    for value in values:
        text = build(place, f"{key}: {json.dumps(value)}")
        index = ".0" if isinstance(value, list) else ""
        assert fault(text) == f"application.{place}.{key}{index}: {message}", value


@pytest.mark.parametrize(
    ("place", "key", "value", "read"),
    [
        ("servers.main", "host_keys", [f" ssh-rsa {RSA} root@h "], (f"ssh-rsa {RSA} root@h",)),
        ("servers.main", "host_keys", None, ()),
        *(
            ("app.web", "image", image, image)
            for image in (
                *("web", "web:3", "acme/web", "ghcr.io/acme/web:3", "a__b.c-d---e_f:LATEST"),
                *("localhost:5000/a/b/c:v1.2_3-4", f"ghcr.io/acme/web@sha256:{64 * 'a'}"),
                f"web:3@sha512:{128 * '0'}",
            )
        ),
        ("app.web", "pre_run_timeout", "90s", 90.0),
        ("app.web", "pre_run_timeout", "2m", 120.0),
        ("app.web", "pre_run_timeout", "500ms", 0.5),
        ("app.web", "pre_run_timeout", "0.25", 0.25),
        ("app.web", "pre_run_timeout", "1800", 1800.0),
        ("app.web", "pre_run_timeout", None, 600.0),
        ("app.web", "min_ready", "0", 0.0),
        ("app.web", "min_ready", "2m", 120.0),
        ("app.web", "min_ready", None, 10.0),
        ("k3s", "version", "v1.35.0-rc1+k3s1", "v1.35.0-rc1+k3s1"),
    ],
)
def test_a_value_is_read_as_what_it_means(
    place: str, key: str, value: object, read: object
) -> None:
    text = build(place, f"{key}: {json.dumps(value)}")
    application = parse(text).application
    holder = {
        "servers.main": application.servers["main"],
        "app.web": application.app.get("web"),
        "k3s": application.k3s,
    }[place]
    assert getattr(holder, key) == read


@pytest.mark.parametrize("name", ["ghcr", "https://ghcr.io", "ghcr.io/acme", "ghcr.io:port", "*"])
def test_a_registry_is_named_as_images_name_it(name: str) -> None:
    text = cluster(f"registries: {{{json.dumps(name)}: {{username: u, password: pa55word}}}}")
    (message,) = faults(text)
    assert "a registry without a path, such as ghcr.io" in message


@pytest.mark.parametrize(
    ("login", "missing"),
    [("username: u", "password"), ("password: p", "username"), ("", "username")],
)
def test_a_registry_s_login_is_whole(login: str, missing: str) -> None:
    found = faults(cluster(f"registries: {{ghcr.io: {{{login}}}}}"))
    assert f"application.registries.ghcr.io.{missing}: is required" in found
    (message,) = faults(cluster("registries: {ghcr.io: {username: 'a:b', password: p}}"))
    assert message.endswith("must be a user's name, without a colon or a space")


def test_a_registry_has_one_login_however_it_is_called() -> None:
    text = "registries: {docker.io: {username: u, password: p}, index.docker.io: "
    (message,) = faults(cluster(f"{text}{{username: u, password: p}}}}"))
    assert message.endswith("the registry is that of application.registries.docker.io already")


@pytest.mark.parametrize(
    ("word", "meant"),
    [("x86", "x86"), ("amd64", "x86"), ("aarch64", "arm64"), ("ARM64", "arm64"), ("", None)],
)
def test_the_architecture_of_own_servers_can_be_given(word: str, meant: str | None) -> None:
    text = ssh(SERVERS).replace("{ssh: {}}", f"{{ssh: {{architecture: {word}}}}}")
    assert parse(text).application.compute_provider == SSHProvider(meant)


def test_an_architecture_that_is_none_is_refused() -> None:
    text = ssh(SERVERS).replace("{ssh: {}}", "{ssh: {architecture: sparc}}")
    assert fault(text) == "application.compute_provider.ssh.architecture: must be x86 or arm64"


@pytest.mark.parametrize("part", ["a", "a-", "a/", "a.", "a_", "-", "a:1", "/", "a-a/", "a@"])
def test_a_long_image_that_is_none_is_refused_at_once(part: str) -> None:
    began = time.process_time()
    assert faults(web(f"image: '{part * 30_000}!'"))
    assert faults(cluster(f"k3s: {{system_default_registry: '{part * 30_000}!'}}"))
    assert time.process_time() - began < 5


# Resources

SECTIONS = {
    "app.web": "app: {web: {servers: [main], %s}}",
    "services.web": "services: {web: {servers: [main], image: i, %s}}",
    "database": "database: {servers: [main], url: 'postgres://u@h/d', adapter: postgres, %s}",
}


@pytest.mark.parametrize("path", SECTIONS)
def test_everything_that_runs_can_be_given_resources(path: str) -> None:
    given = "resources: {requests: {memory: 1Gi, cpu: 1.5}, limits: {memory: 2G, cpu: 2000m}}"
    application = parse(cluster(SECTIONS[path] % given)).application
    service = {
        "app.web": application.app.get("web"),
        "services.web": application.services.get("web"),
        "database": application.database,
    }[path]
    assert service is not None
    assert service.resources == Resources("1Gi", "1.5", "2G", "2000m")


@pytest.mark.parametrize("kind", ["requests", "limits"])
@pytest.mark.parametrize(
    ("what", "values", "message"),
    [
        ("memory", "0 512 5Mi 512MB 1.5Gi -1Gi 1e9 1_Gi lots", MEMORY),
        ("cpu", "0 0m 0.0 1.2345 1.5m -1 2_cores .5", CPU),
    ],
)
def test_amounts_that_are_none_are_refused(kind: str, what: str, values: str, message: str) -> None:
    for value in values.split():
        given = f"resources: {{{kind}: {{{what}: '{value.replace('_', ' ')}'}}}}"
        assert fault(web(given)) == f"application.app.web.resources.{kind}.{what}: {message}", value


@pytest.mark.parametrize("value", ["6291456", "6144Ki", "6Mi", "7M", "1Ti", "2T", "10000k"])
def test_every_unit_of_memory_is_taken(value: str) -> None:
    service = parse(web(f"resources: {{limits: {{memory: '{value}'}}}}")).application.app["web"]
    assert service.resources.memory_limit == value


def test_unknown_keys_of_resources_are_told_with_the_nearest_ones() -> None:
    assert faults(web("resources: {requests: {memroy: 1Gi}, limit: {cpu: 1}}")) == [
        "application.app.web.resources.requests.memroy: unknown key; did you mean memory?",
        "application.app.web.resources.limit: unknown key; did you mean limits?",
    ]


# k3s


def test_all_of_k3s_can_be_set() -> None:
    text = cluster("""k3s:
  version: v1.35.2+k3s1
  install_url: https://mirror.example.com/k3s/install.sh
  system_default_registry: mirror.example.com:5000/k3s
  registry_image: mirror.example.com/library/registry:2.8.3
  mirrors:
    docker.io: [https://mirror.example.com, http://10.0.0.2:5000]
    registry.example.com:5000: [https://mirror.example.com/v2]
    '*': [https://mirror.example.com]
""")
    assert parse(text).application.k3s == K3s(
        version="v1.35.2+k3s1",
        install_url="https://mirror.example.com/k3s/install.sh",
        system_default_registry="mirror.example.com:5000/k3s",
        registry_image="mirror.example.com/library/registry:2.8.3",
        mirrors={
            "docker.io": ("https://mirror.example.com", "http://10.0.0.2:5000"),
            "registry.example.com:5000": ("https://mirror.example.com/v2",),
            "*": ("https://mirror.example.com",),
        },
    )


@pytest.mark.parametrize(
    ("mirrors", "path", "message"),
    [
        ("docker.io: [https://h, h]", "docker.io.1", URL),
        ("docker.io: https://h", "docker.io", "must be a list, such as [one, two]"),
        (
            "'https://docker.io': [https://h]",
            "?",
            "a name must be a registry, such as docker.io, or `*` for all",
        ),
        ("docker.io: ['https://u:p4ss@h']", "docker.io.0", NO_USER),
    ],
)
def test_a_mirror_must_be_a_list_of_urls_of_a_registry(
    mirrors: str, path: str, message: str
) -> None:
    text = cluster(f"k3s: {{mirrors: {{{mirrors}}}}}")
    assert fault(text) == f"application.k3s.mirrors.{path}: {message}"


# What is safe unless the config says otherwise


def test_what_services_may_do_and_who_reaches_them_can_be_set() -> None:
    security = "security: {capabilities: [NET_RAW], privilege_escalation: yes}"
    app = f"app: {{web: {{servers: [main], {security}}}}}"
    application = parse(cluster(f"{app}\nlet_in: [blog, namespace/edge, '*']")).application
    service = application.app["web"]
    assert service.security.capabilities == ("NET_RAW",)
    assert service.security.privilege_escalation is True
    assert application.let_in == ("blog", "namespace/edge", "*")
    assert parse(web("port: 1")).application.let_in == ()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            web("security: {capabilities: [CAP_KILL]}"),
            "app.web.security.capabilities.0: must be a capability without CAP_, such as NET_RAW",
        ),
        (
            cluster("let_in: [Blog]"),
            "let_in.0: must be an app's name, namespace/NAME, or `*` for all",
        ),
        (
            web("port: 1, healthcheck: {restart_after: 0}"),
            "app.web.healthcheck.restart_after: must be a",
        ),
        (
            cluster("k3s: {container_log_files: 1}"),
            "k3s.container_log_files: must be a whole number from 2",
        ),
    ],
)
def test_what_cannot_be_so_is_refused(text: str, wanted: str) -> None:
    assert fault(text).startswith(f"application.{wanted}")
