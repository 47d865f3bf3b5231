"""Where the demo lives: a private folder with an app, its config and its key."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from nvoi import process
from nvoi.config.credentials import KEY_VARIABLES
from nvoi.config.sealing import CONFIG_FILE, KEY_FILE, encrypt, generate_key
from nvoi.errors import NvoiError
from nvoi.files import write_private
from nvoi.secret import Secret
from nvoi.signals import Signals
from nvoi.targets.local.processes import is_port_free

HELLO = Path(__file__).with_name("hello")

#: The app's name, and so that of its folder below nvoi's home.
APP = "hello"
GREETING = "Hello from the nvoi demo"

#: What the healthy app answers, and what it answers once somebody made a mistake.
HEALTHY = 'self.answer(200, "text/plain", "ok\\n")'
BROKEN = """self.log_error("no such table: greetings")
            self.answer(500, "text/plain", "not well\\n")"""

#: Seconds for a release to become healthy; a mistake shows itself for as long.
GOOD_SECONDS, BAD_SECONDS = 20, 4

#: The app's port is one of these. They are below those that the system gives to connections
#: (Linux, ip_local_port_range): nothing takes it by chance until the app has it.
FIRST_PORT, PORTS = 20_000, 10_000

#: Seconds that git may take for some files.
GIT_SECONDS = 10

#: Seconds that a command of nvoi's has for its end before it is killed. A deploy takes back what
#: it did, and waits for its services to stop: 10 s each time.
STOP_SECONDS = 45.0

#: Taken from the environment of all that the demo starts: the demo has its own of these,
#: and a git that is in the middle of something has its own checkout in GIT_….
OWN_VARIABLES = frozenset({*KEY_VARIABLES, "NVOI_DEPLOY_ID", "NVOI_HOME", "NVOI_DEBUG"})

CONFIG = """\
# The config of the demo: hello, on this machine, followed by the demo's dashboard.
callback_url: {callback_url}

application:
  name: {name}
  compute_provider:
    local: {{}}
  env:
    GREETING: {greeting}
  secrets:
    API_TOKEN: {token}
  app:
    web:
      command: exec {python} app.py
      port: {port}
      min_ready: 0
      # Runs once in each new release, before it takes over.
      pre_run_command: |
        echo "Getting release $(basename "$PWD") ready with $({python} --version)"
        echo "A secret is masked wherever it comes up: API_TOKEN=$API_TOKEN"
        for table in users orders greetings visits; do
          echo "Here an app would migrate its data: $table"
          sleep {pause}
        done
        for part in 1 2 3 4 5; do
          echo "Here an app would build its pages: part $part of 5"
          sleep {pause}
        done
        echo "Ready"
      healthcheck:
        path: /health
        interval: 1s
        retries: {retries}
"""


@dataclass(frozen=True)
class Place:
    """The demo's folder, mode 0700, and what is in it.

    ::

        <folder>/
          hello/        the app's checkout, with deploy.enc and deploy.key
          home/         nvoi's own state (NVOI_HOME)
          dashboard/    the dashboard's database and what it printed

    ``environ`` is what the demo was started with, ``signals`` are kept away while something is
    started or taken down, ``pause`` is the seconds between two lines of ``pre_run_command``.
    """

    folder: Path
    environ: Mapping[str, str]
    signals: Signals
    app_port: int
    pause: float

    @property
    def checkout(self) -> Path:
        return self.folder / APP

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def state(self) -> Path:
        return self.home / APP

    @property
    def dashboard(self) -> Path:
        return self.folder / "dashboard"

    @property
    def key_file(self) -> Path:
        """The key that opens the config and signs what the dashboard is sent."""
        return self.checkout / KEY_FILE

    @property
    def app_url(self) -> str:
        return f"http://127.0.0.1:{self.app_port}"

    @property
    def options(self) -> list[str]:
        """Those by which a command finds the app, whatever the environment says."""
        return ["--dir", str(self.checkout), "--key-file", str(self.key_file)]

    def build_environ(self, **more: str) -> dict[str, str]:
        """The environment of what the demo starts: no key or home but the demo's own."""
        kept = {
            name: value
            for name, value in self.environ.items()
            if name not in OWN_VARIABLES and not name.startswith("GIT_")
        }
        return {**kept, "NVOI_HOME": str(self.home), **more}


