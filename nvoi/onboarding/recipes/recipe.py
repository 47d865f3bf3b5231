"""A recipe, and a service as it is prepared and started on this machine by one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from nvoi.config.schema import EMPTY, AppService, Healthcheck
from nvoi.onboarding.commands import is_simple
from nvoi.secret import Secret


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
    secrets: Mapping[str, Secret] = field(default_factory=lambda: EMPTY)


def prepare_app(
    app: AppService,
    recipe: Recipe | None,
    *,
    is_first: bool,
    folder: str = ".",
    usual: str = "",
) -> AppService:
    """A service as it runs on this machine: with a command of its own, else the recipe's.

    Args:
        is_first: whether it is the one that prepares the release; that is done once.
        folder: where it starts, below the release's.
        usual: what starts it where neither has a command: its image's.
    """
    recipe = recipe or Recipe("")
    own_command = app.command or ("" if recipe.command else usual)
    command = build_path(own_command, recipe) if own_command else recipe.command
    enter = "" if folder == "." else f"cd {shlex.quote(folder)}\n"
    if enter and command:
        command = f"cd {shlex.quote(folder)} && {command}"
    own = build_path(app.pre_run_command, recipe) if app.pre_run_command else ""
    before = own or (recipe.release if is_first else "")
    if is_first and recipe.prepare:
        before = f"{recipe.prepare}{before}".rstrip()
    before = f"{enter}{before}" if before else ""
    check = app.healthcheck
    if check is None and is_first and app.port and recipe.health:
        check = Healthcheck(path=recipe.health)
    return replace(
        app,
        command=command or None,
        pre_run_command=f"{before}\n" if "\n" in before else before or None,
        healthcheck=check,
        env=MappingProxyType({**recipe.env, **app.env}),
        mounts=MappingProxyType({**(recipe.mounts if is_first else {}), **app.mounts}),
    )


def build_path(command: str, recipe: Recipe) -> str:
    """``command``, which finds the programs that the recipe installs."""
    if not recipe.programs:
        return command
    rest = f"exec {command}" if is_simple(command) else command
    return f'PATH="$PWD/{recipe.programs}:$PATH" && {rest}'
