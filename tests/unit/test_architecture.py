"""docs/architecture.md names what is there, and tests/unit has the folders of nvoi."""

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


#: Tests of no single module, each with the reason; all others are named after what they test.
OF_SEVERAL = {
    "kubernetes/test_logins.py": "a login on its way through manifests, releases and ownership",
    "onboarding/proposals/test_fly_and_heroku.py": "two small formats, and the faults of all",
    "onboarding/proposals/test_large_files.py": "files of all formats that take long to read",
    "onboarding/proposals/test_odd_files.py": "values that no format takes",
    "onboarding/test_questions.py": "the questions of all topics, asked one after the other",
    "targets/cluster/test_rented.py": "rented servers in a deploy, and at the end of their app",
    "test_architecture.py": "a page, and the shape of folders",
}


def test_each_unit_test_is_named_after_the_module_that_it_tests() -> None:
    units = ROOT / "tests/unit"
    strangers = set()
    for path in units.rglob("test_*.py"):
        module = ROOT / "nvoi" / path.relative_to(units).with_name(path.stem.removeprefix("test_"))
        if not module.is_dir() and not module.with_suffix(".py").is_file():
            strangers.add(str(path.relative_to(units)))
    assert strangers == set(OF_SEVERAL)
