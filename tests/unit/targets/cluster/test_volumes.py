"""What plans say of volumes, without asking for servers."""

from __future__ import annotations

from nvoi.targets.cluster.volumes import list_places
from tests.unit.targets.cluster.runs import see

GROUPS = """\
servers:
  main: {master: true, host: 10.0.0.1, volumes: {data: {}}}
  work: {hosts: [10.0.0.2, 10.0.0.3], volumes: {cache: {}}}
app: {web: {servers: [main]}}
"""


def test_every_folder_is_named_on_each_server_that_has_it() -> None:
    application = see([], text=GROUPS).application
    assert list(list_places(application)) == [
        ("shop-main-1", "/opt/nvoi/volumes/shop-main-data"),
        ("shop-work-1", "/opt/nvoi/volumes/shop-work-cache"),
        ("shop-work-2", "/opt/nvoi/volumes/shop-work-cache"),
    ]