def make_folder() -> Path:
    """A new folder that only this user can look into, by its real path."""
    try:
        return Path(tempfile.mkdtemp(prefix="nvoi-demo-")).resolve()
    except OSError as error:
        raise NvoiError(
            f"the demo cannot make a temporary folder: {error.strerror}",
            hint="set TMPDIR to a folder that can be written to",
        ) from error


def find_port(avoid: int) -> int:
    while True:
        port = FIRST_PORT + secrets.randbelow(PORTS)
        if port != avoid and is_port_free(port):
            return port


def fill(place: Place) -> None:
    shutil.copytree(HELLO, place.checkout, ignore=shutil.ignore_patterns("__pycache__"))
    # It has ports and a greeting that are not the demo's.
    (place.checkout / "deploy.yml").unlink()
    (place.checkout / ".gitignore").write_text(f"{KEY_FILE}\n", "utf-8")
    for folder in (place.home, place.dashboard):
        folder.mkdir(mode=0o700)
    write_private(place.key_file, f"{generate_key().reveal()}\n".encode(), replace=False)


def write_config(
    place: Place, callback_url: str, token: Secret, *, seconds: int = GOOD_SECONDS
) -> None:
    """Write deploy.enc, encrypted with the place's key.

    ``token`` is the app's secret, ``seconds`` how long a release may take to become healthy.
    """
    text = CONFIG.format(
        callback_url=callback_url,
        name=APP,
        greeting=GREETING,
        token=token.reveal(),
        python=shlex.quote(sys.executable),
        port=place.app_port,
        pause=place.pause,
        retries=seconds,
    )
    key = Secret(place.key_file.read_text("ascii").strip())
    write_private(place.checkout / CONFIG_FILE, encrypt(text.encode(), key))


def break_app(place: Place) -> None:
    """Make the mistake that the second release has: its health page answers 500."""
    path = place.checkout / "app.py"
    source = path.read_text("utf-8")
    if HEALTHY not in source:
        raise NvoiError(f"{path} does not answer its health page as the demo expects")
    path.write_text(source.replace(HEALTHY, BROKEN), "utf-8")


def commit(place: Place, message: str) -> None:
    """Commit the checkout, so that its deploys have a sha and a ref; without git they have none.

    The user's own settings of git, hooks and signing among them, have no part in it.
    """
    author = {"NAME": "nvoi demo", "EMAIL": "demo@localhost"}
    own = {f"GIT_{who}_{k}": v for who in ("AUTHOR", "COMMITTER") for k, v in author.items()}
    own |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", message]):
        git = ["git", "-C", str(place.checkout), *words]
        if process.ask(git, place.build_environ(**own), seconds=GIT_SECONDS) is None:
            return


def build_command(words: Sequence[str]) -> list[str]:
    """A command of nvoi's as it runs here, whatever lies in the folder that it is started in."""
    return [sys.executable, "-P", "-m", "nvoi", *words]


@contextmanager
def start(
    place: Place, words: Sequence[str], *, output: Path | None = None, **environ: str
) -> Iterator[process.Process]:
    """A command of nvoi's that runs for no longer than the ``with`` block.

    It has a session of its own: Ctrl-C in a terminal reaches the demo alone, which ends what it
    has started in its order. It prints to ``output``, or to where the demo does.
    """
    with ExitStack() as stack:
        with place.signals.hold():
            target = stack.enter_context(output.open("wb")) if output else None
            child = process.start(
                build_command(words),
                place.build_environ(**environ),
                output=target,
                errors=subprocess.STDOUT if target else None,
            )
            stack.callback(stop, child, place.signals)
        yield child


def stop(child: process.Process, signals: Signals) -> None:
    """The signal that ends the demo, or SIGTERM, and SIGKILL to one that does not end."""
    if child.poll() is not None:
        return
    with signals.hold():
        child.send_signal(signals.number or signal.SIGTERM)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
