"""Reads ``compute_provider`` and ``domain_provider``."""

from __future__ import annotations

from collections.abc import Callable

from nvoi.config.fields import parse_architecture, parse_secret, parse_text
from nvoi.config.schema import (
    AWSProvider,
    Cloudflare,
    ComputeProvider,
    HetznerProvider,
    LocalProvider,
    ScalewayProvider,
    SSHProvider,
)
from nvoi.config.section import Section
from nvoi.secret import Secret

BLANK = Secret()


def read_hetzner(section: Section) -> HetznerProvider:
    """``compute_provider.hetzner``."""
    return HetznerProvider(
        api_token=section.required("api_token", parse_secret, BLANK),
        server_type=section.required("server_type", parse_text, ""),
        server_location=section.required("server_location", parse_text, ""),
        architecture=section.required("architecture", parse_architecture, ""),
    )


def read_aws(section: Section) -> AWSProvider:
    """``compute_provider.aws``."""
    return AWSProvider(
        access_key_id=section.required("access_key_id", parse_secret, BLANK),
        secret_access_key=section.required("secret_access_key", parse_secret, BLANK),
        region=section.required("region", parse_text, ""),
        instance_type=section.required("instance_type", parse_text, ""),
        architecture=section.required("architecture", parse_architecture, ""),
    )


def read_scaleway(section: Section) -> ScalewayProvider:
    """``compute_provider.scaleway``."""
    return ScalewayProvider(
        secret_key=section.required("secret_key", parse_secret, BLANK),
        project_id=section.required("project_id", parse_text, ""),
        server_type=section.required("server_type", parse_text, ""),
        architecture=section.required("architecture", parse_architecture, ""),
        zone=section.default("zone", parse_text, "fr-par-1"),
    )


READERS: dict[str, Callable[[Section], ComputeProvider]] = {
    "local": lambda _: LocalProvider(),
    "ssh": lambda section: SSHProvider(section.optional("architecture", parse_architecture)),
    "hetzner": read_hetzner,
    "aws": read_aws,
    "scaleway": read_scaleway,
}
# Their presence says it all: they may stand there without a value.
KEYLESS = frozenset({"local", "ssh"})


def read_compute_provider(application: Section) -> ComputeProvider:
    """The one provider that is given; with a fault, where it is not one, the most lenient."""
    parent = application.section("compute_provider")
    sections = {name: parent.section(name) for name in READERS}
    chosen = [
        name
        for name, section in sections.items()
        if section.given or section.broken or (name in KEYLESS and name in parent.entries)
    ]
    if len(chosen) == 1:
        return READERS[chosen[0]](sections[chosen[0]])
    for name in chosen:
        READERS[name](sections[name])
    if not parent.broken and not application.broken:
        message = f"exactly one of {', '.join(READERS)} is needed"
        application.reading.report(parent.path, message)
    return LocalProvider()


def read_domain_provider(application: Section) -> Cloudflare | None:
    """``domain_provider.cloudflare``, if it is given."""
    section = application.section("domain_provider").section("cloudflare")
    api_token = section.required("api_token", parse_secret, BLANK) if section.given else BLANK
    account_id = section.required("account_id", parse_text, "") if section.given else ""
    return Cloudflare(api_token, account_id) if section.given else None
