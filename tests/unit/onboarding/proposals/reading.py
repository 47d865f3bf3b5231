"""Reads files of other tools in a checkout, and what a config makes of them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from nvoi.config.loader import load
from nvoi.config.schema import Application
from nvoi.onboarding.adoption import Adopted, AnswerSource, adopt
from nvoi.onboarding.answers import build_groups
from nvoi.onboarding.checkout import read_checkout
from nvoi.onboarding.document import compose


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))


def read(
    folder: Path, file: str | None, *, is_local: bool = False, **variables: str
) -> tuple[Adopted, Application]:
    """What is adopted of ``file``, and the config that it makes, without what lacks."""
    groups = () if is_local else build_groups(hosts=("10.0.0.9",))
    source = AnswerSource(folder, Path(file) if file else None, variables, groups)
    adopted = adopt(source, read_checkout(folder, {}))
    text = compose(None, None, adopted.answers, folder)
    return adopted, load(text, filename="f", environ=None).application


def read_compose(
    folder: Path, text: str, *, is_local: bool = False, **variables: str
) -> tuple[Adopted, Application]:
    """The same of a Compose file with that text."""
    write(folder, {"compose.yaml": text})
    return read(folder, "compose.yaml", is_local=is_local, **variables)


def check_told(adopted: Adopted, *lines: str) -> None:
    told = "\n".join(adopted.told)
    for line in lines:
        assert line in told, line


def reveal(application: Application) -> dict[str, str]:
    return {name: value.reveal() for name, value in application.secrets.items()}
