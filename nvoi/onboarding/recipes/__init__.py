"""Recipes: how an app gets what it depends on where there is no image, and how it is started.

What a checkout has says which: lock files, and the files of frameworks. Here are those of Ruby, Go
and static sites.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from nvoi.onboarding.recipes.node import find_node_recipe
from nvoi.onboarding.recipes.python import find_python_recipe
from nvoi.onboarding.recipes.recipe import Recipe, prepare_app
from nvoi.onboarding.sources import find_health, read_text
from nvoi.secret import Secret

__all__ = ["Recipe", "find_recipe", "prepare_app"]

SECRET_BYTES = 64
BUNDLE = """\
set -e
bundle config set --local path vendor/bundle
bundle config set --local without development:test
bundle install
"""
SITES = ("", "public", "dist", "site", "_site", "docs", "www", "html", "build")


def find_ruby_recipe(folder: Path) -> Recipe | None:
    """Gems are in a volume: one of another version is put beside those that are there."""
    lock = read_text(folder / "Gemfile.lock")
    if not lock and not (folder / "Gemfile").is_file():
        return None
    name = "Gemfile.lock" if lock else "Gemfile"
    gems = {"gems": "vendor/bundle"}
    if (folder / "config" / "application.rb").is_file():
        return build_rails_recipe(folder, name, gems)
    command = 'exec bundle exec rackup --host 127.0.0.1 --port "$PORT"'
    if re.search(r"^ {4}puma ", lock, re.MULTILINE):
        command = 'exec bundle exec puma --bind "tcp://127.0.0.1:$PORT"'
    is_rack = (folder / "config.ru").is_file()
    return Recipe(
        f"{'Rack' if is_rack else 'Ruby'} with {name}",
        BUNDLE,
        command if is_rack else "",
        serves=is_rack,
        health=find_health(folder),
        mounts=gems,
        env={"RACK_ENV": "production"},
    )


def build_rails_recipe(folder: Path, lock: str, gems: dict[str, str]) -> Recipe:
    release = []
    if (folder / "app" / "assets").is_dir():
        release.append("bin/rails assets:precompile")
    if (folder / "config" / "database.yml").is_file():
        release.append("bin/rails db:prepare")
    key = read_text(folder / "config" / "master.key").strip()
    known = {"RAILS_MASTER_KEY": Secret(key)} if key else {}
    routes = read_text(folder / "config" / "routes.rb")
    health = re.search(r"""get\s+["'](/?[\w-]+)["']\s*(?:=>|,\s*to:)\s*["']rails/health""", routes)
    return Recipe(
        f"Rails with {lock}",
        BUNDLE,
        'exec bin/rails server -b 127.0.0.1 -p "$PORT"',
        "\n".join(release),
        health=f"/{health[1].lstrip('/')}" if health else find_health(folder),
        mounts=gems,
        env={
            "RAILS_ENV": "production",
            "RAILS_LOG_TO_STDOUT": "1",
            "RAILS_SERVE_STATIC_FILES": "1",
        },
        secrets=known or {"SECRET_KEY_BASE": Secret(secrets.token_hex(SECRET_BYTES))},
    )


def find_go_recipe(folder: Path) -> Recipe | None:
    if not (folder / "go.mod").is_file():
        return None
    mains = sorted(path.parent.name for path in folder.glob("cmd/*/main.go"))
    is_root = any("package main" in read_text(path) for path in folder.glob("*.go"))
    package = "." if is_root or not mains else f"./cmd/{mains[0]}"
    return Recipe(
        "Go with go.mod",
        f"set -e\ngo build -o .bin/app {package}\n",
        "exec .bin/app",
        health=find_health(folder),
        programs=".bin",
    )


def find_static_recipe(folder: Path) -> Recipe | None:
    """A site that needs no building is served by Python, which is here as nvoi is."""
    for name in SITES:
        if (folder / name / "index.html").is_file():
            place = f" --directory {name}" if name else ""
            command = f'exec python3 -m http.server --bind 127.0.0.1{place} "$PORT"'
            return Recipe("a static site", command=command, health="/")
    return None


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
