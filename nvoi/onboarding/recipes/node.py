"""Recipes for Node: what a lock file names is installed into the release, and built where asked."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

from nvoi.onboarding.recipes.recipe import Recipe
from nvoi.onboarding.sources import find_health, is_file, read_text

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
SITES = {"react-scripts": "build", "@docusaurus/core": "build", "@11ty/eleventy": "_site"}
SCRIPTS = ("server.js", "index.js", "app.js", "main.js", "src/index.js", "src/server.js")
#: A start script that is node and a file: a signal then reaches it without npm in between.
PLAIN_START = re.compile(r"node (?P<script>[\w./-]{1,4096})")
BUILDERS = frozenset({"vite", *SITES})


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
        site = next((SITES[name] for name in SITES if name in packages), "dist")
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
    found = [name for name in [*candidates, *SCRIPTS] if is_file(folder / name)]
    return f"exec node {shlex.quote(found[0])}" if found else ""


def read_sources(folder: Path, command: str) -> str:
    """The script that a command starts, or all there is in package.json to start."""
    script = command.removeprefix("exec node ")
    return read_text(folder / shlex.split(script)[0]) if script != command else "PORT"
