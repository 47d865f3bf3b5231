from __future__ import annotations

from pathlib import Path

import pytest

from nvoi.config.credentials import create_config, decrypt, generate_key
from nvoi.errors import InputError

KEY = generate_key()


def test_a_config_its_key_and_the_lines_that_keep_it_here_are_made_together(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    config, key = folder / "deploy.enc", folder / "deploy.key"
    create_config(config, "text", KEY, key_file=key, checkout=tmp_path)
    assert decrypt(config.read_bytes(), KEY) == b"text"
    assert key.read_text() == f"{KEY.reveal()}\n"
    assert [path.stat().st_mode & 0o777 for path in (config, key)] == [0o600, 0o600]
    lines = ["deploy.key*", ".deploy.key*", ".deploy.enc.*"]
    assert (folder / ".gitignore").read_text().splitlines() == lines
    # The engine reads the one in the root of what it builds from.
    assert (tmp_path / ".dockerignore").read_text().splitlines() == [f"**/{each}" for each in lines]
    assert not (folder / ".dockerignore").exists()


@pytest.mark.parametrize("ignored", [None, "*.pyc"])
@pytest.mark.parametrize("taken", ["deploy.enc", "deploy.key"])
def test_where_one_file_cannot_be_made_all_is_as_it_was(
    tmp_path: Path, taken: str, ignored: str | None
) -> None:
    (tmp_path / taken).write_text("mine")
    if ignored is not None:
        (tmp_path / ".gitignore").write_text(ignored)
        (tmp_path / ".dockerignore").write_text(ignored)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError):
        create_config(
            tmp_path / "deploy.enc",
            "text",
            KEY,
            key_file=tmp_path / "deploy.key",
            checkout=tmp_path,
        )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_key_that_is_kept_elsewhere_is_not_written(tmp_path: Path) -> None:
    create_config(tmp_path / "deploy.enc", "text", KEY, key_file=None, checkout=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["deploy.enc"]
