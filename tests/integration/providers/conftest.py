"""What the tests of rented servers share: machines, connections to them, and their disks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.providers.aws_account import (  # noqa: F401 - fixtures
    aws_account,
    aws_cloud,
)
from tests.integration.providers.aws_site import AWSSite
from tests.integration.providers.hetzner_site import HetznerSite
from tests.integration.providers.loop_disk import LoopDisk
from tests.integration.providers.scaleway_site import ScalewaySite
from tests.integration.providers.site import Site
from tests.integration.ssh.conftest import (  # noqa: F401 - fixtures
    connect,
    connections,
    home,
    keys,
)
from tests.integration.targets.cluster.conftest import start_machine  # noqa: F401 - a fixture

MakeDisk = Callable[..., LoopDisk]
#: Each cloud is one line here.
SITES: tuple[type[Site], ...] = (HetznerSite, AWSSite, ScalewaySite)


@pytest.fixture(params=SITES, ids=lambda site: site.title.lower())
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Each cloud in turn."""
    made: Site = request.param()
    yield made
    made.cloud.close()


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[MakeDisk]:
    """Makes disks of a size in MiB, which a server on this machine sees."""
    made: list[LoopDisk] = []

    def make(mebibytes: int = 400) -> LoopDisk:
        made.append(LoopDisk(tmp_path / f"disk-{len(made)}", mebibytes))
        return made[-1]

    yield make
    for disk in made:
        disk.remove()
