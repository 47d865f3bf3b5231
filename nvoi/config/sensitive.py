"""What must not be shown of a config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from nvoi.config.schema import Application, Config
from nvoi.config.urls import find_passwords, find_userinfo
from nvoi.secret import Secret


def collect_secrets(config: Config) -> Iterator[str]:
    """Every secret value, each once: for whoever masks them.

    Tokens and keys of the providers, ``secrets``, ``database.secrets``, the private SSH key as
    a whole, ``database.url`` as a whole where it holds a password, and the passwords inside all
    URLs, in front of the host or in a parameter, as written and percent-decoded.
    """
    found = [*find_declared(config.application), *find_embedded(config)]
    yield from dict.fromkeys(value for value in found if value)


def find_declared(application: Application) -> Iterator[str]:
    """The values whose keys say that they are secret."""
    holders = (application.compute_provider, application.cloudflare, application.ssh_keys)
    for holder in holders:
        values = [getattr(holder, field.name) for field in fields(holder)] if holder else []
        yield from (value.reveal() for value in values if isinstance(value, Secret))
    yield from (value.reveal() for value in application.secrets.values())
    if application.database:
        yield from (value.reveal() for value in application.database.secrets.values())


def find_embedded(config: Config) -> Iterator[str]:
    """The passwords inside URLs, wherever a config may hold one."""
    application = config.application
    yield from find_userinfo(config.callback_url or "")
    if application.database and application.database.url:
        url = application.database.url.reveal()
        passwords = list(find_passwords(url))
        yield from ([url, *passwords] if passwords else [])
    texts = list(application.env.values())
    for app in application.app.values():
        texts += [*app.env.values(), app.command or "", app.pre_run_command or ""]
        texts += [app.healthcheck.command or ""] if app.healthcheck else []
    for auxiliary in application.services.values():
        texts += [*auxiliary.env.values(), auxiliary.command or ""]
    for text in [*texts, *(value.reveal() for value in application.secrets.values())]:
        yield from find_passwords(text)
