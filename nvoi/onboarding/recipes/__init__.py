"""Recipes: how an app gets what it depends on where there is no image, and how it is started.

What a checkout has says which: lock files, and the files of frameworks. Here are those of all but
Python.
"""

from __future__ import annotations

import json
import re
import secrets
import shlex
from pathlib import Path
from typing import Any

from nvoi.onboarding.recipes.python import find_python_recipe
from nvoi.onboarding.recipes.recipe import Recipe, prepare_app
from nvoi.onboarding.sources import find_health, is_file, read_text
from nvoi.secret import Secret

__all__ = ["Recipe", "find_recipe", "prepare_app"]

SECRET_BYTES = 64
BUNDLE = """\
set -e
bundle config set --local path vendor/bundle
bundle config set --local without development:test
bundle install
"""
STATIC_SITES = ("", "public", "dist", "site", "_site", "docs", "www", "html", "build")

#: A program that may be missing is one that npm can fetch.
FALLBACK = 'command -v {name} >/dev/null || {name}() {{ npx --yes {package} "$@"; }}\n'
#: Packages by which a framework is known, the more special ones first.
FRAMEWORKS = {
    "next": "Next.js",
    "nuxt": "Nuxt",
    "@nestjs/core": "NestJS",
    "@remix-run/node": "Remix",
    "@sveltejs/kit": "SvelteKit",
    "fastify": "Fastify",
    "koa": "Koa",
    "hono": "Hono",
    "express": "Express",
}
#: Where tools put a site that they have built.
BUILT_SITES = {"react-scripts": "build", "@docusaurus/core": "build", "@11ty/eleventy": "_site"}
NODE_SCRIPTS = ("server.js", "index.js", "app.js", "main.js", "src/index.js", "src/server.js")
#: A start script that is node and a file: a signal then reaches it without npm in between.
PLAIN_START = re.compile(r"node (?P<script>[\w./-]{1,4096})")
BUILDERS = frozenset({"vite", *BUILT_SITES})


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
    for name in STATIC_SITES:
        if (folder / name / "index.html").is_file():
            place = f" --directory {name}" if name else ""
            command = f'exec python3 -m http.server --bind 127.0.0.1{place} "$PORT"'
            return Recipe("a static site", command=command, health="/")
    return None


def read_package(folder: Path) -> dict[str, Any]:
    """``package.json``, if it is an object."""
    try:
        content = json.loads(read_text(folder / "package.json") or "{}")
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def find_start(package: dict[str, Any]) -> str:
    """How npm starts the package; by way of npm, which finds the programs it installed."""
    return "npm start" if get_script(package, "start") else ""


def get_script(package: dict[str, Any], name: str) -> str:
    scripts = package.get("scripts")
    text = scripts.get(name) if isinstance(scripts, dict) else None
    return text.strip() if isinstance(text, str) else ""


def find_node_recipe(folder: Path) -> Recipe | None:
    package = read_package(folder)
    if not package:
        return None
    packages = find_packages(package)
    is_built = bool(get_script(package, "build"))
    lock, install = build_install(folder, is_built=is_built)
    build = "\nnpm run build" if is_built else ""
    title = next((text for name, text in FRAMEWORKS.items() if name in packages), "Node")
    command = build_command(folder, package)
    if not command and is_built and packages & BUILDERS:
        site = next((BUILT_SITES[name] for name in BUILT_SITES if name in packages), "dist")
        command = f'exec python3 -m http.server --bind 127.0.0.1 --directory {site} "$PORT"'
        title, health = "a static site", "/"
    else:
        health = find_health(folder)
    return Recipe(
        f"{title} with {lock}",
        f"set -e\n{install}{build}\n",
        command,
        serves=bool(command) and (title != "Node" or "PORT" in read_sources(folder, command)),
        health=health,
        programs="node_modules/.bin",
        env={"NODE_ENV": "production"},
    )


def find_packages(package: dict[str, Any]) -> set[str]:
    kinds = ("dependencies", "devDependencies")
    return {name for kind in kinds if isinstance(package.get(kind), dict) for name in package[kind]}


def build_install(folder: Path, *, is_built: bool) -> tuple[str, str]:
    """The lock file's name, and the lines that install what it names."""
    dev = "--include=dev" if is_built else "--omit=dev"
    for name in ("package-lock.json", "npm-shrinkwrap.json"):
        if (folder / name).is_file():
            return name, f"npm ci --no-audit --no-fund {dev}"
    if lock := read_text(folder / "yarn.lock"):
        if "__metadata:" in lock:
            line = "yarn install --immutable"
            return "yarn.lock", f"{FALLBACK.format(name='yarn', package='@yarnpkg/cli-dist')}{line}"
        line = "yarn install --frozen-lockfile --non-interactive"
        line += " --production=false" if is_built else " --production"
        return "yarn.lock", f"{FALLBACK.format(name='yarn', package='yarn@1')}{line}"
    if (folder / "pnpm-lock.yaml").is_file():
        line = f"pnpm install --frozen-lockfile{' --prod=false' if is_built else ' --prod'}"
        return "pnpm-lock.yaml", f"{FALLBACK.format(name='pnpm', package='pnpm@9')}{line}"
    return "package.json", f"npm install --no-audit --no-fund {dev}"


def build_command(folder: Path, package: dict[str, Any]) -> str:
    start = get_script(package, "start")
    if plain := PLAIN_START.fullmatch(start):
        return f"exec node {plain['script']}"
    if start:
        return "exec npm start"
    main = package.get("main")
    candidates = [main] if isinstance(main, str) else []
    found = [name for name in [*candidates, *NODE_SCRIPTS] if is_file(folder / name)]
    return f"exec node {shlex.quote(found[0])}" if found else ""


def read_sources(folder: Path, command: str) -> str:
    """The script that a command starts, or all there is in package.json to start."""
    script = command.removeprefix("exec node ")
    return read_text(folder / shlex.split(script)[0]) if script != command else "PORT"


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
