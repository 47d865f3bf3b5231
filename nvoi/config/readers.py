"""Reads what stands under ``application``, a function for each kind of section."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nvoi.config import fields
from nvoi.config.fields import parse_port, parse_positive, parse_secret, parse_text
from nvoi.config.nodes import join_path
from nvoi.config.providers import BLANK, read_compute_provider, read_domain_provider
from nvoi.config.schema import (
    Application,
    AppService,
    AuxiliaryService,
    Database,
    Healthcheck,
    K3s,
    Resources,
    ServerGroup,
    SSHKeys,
    Volume,
)
from nvoi.config.section import Section
from nvoi.config.ssh_keys import KeyPairError, check_ssh_keys
from nvoi.secret import Secret

SERVICE_RULE = "lower-case letters, digits, `-` and `_`, at most 63, with no `-` or `_` at an end"
GROUP_RULE = "letters, digits, `-` and `_`, at most 63, with no `-` or `_` at an end"


def read_application(section: Section) -> Application:
    """All of ``application``."""
    app = section.children("app", fields.SERVICE_NAME, SERVICE_RULE)
    services = section.children("services", fields.SERVICE_NAME, SERVICE_RULE)
    groups = section.children("servers", fields.GROUP_NAME, GROUP_RULE)
    return Application(
        name=section.required("name", fields.parse_application_name, ""),
        compute_provider=read_compute_provider(section),
        environment=section.default("environment", parse_text, "production"),
        keep_count=section.default(
            "keep_count", fields.parse_keep_count, fields.DEFAULT_KEEP_COUNT
        ),
        env=MappingProxyType(section.texts("env")),
        secrets=read_secrets(section, "secrets"),
        ssh_keys=read_ssh_keys(section.section("ssh_keys")),
        cloudflare=read_domain_provider(section),
        servers=MappingProxyType({name: read_group(child) for name, child in groups.items()}),
        app=MappingProxyType({name: read_app_service(child) for name, child in app.items()}),
        database=read_database(section.section("database")),
        services=MappingProxyType(
            {name: read_auxiliary_service(child) for name, child in services.items()}
        ),
        k3s=read_k3s(section.section("k3s")),
    )


def read_secrets(section: Section, key: str) -> Mapping[str, Secret]:
    """Names and values that must not be shown."""
    texts = section.texts(key, secret=True)
    return MappingProxyType({name: Secret(value) for name, value in texts.items()})


def read_ssh_keys(section: Section) -> SSHKeys | None:
    """``ssh_keys``, checked to be a pair."""
    if not section.given:
        return None
    private = section.required("private_key", parse_secret, BLANK)
    public = section.required("public_key", parse_text, "")
    keys = SSHKeys(Secret(private.reveal().strip() + "\n"), public.strip())
    if private and public:
        try:
            check_ssh_keys(keys)
        except KeyPairError as error:
            section.reading.report(f"{section.path}.{error.key}", str(error))
    return keys


def read_group(section: Section) -> ServerGroup:
    """``servers.G``; hosts that are named count themselves."""
    volumes = section.children("volumes", fields.GROUP_NAME, GROUP_RULE)
    host = section.optional("host", fields.parse_host)
    hosts = section.sequence("hosts", fields.parse_host)
    if host and hosts:
        section.reading.report(f"{section.path}.hosts", "either `host` or `hosts`, not both")
    every_host = hosts or ((host,) if host else ())
    return ServerGroup(
        name=section.name,
        master=section.default("master", fields.parse_boolean, default=False),
        type=section.optional("type", parse_text),
        location=section.optional("location", parse_text),
        count=section.default("count", parse_positive, len(every_host) or 1),
        volumes=MappingProxyType({name: read_volume(child) for name, child in volumes.items()}),
        hosts=every_host,
        user=section.optional("user", fields.parse_user),
        port=section.optional("port", parse_port),
        private_ip=section.optional("private_ip", fields.parse_address),
        host_keys=section.sequence("host_keys", fields.parse_host_key),
    )


def read_volume(section: Section) -> Volume:
    """``servers.G.volumes.V``."""
    return Volume(section.name, section.default("size", parse_positive, 10))


def read_app_service(section: Section) -> AppService:
    """``app.N``."""
    return AppService(
        name=section.name,
        servers=section.sequence("servers", parse_text),
        command=section.optional("command", parse_text, raw=True),
        port=section.optional("port", parse_port),
        domain=section.optional("domain", fields.parse_domain),
        subdomain=section.optional("subdomain", fields.parse_subdomain),
        healthcheck=read_healthcheck(section.section("healthcheck")),
        pre_run_command=section.optional("pre_run_command", parse_text, raw=True),
        env=MappingProxyType(section.texts("env")),
        mounts=MappingProxyType(section.mounts("mounts")),
        replicas=section.optional("replicas", parse_positive),
        image=section.optional("image", fields.parse_image),
        pre_run_timeout=section.default("pre_run_timeout", fields.parse_duration, 600.0),
        resources=read_resources(section.section("resources")),
    )


def read_healthcheck(section: Section) -> Healthcheck | None:
    """``app.N.healthcheck``."""
    healthcheck = Healthcheck(
        type=section.default("type", fields.build_choice("http", "tcp", "exec"), "http"),
        path=section.default("path", fields.parse_http_path, "/health"),
        port=section.optional("port", parse_port),
        command=section.optional("command", parse_text, raw=True),
        interval=section.default("interval", fields.parse_duration, 10.0),
        timeout=section.default("timeout", fields.parse_duration, 5.0),
        retries=section.default("retries", parse_positive, 3),
    )
    return healthcheck if section.given else None


def read_database(section: Section) -> Database | None:
    """``database``."""
    database = Database(
        servers=section.sequence("servers", parse_text),
        adapter=section.optional("adapter", fields.parse_adapter),
        url=section.optional("url", parse_secret),
        image=section.optional("image", parse_text),
        mount=MappingProxyType(section.mounts("mount")),
        secrets=read_secrets(section, "secrets"),
        resources=read_resources(section.section("resources")),
    )
    return database if section.given else None


def read_auxiliary_service(section: Section) -> AuxiliaryService:
    """``services.N``."""
    return AuxiliaryService(
        name=section.name,
        image=section.required("image", parse_text, ""),
        servers=section.sequence("servers", parse_text),
        port=section.optional("port", parse_port),
        command=section.optional("command", parse_text, raw=True),
        env=MappingProxyType(section.texts("env")),
        mount=MappingProxyType(section.mounts("mount")),
        resources=read_resources(section.section("resources")),
    )


def read_resources(section: Section) -> Resources:
    """``resources``: ``requests`` and ``limits``, each of ``memory`` and ``cpu``."""
    requests, limits = section.section("requests"), section.section("limits")
    return Resources(
        requested_memory=requests.optional("memory", fields.parse_memory),
        requested_cpu=requests.optional("cpu", fields.parse_cpu),
        memory_limit=limits.optional("memory", fields.parse_memory),
        cpu_limit=limits.optional("cpu", fields.parse_cpu),
    )


def read_k3s(section: Section) -> K3s:
    """``k3s``."""
    return K3s(
        version=section.optional("version", fields.parse_k3s_version),
        install_url=section.default("install_url", fields.parse_url, K3s.install_url),
        system_default_registry=section.optional("system_default_registry", fields.parse_registry),
        registry_image=section.optional("registry_image", fields.parse_image),
        mirrors=read_mirrors(section.section("mirrors")),
    )


def read_mirrors(section: Section) -> Mapping[str, tuple[str, ...]]:
    """``k3s.mirrors``: endpoints, by the registry whose place they take."""
    for name, entry in section.entries.items():
        if not fields.MIRRORED.fullmatch(name):
            path = join_path(section.path, name)
            message = "a name must be a registry, such as docker.io, or `*` for all"
            section.reading.report(path, message, entry.key.place)
    return MappingProxyType(
        {name: section.sequence(name, fields.parse_url) for name in section.entries}
    )
