from __future__ import annotations

import os
import resource
from pathlib import Path

from nvoi.targets.local.supervisor import Supervisor


def test_a_supervisord_that_cannot_be_asked_is_not_taken_for_gone(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The next file would have this number.
    lowest = os.dup(0)
    os.close(lowest)
    supervisor, reason = Supervisor(tmp_path / "supervisor.sock"), ""
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        supervisor.get_pid()
    except OSError as error:
        reason = error.strerror or ""
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert reason == "Too many open files"
