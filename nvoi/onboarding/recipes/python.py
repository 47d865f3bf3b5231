"""Recipes for Python: a venv, kept while the file that names the packages is unchanged.

A venv cannot be moved, and one that serves must not change: each has a folder in a volume, named
after what it was made of, and releases have a link to theirs.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nvoi.onboarding.recipes.recipe import Recipe
from nvoi.onboarding.sources import find_health, is_file, list_sources, read_text

VOLUME, MOUNT = "venvs", ".venvs"
KEPT = """\
set -e
# A venv for each state of {lock}, kept for as long as a release has it.
venv="$NVOI_MOUNT_VENVS/$({{ python3 -VV; cat {files}; }} | cksum | tr ' ' -)"
if [ ! -e "$venv/complete" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  {install}
  touch "$venv/complete"
fi
rm -rf .venv
ln -s "$venv" .venv
for old in "$NVOI_MOUNT_VENVS"/*; do
  kept=$(find "$NVOI_STATE/releases" -maxdepth 4 -name .venv -lname "$old")
  [ -n "$kept" ] || rm -rf "$old"
done
"""
FRESH = """\
set -e
python3 -m venv --clear .venv
{install}
"""
PIP = "-m pip install --disable-pip-version-check --progress-bar off"
#: The packages of a pyproject.toml without those of tools, a line each.
READ_DEPENDENCIES = (
    'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))'
    '["project"].get("dependencies", []), sep="\\n")'
)
#: Lines of requirements.txt that name other files, and those that install the checkout itself.
INCLUDED = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[ =]*(\S+)", re.MULTILINE)
ITSELF = re.compile(r"^\s*(?:-e\s*|--editable[ =]*)?\.{1,2}(?:/\S*)?(?:\[|\s|$)", re.MULTILINE)
PACKAGE = re.compile(r"^[\s\"']*([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)
#: Where an app object, or what makes one, is defined at the top of a module.
OBJECTS = {
    "Flask": re.compile(r"^(\w+)(?::[^=\n]+)?\s*=\s*(?:flask\.)?Flask\(", re.MULTILINE),
    "FastAPI": re.compile(r"^(\w+)(?::[^=\n]+)?\s*=\s*(?:fastapi\.)?FastAPI\(", re.MULTILINE),
    "Starlette": re.compile(r"^(\w+)(?::[^=\n]+)?\s*=\s*(?:\w+\.)*Starlette\(", re.MULTILINE),
}
FACTORY = re.compile(r"^def (create_app|make_app)\(", re.MULTILINE)
CALLED = re.compile(r"^(\w+)\s*=\s*(?:create_app|make_app)\(", re.MULTILINE)
SCRIPTS = ("main.py", "app.py", "server.py", "run.py", "bot.py", "worker.py")


def find_python_recipe(folder: Path) -> Recipe | None:
    """The recipe of an app that names its packages; None where there is no file that does."""
    project = read_project(folder)
    requirements = read_text(folder / "requirements.txt")
    if not requirements and not project:
        return None
    packages = find_packages(requirements, project)
    recipe, extra = find_framework(folder, packages)
    lock, prepared = build_preparation(folder, project, requirements, extra)
    return replace(
        recipe,
        title=f"{recipe.title} with {lock}",
        prepare=prepared.prepare,
        mounts=prepared.mounts,
        programs=".venv/bin",
    )


def read_project(folder: Path) -> dict[str, Any]:
    """pyproject.toml, if it is one of an app and no settings of tools alone."""
    try:
        content = tomllib.loads(read_text(folder / "pyproject.toml"))
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}
    tool = content.get("tool")
    is_poetry = isinstance(tool, dict) and "poetry" in tool
    return content if isinstance(content.get("project"), dict) or is_poetry else {}


def find_project_name(folder: Path) -> str:
    project = read_project(folder).get("project")
    return str(project.get("name") or "") if isinstance(project, dict) else ""


def find_packages(requirements: str, project: dict[str, Any]) -> frozenset[str]:
    """The names of the packages that the app itself names, in small letters."""
    names = {match[1] for match in PACKAGE.finditer(requirements)}
    section = project.get("project")
    listed = section.get("dependencies") if isinstance(section, dict) else None
    for text in listed if isinstance(listed, list) else []:
        names |= {match[1] for match in [PACKAGE.match(str(text))] if match}
    poetry = project.get("tool", {}).get("poetry", {})
    named = poetry.get("dependencies") if isinstance(poetry, dict) else None
    names |= set(named) if isinstance(named, dict) else set()
    return frozenset(re.sub(r"[._]+", "-", name.lower()) for name in names)


def build_preparation(
    folder: Path, project: dict[str, Any], requirements: str, server: str
) -> tuple[str, Recipe]:
    """The file that names the packages, and the recipe that installs them, with the ``server``."""
    extra = f" {server}" if server else ""
    is_package = bool(project.get("build-system") or not isinstance(project.get("project"), dict))
    if project and (folder / "uv.lock").is_file():
        flags = "" if (folder / "src").is_dir() else " --no-install-project"
        sync = f"-m uv sync --frozen --no-dev --inexact{flags}"
        if not flags:
            return "uv.lock", build_fresh([f"{PIP} uv{extra}", sync])
        lines = [f"{PIP} uv{extra}", sync]
        return "uv.lock", build_kept("uv.lock", [], lines, 'UV_PROJECT_ENVIRONMENT="$venv" ')
    if requirements:
        install = [f"{PIP} -r requirements.txt{extra}"]
        if ITSELF.search(requirements):
            return "requirements.txt", build_fresh(install)
        included = [name for name in INCLUDED.findall(requirements) if is_file(folder / name)]
        return "requirements.txt", build_kept("requirements.txt", included, install)
    if is_package:
        return "pyproject.toml", build_fresh([f"{PIP} .{extra}"])
    read = f'"$venv/bin/python" -c {shlex.quote(READ_DEPENDENCIES)} > "$venv/requirements.txt"'
    install = [f'{PIP} -r "$venv/requirements.txt"{extra}']
    return "pyproject.toml", build_kept("pyproject.toml", [], install, before=read)


def build_kept(
    lock: str,
    included: Sequence[str],
    commands: Sequence[str],
    variables: str = "",
    before: str = "",
) -> Recipe:
    files = " ".join(map(shlex.quote, [lock, *included]))
    lines = [before] if before else []
    lines += [f'{variables if "uv sync" in c else ""}"$venv/bin/python" {c}' for c in commands]
    prepare = KEPT.format(lock=lock, files=files, install="\n  ".join(lines))
    return Recipe("", prepare, mounts={VOLUME: MOUNT})


def build_fresh(commands: Sequence[str]) -> Recipe:
    install = "\n".join(f".venv/bin/python {command}" for command in commands)
    return Recipe("", FRESH.format(install=install))


@dataclass(frozen=True)
class Module:
    """A module of the app: its name, below the folder ``src`` or not, and its text."""

    name: str
    text: str
    is_below_src: bool


def find_framework(folder: Path, packages: frozenset[str]) -> tuple[Recipe, str]:
    """How an app is started, and the server that this needs beside its packages."""
    if (folder / "manage.py").is_file() and (django := find_django(folder, packages)):
        return django
    sources = [path for path in list_sources(folder) if path.suffix == ".py"]
    modules = [read_module(folder, path) for path in sources]
    for title, pattern in OBJECTS.items():
        if found := find_object(modules, title, pattern):
            return build_server(title, *found, packages, find_health(folder))
    names = {path.name for path in sources if path.parent == folder}
    script = next((name for name in SCRIPTS if name in names), "")
    command = f"exec .venv/bin/python {script}" if script else ""
    return Recipe("Python", command=command, serves=False), ""


def read_module(folder: Path, path: Path) -> Module:
    """``shop.web`` of ``src/shop/web.py``, and ``shop`` of ``shop/__init__.py``."""
    parts = path.relative_to(folder).with_suffix("").parts
    is_below_src = parts[0] == "src" and len(parts) > 1
    parts = parts[1:] if is_below_src else parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
    return Module(name, read_text(path), is_below_src)


def find_object(
    modules: Sequence[Module], title: str, pattern: re.Pattern[str]
) -> tuple[Module, str] | None:
    """The module of the app object and its name, or the call that makes one."""
    for module in modules:
        if match := pattern.search(module.text):
            return module, match[1]
    makers = [
        (one, f"{match[1]}()")
        for one in modules
        if f"{title}(" in one.text and (match := FACTORY.search(one.text))
    ]
    called = [(one, match[1]) for one in modules if (match := CALLED.search(one.text))]
    return next(iter([*called, *makers]), None) if makers else None


def build_server(
    title: str, module: Module, name: str, packages: frozenset[str], health: str
) -> tuple[Recipe, str]:
    app = f"{module.name}:{name}"
    if title == "Flask":
        extra = "" if "gunicorn" in packages else "gunicorn"
        folder = " --chdir src" if module.is_below_src else ""
        command = f'gunicorn --bind "127.0.0.1:$PORT"{folder} {shlex.quote(app)}'
    else:
        extra = "" if packages & {"uvicorn", "fastapi-cli"} else "uvicorn"
        flags = " --app-dir src" if module.is_below_src else ""
        flags += " --factory" if app.endswith("()") else ""
        command = f'uvicorn --host 127.0.0.1 --port "$PORT"{flags} {app.removesuffix("()")}'
    return Recipe(title, command=f"exec .venv/bin/{command}", health=health), extra


def find_django(folder: Path, packages: frozenset[str]) -> tuple[Recipe, str] | None:
    found = re.search(
        r"DJANGO_SETTINGS_MODULE['\"],\s*['\"]([\w.]+)", read_text(folder / "manage.py")
    )
    if found is None:
        return None
    settings = folder / Path(*found[1].split("."))
    texts = [read_text(path) for path in [settings.with_suffix(".py"), *settings.glob("*.py")]]
    project = found[1].split(".")[0]
    release = ".venv/bin/python manage.py migrate --noinput"
    if any(re.search(r"^STATIC_ROOT\s*=", text, re.MULTILINE) for text in texts):
        release += "\n.venv/bin/python manage.py collectstatic --noinput"
    extra = "" if "gunicorn" in packages else "gunicorn"
    command = f'exec .venv/bin/gunicorn --bind "127.0.0.1:$PORT" {project}.wsgi'
    health = find_health(folder)
    health = "" if health == "/" else health
    return Recipe("Django", "", command, release, health=health), extra
