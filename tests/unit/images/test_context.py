"""Which Dockerfile builds an image, and what its instructions take from the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvoi.errors import UsageError
from nvoi.images.context import check_copies, find_dockerfile
from nvoi.source import Source

NAMES = ("Dockerfile", "main.py", "config/deploy.enc", "keys/site.pub")
KEYS = frozenset({"deploy.key", "config/deploy.key", "secret/prod.key"})


def check(folder: Path, text: str) -> None:
    dockerfile = folder / "Dockerfile"
    dockerfile.write_text(text)
    check_copies(dockerfile, Source(folder, NAMES, KEYS))


@pytest.mark.parametrize(
    ("instruction", "named"),
    [
        ("COPY deploy.key /app/", "COPY deploy.key"),
        ("copy ./config/deploy.key /app/", "COPY config/deploy.key"),
        ("ADD /deploy.key /app/", "ADD deploy.key"),
        ("COPY --chown=1:1 --link main.py deploy.key /app/", "COPY deploy.key"),
        ('COPY ["main.py", "../deploy.key", "/app/"]', "COPY deploy.key"),
        ("COPY *.key /app/", "COPY *.key"),
        ("COPY */d*.k?y /app/", "COPY */d*.k?y"),
        ("COPY deploy.key* /app/", "COPY deploy.key*"),
        ("COPY secret /app/secret", "COPY secret"),
        ("COPY main.py \\\n# a comment\n  deploy.key \\\n  /app/", "COPY deploy.key"),
        ("COPY other/deploy.key.new /app/", "COPY other/deploy.key.new"),
    ],
)
def test_an_instruction_that_takes_a_key_is_named_with_its_line(
    tmp_path: Path, instruction: str, named: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check(tmp_path, f"FROM x\n# why\nRUN <<END\nmake\nEND\n{instruction}\nCMD x\n")
    assert f"Dockerfile, line 6: {named} would put a key into the image" in caught.value.message
    assert caught.value.exit_code == 2
    assert "secrets" in caught.value.hint


@pytest.mark.parametrize(
    "instruction",
    [
        "COPY . .",
        "COPY / /app",
        "COPY config /app/config",
        "COPY */*.enc *.pub /app/",
        "COPY missing /app/",
        "COPY --from=build /app/deploy.key /app/",
        "ADD https://example.com/deploy.key /app/",
        "COPY <<deploy.key /app/file\ndeploy.key\n",
        "RUN <<END\nCOPY deploy.key /app/\nEND",
        "# COPY deploy.key /app/",
        "RUN --mount=type=secret,id=deploy.key make",
        "COPY main.py /app/deploy.key",
        'COPY ["main.py"',
        "COPY",
    ],
)
def test_any_other_instruction_is_the_engines_affair(tmp_path: Path, instruction: str) -> None:
    check(tmp_path, f"FROM x\n{instruction}\n")


def test_the_dockerfile_that_is_named_or_found_is_the_one(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    for name in ("Containerfile", "Dockerfile", "deploy/web"):
        (tmp_path / name).write_text("FROM scratch\n")
        named = name if "/" in name else None
        assert find_dockerfile(tmp_path, named) == tmp_path.resolve() / name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (None, "has no Dockerfile"),
        ("missing", "--dockerfile-path: .*missing is not there"),
        ("folder", "--dockerfile-path: .*folder is a folder"),
    ],
)
def test_a_dockerfile_that_is_none_is_told_with_the_ways_out(
    tmp_path: Path, name: str | None, why: str
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match=why) as caught:
        find_dockerfile(tmp_path, name)
    assert caught.value.exit_code == 2
    assert "image" in caught.value.hint
