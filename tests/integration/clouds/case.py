"""What the kill table does with a cloud, or with whoever brings host names: a case of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nvoi.config.schema import Application
from nvoi.providers import Provider
from nvoi.providers.host_keys import generate_host_key
from tests.fakes.clouds.server import Cloud, Json, Project


@dataclass(frozen=True)
class Case:
    """
    Attributes:
        name: of the cloud.
        start: a stand-in with resources of others, and its delays at 0.
        deploy, delete: all calls of the API that such a run of nvoi makes, by an object of their
            own, as a new process has it.
        check_whole: raises AssertionError where something of the app lacks, or is there twice.
        list_left: what there is of the app.
        show_others: all that is not the app's, to be compared.
    """

    name: str
    start: Callable[[], Cloud]
    deploy: Callable[[Any], None]
    delete: Callable[[Any], None]
    check_whole: Callable[[Any], None]
    list_left: Callable[[Any], list[str]]
    show_others: Callable[[Any], object]


def build_case(
    name: str,
    start: Callable[[], Cloud],
    build_run: Callable[[Any], tuple[Provider, Application]],
    check_whole: Callable[[Any], None],
    is_apps: Callable[[Json], bool],
) -> Case:
    """A case of a cloud whose stand-in has things.

    Args:
        build_run: what a new process has.
        is_apps: whether one of the things is the app's.
    """
    return Case(
        name=name,
        start=start,
        deploy=lambda cloud: deploy_servers(*build_run(cloud)),
        delete=lambda cloud: delete_servers(*build_run(cloud)),
        check_whole=check_whole,
        list_left=lambda cloud: list_left(cloud, is_apps),
        show_others=lambda cloud: {
            kind: [one for one in things if not is_apps(one)]
            for kind, things in cloud.show_all().items()
        },
    )


def list_left(cloud: Project, is_apps: Callable[[Json], bool]) -> list[str]:
    return [
        f"{kind} {one['name'] or 'of a server'}"
        for kind, things in cloud.show_all().items()
        for one in things
        if is_apps(one)
    ]


def deploy_servers(provider: Provider, application: Application) -> None:
    """What a deploy asks of a provider, in its order; the servers themselves are never reached."""
    assert not provider.find_faults(application)
    provider.list_servers(application)
    # Whatever a broken run has left bears labels: nobody is asked for --adopt.
    assert not provider.list_unlabelled(application)
    surplus = provider.list_surplus(application)
    servers = provider.ensure_servers(application)
    for server in servers:
        if server.is_new:
            present, following = server.host.host_keys[-1], generate_host_key().public
            both = provider.keep_host_keys(server, [present, following])
            assert not provider.keep_host_keys(both, [following]).is_new
    provider.close_ports(application)
    if surplus:
        provider.delete_surplus(application, surplus, with_volumes=True)


def delete_servers(provider: Provider, application: Application) -> None:
    provider.list_servers(application)
    assert not provider.delete_servers(application, with_volumes=True)
