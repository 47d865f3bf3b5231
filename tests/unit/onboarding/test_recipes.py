from __future__ import annotations

import re
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from nvoi.config.loader import load
from nvoi.config.schema import Application, Healthcheck
from nvoi.onboarding.adoption import AnswerSource, adopt
from nvoi.onboarding.checkout import DEFAULT_PORT, read_checkout
from nvoi.onboarding.document import compose
from nvoi.onboarding.recipes import find_recipe
from nvoi.onboarding.sources import find_health
from tests.apps import APPS, write_app
from tests.unit.onboarding.proposals.reading import write

PAGE = (Path(__file__).parents[3] / "docs/recipes.md").read_text()
SECTIONS = {
    "flask": "Flask",
    "django": "Django",
    "fastapi": "FastAPI",
    "express": "Express",
    "rails": "Rails",
    "static": "A static site",
    "go": "Go",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


def propose(folder: Path) -> Application:
    """The app as the checkout alone has it on this machine, through the config's text."""
    adopted = adopt(AnswerSource(folder, None, {}), read_checkout(folder, {}))
    assert not adopted.lacking
    text = compose(None, None, adopted.answers, folder)
    return load(text, filename="f", environ=None).application


@pytest.mark.parametrize(("kind", "title"), SECTIONS.items())
def test_the_page_on_recipes_shows_what_is_offered(checkout: Path, kind: str, title: str) -> None:
    write_app(checkout, kind)
    section = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section
    block = re.search(r"```yaml\n(.*?)```", section[1], re.DOTALL)
    assert block
    shown = load(block[1], filename="f", environ={"SECRET_KEY_BASE": "x"}).application
    offered = propose(checkout)
    # Another, where a program of this machine has the usual one.
    offered = replace(offered, app={"web": replace(offered.app["web"], port=DEFAULT_PORT)})
    assert offered.secrets.keys() == shown.secrets.keys()
    assert replace(offered, secrets={}) == replace(shown, secrets={})


def test_without_a_question_the_port_is_one_that_is_free(checkout: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        write(checkout, {"Dockerfile": f"FROM scratch\nEXPOSE {taken}\nCMD serve\n"})
        adopted = adopt(AnswerSource(checkout, None, {}), read_checkout(checkout, {}))
    [web] = adopted.answers.apps
    assert web.port
    assert web.port > taken
    assert f"web has port {web.port}: {taken} is taken on this machine." in adopted.told


PYPROJECT = '[project]\nname = "x"\n'
VITE = '{"scripts": {"build": "vite build"}, "devDependencies": {"vite": "6"}}'
NEXT = '{"scripts": {"start": "next start", "build": "next build"}}'


@pytest.mark.parametrize(
    ("files", "command", "install"),
    [
        # A factory, in a package below src; the server is named by the app itself.
        (
            {
                "requirements.txt": "Flask\ngunicorn\n",
                "src/shop/__init__.py": "def create_app():\n    return Flask(__name__)\n",
            },
            "gunicorn --bind \"127.0.0.1:$PORT\" --chdir src 'shop:create_app()'",
            "-r requirements.txt\n",
        ),
        (
            {"requirements.txt": "fastapi[all]\nuvicorn\n", "app/main.py": "api = FastAPI()\n"},
            '--port "$PORT" app.main:api',
            "-r requirements.txt\n",
        ),
        ({"requirements.txt": "requests\n", "bot.py": "run()\n"}, "python bot.py", "requests"),
        (
            {"pyproject.toml": f"{PYPROJECT}dependencies = ['flask']\n", "app.py": "a = Flask(1)"},
            "app:a",
            ' --progress-bar off -r "$venv/requirements.txt" gunicorn',
        ),
        (
            {"pyproject.toml": f"{PYPROJECT}[build-system]\nrequires = []\n", "app.py": ""},
            "python app.py",
            ".venv/bin/python -m pip install --disable-pip-version-check --progress-bar off .\n",
        ),
        (
            {"uv.lock": "version = 1\n", "pyproject.toml": PYPROJECT, "app.py": ""},
            "python app.py",
            'UV_PROJECT_ENVIRONMENT="$venv" "$venv/bin/python" -m uv sync --frozen --no-dev',
        ),
        # What installs the checkout itself is a part of the release.
        ({"requirements.txt": "-e .\n", "app.py": ""}, "python app.py", "venv --clear .venv"),
        (
            {"package.json": NEXT, "yarn.lock": "# yarn"},
            "exec npm start",
            "yarn install --frozen-lockfile --non-interactive --production=false\nnpm run build",
        ),
        (
            {"package.json": '{"main": "server.js"}', "server.js": "listen(process.env.PORT)"},
            "exec node server.js",
            "npm install --no-audit --no-fund --omit=dev",
        ),
        (
            {"package.json": VITE},
            '--directory dist "$PORT"',
            "npm run build",
        ),
        (
            {"Gemfile.lock": "GEM\n    puma (6)\n", "config.ru": ""},
            "bundle exec puma --bind",
            "bundle install",
        ),
        (
            {"go.mod": "module x\n", "cmd/web/main.go": "package main\n"},
            "exec .bin/app",
            "./cmd/web",
        ),
        ({"public/index.html": ""}, '--bind 127.0.0.1 --directory public "$PORT"', ""),
    ],
)
def test_each_kind_of_checkout_is_prepared_and_started(
    checkout: Path, files: dict[str, str], command: str, install: str
) -> None:
    write(checkout, files)
    recipe = find_recipe(checkout)
    assert recipe
    assert command in recipe.command
    assert install.replace("requests", "requirements.txt") in recipe.prepare


def test_a_file_that_others_include_makes_another_venv_too(checkout: Path) -> None:
    text = "-r base.txt\n-r missing.txt\nflask\n"
    write(checkout, {"requirements.txt": text, "base.txt": "x\n"})
    recipe = find_recipe(checkout)
    assert recipe
    assert "cat requirements.txt base.txt;" in recipe.prepare


def test_settings_of_tools_alone_are_no_app(checkout: Path) -> None:
    write(checkout, {"pyproject.toml": "[tool.ruff]\nline-length = 100\n"})
    assert find_recipe(checkout) is None
    write(checkout, {"pyproject.toml": "broken"})
    assert find_recipe(checkout) is None
    write(checkout, {"pyproject.toml": "tool = 1\n[project]\nname = 'x'\n"})
    assert find_recipe(checkout)
    many = "a." * 60
    text = f'{PYPROJECT}a = "{many}"\nb = \'{many}\'\nc = """\n{many}"""  # {many}\n'
    write(checkout, {"pyproject.toml": text})
    assert find_recipe(checkout)


def test_a_procfiles_commands_find_the_programs_of_the_recipe(checkout: Path) -> None:
    write_app(checkout, "flask")
    procfile = (
        "web: gunicorn app:app\nrelease: flask db upgrade\nworker: python work.py && echo x\n"
    )
    write(checkout, {"Procfile": procfile})
    web, worker = propose(checkout).app.values()
    path = 'PATH="$PWD/.venv/bin:$PATH" && '
    assert web.command == f"{path}exec gunicorn app:app"
    assert web.pre_run_command
    assert web.pre_run_command.rstrip().endswith(f"{path}exec flask db upgrade")
    assert worker.command == f"{path}python work.py && echo x"
    assert worker.pre_run_command is None
    assert (web.healthcheck, worker.healthcheck) == (Healthcheck(), None)


def test_a_rails_app_with_its_key_has_no_other(checkout: Path) -> None:
    write_app(checkout, "rails")
    write(checkout, {"config/master.key": "0123456789abcdef\n"})
    secrets = propose(checkout).secrets
    assert {name: value.reveal() for name, value in secrets.items()} == {
        "RAILS_MASTER_KEY": "0123456789abcdef"
    }


def test_what_an_image_starts_is_started_here_with_the_port_it_is_told(checkout: Path) -> None:
    dockerfile = 'FROM x\nWORKDIR /app\nEXPOSE 3000\nCMD ["/app/bin/serve", "--port=3000"]\n'
    write(checkout, {"Dockerfile": dockerfile})
    (web,) = propose(checkout).app.values()
    assert web.command == "./bin/serve --port=$PORT"
    assert web.port == 3000


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('@app.route("/healthz")', "/healthz"),
        ("app.get('/', x)\napp.get('/api/health', y)", "/api/health"),
        ('path("health/", view)', "/health/"),
        ('@app.get("/")', "/"),
        ('http.HandleFunc("GET /up", f)', "/up"),
        ("x = 1", ""),
    ],
)
def test_a_health_page_is_found_in_the_code(checkout: Path, text: str, path: str) -> None:
    write(checkout, {"app.py": text, "node_modules/x/i.js": '"/health"', "tests/a.py": '"/up"'})
    assert find_health(checkout) == path


@pytest.mark.parametrize("kind", APPS)
def test_the_recipe_of_each_app_is_a_valid_shell_script(checkout: Path, kind: str) -> None:
    write_app(checkout, kind)
    for app in propose(checkout).app.values():
        for text in (app.command or "", app.pre_run_command or ""):
            subprocess.run(["/bin/sh", "-n", "-c", text], check=True)
