"""Recipes: how an app gets what it depends on where there is no image, and how it is started.

What a checkout has says which: lock files, and the files of frameworks.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from nvoi.config.schema import AppService, Healthcheck
from nvoi.onboarding.recipes.node import find_node_recipe
from nvoi.onboarding.recipes.others import find_go_recipe, find_ruby_recipe, find_static_recipe
from nvoi.onboarding.recipes.python import find_python_recipe
from nvoi.onboarding.recipes.recipe import Recipe
from nvoi.onboarding.shell import is_simple

__all__ = ["Recipe", "find_recipe", "prepare_app"]

#: In this order: a site, or an app of another language, often has a package.json beside.
FINDERS = (
    find_ruby_recipe,
    find_python_recipe,
    find_go_recipe,
    find_node_recipe,
    find_static_recipe,
)


def find_recipe(folder: Path) -> Recipe | None:
    """The recipe for what is in ``folder``: one that can start it, else one that prepares it."""
    try:
        folder.stat()
    except (OSError, ValueError):
        # A name from elsewhere, which no folder has.
        return None
    found = [recipe for find in FINDERS if (recipe := find(folder))]
    able = [recipe for recipe in found if recipe.command]
    return next(iter([*able, *found]), None)


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
