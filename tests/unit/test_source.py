from __future__ import annotations

import os
from pathlib import Path

from nvoi.source import read_source

KEY = "hunter2-hunter2"


def test_what_may_hold_a_key_is_read_no_further_than_it_is_searched(tmp_path: Path) -> None:
    """Some files are longer than they say, and some end never: proc_pid_pagemap(5), fifo(7)."""
    (tmp_path / "pages").symlink_to("/proc/self/pagemap")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "holder").write_text(f"a: {KEY}\n")
    (tmp_path / "long").write_text(f"{KEY}{'x' * (1 << 16)}")
    source = read_source(tmp_path, {}, private_keys=[KEY])
    assert source.names == ("long", "pages", "pipe")
    assert source.keys == {"holder"}


def test_a_key_that_nobody_may_read_is_known_by_what_it_is(tmp_path: Path) -> None:
    key = tmp_path / "of.key"
    key.write_text(KEY)
    (tmp_path / "other").hardlink_to(key)
    key.chmod(0)
    assert read_source(tmp_path, {}, key_files=[key]).keys == {"of.key", "other"}
