"""docs/architecture.md names what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()


def list_tree() -> Iterator[str]:
    """The modules that the page's tree names, each with a word on it."""
    tree = re.search(r"```\n(nvoi/\n.*?)```", PAGE, re.DOTALL)
    assert tree is not None
    folders: list[str] = []
    for line in tree[1].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name, _, text = line.strip().partition(" ")
        del folders[depth:]
        if name.endswith("/"):
            folders.append(name)
        else:
            assert text.strip(), f"{line} says nothing"
            yield "".join(folders) + name


def test_the_tree_is_that_of_the_folder() -> None:
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "nvoi").rglob("*.py")}
    assert sorted(list_tree()) == sorted(there)


def test_the_layers_are_those_that_are_held() -> None:
    config = (ROOT / "pyproject.toml").read_text()
    held = re.search(r"\nlayers = \[\n(.*?)\n\]", config, re.DOTALL)
    assert held is not None
    lines = [line.strip().strip('",').replace("nvoi.", "") for line in held[1].splitlines()]
    assert "\n".join(["```", *lines[1:], "```"]) in PAGE


def test_every_module_that_is_named_is_there() -> None:
    for path in re.findall(r"`((?:\w+/)+\w+\.py)`", PAGE):
        assert (ROOT / "nvoi" / path).is_file(), path
