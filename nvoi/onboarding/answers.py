"""What was answered so far, in the config's own records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nvoi.config.schema import (
    EMPTY,
    Application,
    AppService,
    Cloudflare,
    ComputeProvider,
    Config,
    Database,
    LocalProvider,
    ServerGroup,
    SSHKeys,
    Volume,
)
from nvoi.secret import Secret

#: The group of the first server, which is the master and holds the volumes, and that of the rest.
MAIN, WORKERS = "main", "workers"


@dataclass(frozen=True)
class Answers:
    """All that the wizard asks about.

    ``volume`` is the database's, and needs no place in ``groups``; ``groups`` are empty where
    the app runs on this machine. A service without ``servers`` runs on all groups.
    """

    name: str = ""
    provider: ComputeProvider = field(default_factory=LocalProvider)
    ssh_keys: SSHKeys | None = None
    groups: tuple[ServerGroup, ...] = ()
    cloudflare: Cloudflare | None = None
    apps: tuple[AppService, ...] = ()
    database: Database | None = None
    volume: Volume | None = None
    env: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    secrets: Mapping[str, Secret] = field(default_factory=lambda: EMPTY)
    callback_url: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether the app runs on this machine."""
        return isinstance(self.provider, LocalProvider)


def read_answers(config: Config) -> Answers:
    """What a config that is there already says to the wizard's questions."""
    application = config.application
    groups = tuple(application.servers.values())
    return Answers(
        name=application.name,
        provider=application.compute_provider,
        ssh_keys=application.ssh_keys,
        groups=groups,
        cloudflare=application.cloudflare,
        apps=tuple(application.app.values()),
        database=application.database,
        volume=find_volume(application.database, groups),
        env=application.env,
        secrets=application.secrets,
        callback_url=config.callback_url,
    )


def build_config(answers: Answers) -> Config:
    """The answers as the config's own record, unchecked and without what was not asked."""
    application = Application(
        name=answers.name,
        compute_provider=answers.provider,
        env=answers.env,
        secrets=answers.secrets,
        ssh_keys=answers.ssh_keys,
        cloudflare=answers.cloudflare,
        servers={group.name: group for group in answers.groups},
        app={app.name: app for app in answers.apps},
        database=answers.database,
    )
    return Config(application, answers.callback_url)


def find_volume(database: Database | None, groups: tuple[ServerGroup, ...]) -> Volume | None:
    """The volume that a database is kept on."""
    if database is None or not database.mount:
        return None
    name = next(iter(database.mount))
    found = (group.volumes[name] for group in groups if name in group.volumes)
    return next(found, Volume(name))


def build_groups(
    *,
    count: int = 1,
    hosts: tuple[str, ...] = (),
    user: str | None = None,
    port: int | None = None,
    before: tuple[ServerGroup, ...] = (),
) -> tuple[ServerGroup, ...]:
    """The servers in the wizard's order: the first is the master, the others are workers.

    Volumes are one server's, so the group that holds them has just one; those of the groups
    ``before`` go there too, as services may mount them.
    """
    volumes = {name: volume for group in before for name, volume in group.volumes.items()}
    count = len(hosts) or count
    main = ServerGroup(
        MAIN, master=count > 1, volumes=volumes, hosts=hosts[:1], user=user, port=port
    )
    if count == 1:
        return (main,)
    return main, ServerGroup(WORKERS, count=count - 1, hosts=hosts[1:], user=user, port=port)


def find_home(answers: Answers) -> ServerGroup | None:
    """The group that the database runs on: its own, else the master's."""
    wanted = answers.database.servers if answers.database else ()
    own = [group for group in answers.groups if group.name in wanted]
    masters = [group for group in answers.groups if group.master]
    return next(iter([*own, *masters, *answers.groups]), None)
