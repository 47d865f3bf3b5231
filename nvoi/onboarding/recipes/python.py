"""Recipes for Python: a venv, kept while the file that names the packages is unchanged.

A venv cannot be moved, and one that serves must not change: each has a folder in a volume, named
after what it was made of, and releases have a link to theirs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nvoi.onboarding.recipes.recipe import Recipe
from nvoi.onboarding.sources import find_health, is_file, list_sources, load_toml, read_text

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
KEPT_PYTHON = '"$venv/bin/python"'
PIP = "-m pip install --disable-pip-version-check --progress-bar off"
#: The packages of a pyproject.toml without those of tools, a line each.
READ_DEPENDENCIES = (
    'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))'
    '["project"].get("dependencies", []), sep="\\n")'
)
#: Lines of requirements.txt that name other files, and those that install the checkout itself.
INCLUDED = re.compile(r"^[ \t]*(?:-r|-c|--requirement|--constraint)[ =]*(\S+)", re.MULTILINE)
ITSELF = re.compile(
    r"^[ \t]*(?:-e[ \t]*|--editable[ =]*)?\.{1,2}(?:/\S*)?(?:\[|\s|$)", re.MULTILINE
)
PACKAGE = re.compile(r"^[ \t\"']*([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)
#: Where an app object, or what makes one, is defined at the top of a module.
OBJECTS = {
    "Flask": re.compile(r"^(\w+)[ \t]*(?::[^=\n]+)?=\s*(?:flask\.)?Flask\(", re.MULTILINE),
    "FastAPI": re.compile(r"^(\w+)[ \t]*(?::[^=\n]+)?=\s*(?:fastapi\.)?FastAPI\(", re.MULTILINE),
    "Starlette": re.compile(r"^(\w+)[ \t]*(?::[^=\n]+)?=\s*(?:\w+\.)*Starlette\(", re.MULTILINE),
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
        content = load_toml(read_text(folder / "pyproject.toml"))
    except (ValueError, RecursionError):
        return {}
    return content if find_table(content, "project") or find_table(content, "tool.poetry") else {}


def find_table(content: Any, path: str) -> dict[str, Any]:
    """The table at a path of keys; an empty one where there is none."""
    for key in path.split("."):
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def find_project_name(folder: Path) -> str:
    return str(find_table(read_project(folder), "project").get("name") or "")


def find_packages(requirements: str, project: dict[str, Any]) -> frozenset[str]:
    """The names of the packages that the app itself names, in small letters."""
    names = {match[1] for match in PACKAGE.finditer(requirements)}
    listed = find_table(project, "project").get("dependencies")
    for text in listed if isinstance(listed, list) else []:
        names |= {match[1] for match in [PACKAGE.match(str(text))] if match}
    names |= set(find_table(project, "tool.poetry.dependencies"))
    return frozenset(re.sub(r"[._]+", "-", name.lower()) for name in names)


def build_preparation(
    folder: Path, project: dict[str, Any], requirements: str, server: str
) -> tuple[str, Recipe]:
    """The file that names the packages, and the recipe that installs them, with the ``server``."""
    extra = f" {server}" if server else ""
    if project and (folder / "uv.lock").is_file():
        flags = "" if (folder / "src").is_dir() else " --no-install-project"
        sync = f"-m uv sync --frozen --no-dev --inexact{flags}"
        if not flags:
            return "uv.lock", build_fresh(f"{PIP} uv{extra}", sync)
        sync = f'UV_PROJECT_ENVIRONMENT="$venv" {KEPT_PYTHON} {sync}'
        return "uv.lock", build_kept(["uv.lock"], f"{KEPT_PYTHON} {PIP} uv{extra}", sync)
    if requirements:
        install = f"{PIP} -r requirements.txt{extra}"
        if ITSELF.search(requirements):
            return "requirements.txt", build_fresh(install)
        included = [name for name in INCLUDED.findall(requirements) if is_file(folder / name)]
        files = ["requirements.txt", *included]
        return "requirements.txt", build_kept(files, f"{KEPT_PYTHON} {install}")
    if project.get("build-system") or not find_table(project, "project"):
        return "pyproject.toml", build_fresh(f"{PIP} .{extra}")
    read = f'{KEPT_PYTHON} -c {shlex.quote(READ_DEPENDENCIES)} > "$venv/requirements.txt"'
    install = f'{KEPT_PYTHON} {PIP} -r "$venv/requirements.txt"{extra}'
    return "pyproject.toml", build_kept(["pyproject.toml"], read, install)


def build_kept(files: Sequence[str], *lines: str) -> Recipe:
    """A venv that is kept while the ``files`` are unchanged, the first of which names packages."""
    quoted = " ".join(map(shlex.quote, files))
    prepare = KEPT.format(lock=files[0], files=quoted, install="\n  ".join(lines))
    return Recipe("", prepare, mounts={VOLUME: MOUNT})


def build_fresh(*commands: str) -> Recipe:
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
