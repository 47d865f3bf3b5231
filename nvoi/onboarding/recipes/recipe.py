"""A recipe: how an app gets what it depends on where there is no image, and how it is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nvoi.config.schema import EMPTY


@dataclass(frozen=True)
class Recipe:
    """What is known of a checkout. Commands are for ``/bin/sh`` in a release's folder.

    Attributes:
        title: what was found, in a few words.
        prepare: lines that install what the app depends on, before each release.
        command: what starts the app; "" where that is not known.
        release: what else is run before each release, such as migrations.
        serves: whether ``command`` listens on ``$PORT``.
        health: the path of its health page; "" where none is known.
        programs: the folder of the programs that ``prepare`` installs, below the release.
        mounts: volumes that ``prepare`` keeps something in.
        env: variables that the app needs to be one in production.
        secrets: the same, with values made by chance or found in the checkout.
    """

    title: str
    prepare: str = ""
    command: str = ""
    release: str = ""
    serves: bool = True
    health: str = ""
    programs: str = ""
    mounts: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    env: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    secrets: Mapping[str, str] = field(default_factory=lambda: EMPTY)
