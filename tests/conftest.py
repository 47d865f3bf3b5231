"""How pytest-xdist deals the tests out to its workers."""

from __future__ import annotations

from typing import Any

import pytest

#: Modules whose tests share what takes long to make, and so share a worker.
SHARED = ("test_callback_command.py",)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep such a module together.

    ``pytest.mark.xdist_group`` is made for that, and does nothing with pytest 9.2 and
    pytest-xdist 3.8: the one no longer lets the other write to an item's id.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    # Tests run without it too, hence the import in this place.
    from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]  # has none

    class Scheduling(LoadGroupScheduling):  # type: ignore[misc]  # as above
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file.endswith(SHARED) else str(super()._split_scope(nodeid))

    return Scheduling(config, log)
