"""Answers as the keys and values of a config. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from nvoi.config.schema import (
    AppService,
    ComputeProvider,
    Database,
    LocalProvider,
    ServerGroup,
    SSHProvider,
    Volume,
)
from nvoi.onboarding.answers import Answers, find_home
from nvoi.secret import Secret

Tree = dict[str, Any]


def build_tree(answers: Answers) -> Tree:
    """What the config says of all that was asked, in the order in which it is written."""
    home = find_home(answers)
    application: Tree = {
        "name": answers.name,
        "compute_provider": build_provider(answers.provider),
        "domain_provider": {"cloudflare": build_record(answers.cloudflare)}
        if answers.cloudflare
        else None,
        "ssh_keys": build_record(answers.ssh_keys) if answers.ssh_keys else None,
        "servers": {group.name: build_group(group, home, answers) for group in answers.groups},
        "app": {app.name: build_app(app, home, answers) for app in answers.apps},
        "database": build_database(answers.database, home, answers) if answers.database else None,
        "env": dict(answers.env),
        "secrets": reveal(answers.secrets),
    }
    return drop_blanks({"callback_url": answers.callback_url, "application": application})


def drop_blanks(tree: Tree) -> Tree:
    """``tree`` without what is absent: None, and empty sections at its two upper levels."""
    kept = {key: value for key, value in tree["application"].items() if value not in (None, {})}
    above = {"callback_url": tree["callback_url"]} if tree["callback_url"] else {}
    return {**above, "application": kept}


def build_provider(provider: ComputeProvider) -> Tree:
    """``compute_provider``."""
    name = type(provider).__name__.removesuffix("Provider").lower()
    return {name: build_record(provider)}


def build_record(record: Any) -> Tree:
    """The fields of a record of texts that has them, as they are called in the config too."""
    found = {field.name: getattr(record, field.name) for field in fields(record)}
    return {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in found.items()
        if value is not None
    }


def build_group(group: ServerGroup, home: ServerGroup | None, answers: Answers) -> Tree:
    """``servers.G``; the hosts count themselves."""
    volumes = dict(group.volumes)
    if group is home and answers.volume and answers.database and not answers.is_local:
        volumes[answers.volume.name] = answers.volume
    named = isinstance(answers.provider, SSHProvider | LocalProvider)
    usual = (len(group.hosts) if named else 0) or 1
    tree: Tree = {
        "master": True if group.master else None,
        "type": group.type,
        "location": group.location,
        "count": group.count if group.count != usual else None,
        "volumes": {name: build_volume(volume) for name, volume in volumes.items()} or None,
    }
    if named:
        tree |= {
            "host": group.hosts[0] if len(group.hosts) == 1 else None,
            "hosts": list(group.hosts) if len(group.hosts) > 1 else None,
            "user": group.user,
            "port": group.port,
            "private_ip": group.private_ip,
        }
    return {key: value for key, value in tree.items() if value is not None}


def build_volume(volume: Volume) -> Tree:
    """``servers.G.volumes.V``; ``size`` in GB."""
    return {"size": volume.size}


def build_app(app: AppService, home: ServerGroup | None, answers: Answers) -> Tree:
    """What is asked of ``app.N``; a check or a mount that it has is nobody's here."""
    tree = {
        "servers": place_app(app, home, answers) or None,
        "command": app.command,
        "port": app.port,
        "domain": app.domain,
        "subdomain": app.subdomain,
        "pre_run_command": app.pre_run_command,
    }
    return {key: value for key, value in tree.items() if value is not None}


def place_app(app: AppService, home: ServerGroup | None, answers: Answers) -> list[str]:
    """The groups that a service runs on: those it had, else all; beside its volumes."""
    names = [group.name for group in answers.groups]
    wanted = [name for name in app.servers if name in names]
    if answers.is_local:
        return wanted
    if answers.database and answers.database.engine == "sqlite3" and home:
        # A file on one server's disk.
        return [home.name]
    if app.mounts and home and not wanted:
        return [home.name]
    return wanted or names


def build_database(database: Database, home: ServerGroup | None, answers: Answers) -> Tree:
    """``database``; on servers it runs beside its volume."""
    place = [home.name] if home else []
    tree: Tree = {
        "servers": (list(database.servers) if answers.is_local else place) or None,
        "adapter": database.adapter,
        "url": database.url.reveal() if database.url else None,
        "image": database.image,
        "mount": dict(database.mount) or None,
        "secrets": reveal(database.secrets) or None,
    }
    return {key: value for key, value in tree.items() if value is not None}


def reveal(secrets: Mapping[str, Secret]) -> dict[str, str]:
    """The values themselves: this is where they go into the text that is encrypted."""
    return {name: value.reveal() for name, value in secrets.items()}
