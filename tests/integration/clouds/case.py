"""What the kill table does with a cloud, or with whoever brings host names: a case of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from nvoi.config.schema import Application, Ingress, Volume
from nvoi.providers import Provider
from nvoi.providers.host_keys import generate_host_key
from tests.fakes.clouds.server import Cloud, Json, Project


@dataclass(frozen=True)
class Case:
    """
    Attributes:
        name: of the cloud.
        whole: what is deployed into an empty account; `before` and `after` a change.
        start: a stand-in with resources of others, and its delays at 0.
        deploy, change, delete: all calls of the API that such a run of nvoi makes, by an object of
            their own, as a new process has it; a change may do away with data.
        check_whole: raises AssertionError where something of the app lacks, is there twice, or is
            not as the config says.
        list_left: what there is of the app.
        show_others: all that is not the app's, to be compared.
    """

    name: str
    whole: Application
    before: Application
    after: Application
    start: Callable[[], Cloud]
    deploy: Callable[[Any, Application], None]
    change: Callable[[Any, Application], None]
    delete: Callable[[Any, Application], None]
    check_whole: Callable[[Any, Application], None]
    list_left: Callable[[Any], list[str]]
    show_others: Callable[[Any], object]


def build_case(
    name: str,
    whole: Application,
    *,
    start: Callable[[], Cloud],
    open_provider: Callable[[Any, Application], Provider],
    check_whole: Callable[[Any, Application], None],
    list_left: Callable[[Any], list[str]],
    show_others: Callable[[Any], object],
) -> Case:
    """A case of a cloud that has servers.

    Args:
        whole: with a group `main`, which has a volume, and a group `work`.
        open_provider: what a new process has.
    """
    main, work = whole.servers["main"], whole.servers["work"]
    passing = {"scratch": Volume("scratch", 10)}
    groups = {
        "main": replace(main, volumes={**main.volumes, **passing}),
        "work": replace(work, volumes=passing),
    }
    grown = {name: replace(one, size=one.size + 10) for name, one in main.volumes.items()}
    return Case(
        name=name,
        whole=whole,
        before=open_to_public(replace(whole, servers=groups)),
        after=replace(whole, servers={"main": replace(main, volumes=grown)}),
        start=start,
        deploy=lambda cloud, app: deploy_servers(open_provider(cloud, app), app),
        change=lambda cloud, app: deploy_servers(open_provider(cloud, app), app, with_volumes=True),
        delete=lambda cloud, app: delete_servers(open_provider(cloud, app), app),
        check_whole=check_whole,
        list_left=list_left,
        show_others=show_others,
    )


def open_to_public(application: Application) -> Application:
    """The same with a domain by the ingress."""
    web = replace(application.app["web"], domain="example.com", port=3000)
    return replace(application, app={"web": web}, ingress=Ingress("ops@example.com"))


def name_servers(application: Application) -> list[str]:
    """The servers of an app whose groups have one each."""
    return [f"shop-{group}-1" for group in application.servers]


def list_sizes(application: Application) -> dict[str, tuple[str, int]]:
    """Its volumes by their names, each with its server and its size in GB."""
    return {
        f"shop-{group.name}-{volume.name}": (f"shop-{group.name}-1", volume.size)
        for group in application.servers.values()
        for volume in group.volumes.values()
    }


def list_ports(application: Application) -> set[int]:
    """The ports that its firewall lets in."""
    return {22, 80, 443} if application.ingress else {22}


def list_left(cloud: Project, is_apps: Callable[[Json], bool]) -> list[str]:
    return [
        f"{kind} {one['name'] or 'of a server'}"
        for kind, things in cloud.show_all().items()
        for one in things
        if is_apps(one)
    ]


def show_others(cloud: Project, is_apps: Callable[[Json], bool]) -> object:
    return {
        kind: [one for one in things if not is_apps(one)]
        for kind, things in cloud.show_all().items()
    }


def deploy_servers(
    provider: Provider, application: Application, *, with_volumes: bool = False
) -> None:
    """What a deploy asks of a provider, in its order; the servers themselves are never reached."""
    assert not provider.find_faults()
    provider.list_servers()
    # Whatever a broken run has left bears labels: nobody is asked for --adopt.
    assert not provider.list_unlabelled()
    surplus = provider.list_surplus()
    servers = provider.ensure_servers()
    for server in servers:
        if server.is_new:
            present, following = server.host.host_keys[-1], generate_host_key().public
            both = provider.keep_host_keys(server, [present, following])
            assert not provider.keep_host_keys(both, [following]).is_new
    provider.close_ports()
    if surplus or with_volumes:
        provider.delete_surplus(surplus, with_volumes=with_volumes)


def delete_servers(provider: Provider, application: Application) -> None:
    provider.list_servers()
    assert not provider.delete_servers(with_volumes=True)
