"""The installed ``nvoi`` command, run on a tiny app of its own that a test holds at a gate."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TextIO
from unittest import mock

from nvoi.cli import main
from nvoi.targets.local.processes import find_marked
from tests.integration.forkserver import ForkedProcess
from tests.integration.streams import KEY
from tests.waiting import PATIENCE, wait_for_end, wait_until

#: The command as a user has it: the one installed beside this interpreter.
NVOI = Path(sys.executable).with_name("nvoi")

#: What `pre_run_command` does: it says something, waits for the gate, says more, and ends.
SCRIPT = "echo before; until [ -e {gate} ]; do sleep 0.05; done; {body}; exit {status}"

_CALLBACK_LOGGER = "nvoi.callback"


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said with ``--log-format json``."""

    code: int
    output: str
    errors: str
    file: Path | None

    @cached_property
    def console(self) -> list[dict[str, Any]]:
        """Every record of the console, without the result that ends it."""
        lines = [json.loads(line) for line in self.output.splitlines()]
        return [line for line in lines if "result" not in line]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The run's own records, as the protocol has them."""
        return [
            {"level": line["level"], "message": line["message"], "logged_at": line["time"]}
            for line in self.console
            if line["logger"] != _CALLBACK_LOGGER
        ]

    @property
    def summary(self) -> str:
        """The last word on the callback: what was delivered, retried and lost."""
        return self._about[-1]

    @property
    def troubles(self) -> list[str]:
        """What else the console said of the callback."""
        return self._about[:-1]

    @property
    def _about(self) -> list[str]:
        return [line["message"] for line in self.console if line["logger"] == _CALLBACK_LOGGER]

    @property
    def closing_seconds(self) -> float:
        """From the run's own last record to the summary of its callback."""
        own = [line["time"] for line in self.console if line["logger"] != _CALLBACK_LOGGER]
        end = datetime.fromisoformat(self.console[-1]["time"])
        return (end - datetime.fromisoformat(own[-1])).total_seconds()


class Running:
    """A command that was started.

    Args:
        words: its arguments.
        folder: where its output is gathered.
        environ: its whole environment.
        home: where it keeps what was not delivered.
        is_forked: whether it is forked from a process that has imported nvoi already.
    """

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        environ: Mapping[str, str],
        home: Path,
        *,
        is_forked: bool = False,
    ) -> None:
        number = len(list(folder.glob("*.out")))
        self._output, self._errors = folder / f"{number}.out", folder / f"{number}.err"
        self._home = home
        self._known = set(self._find_files())
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self.process: subprocess.Popen[bytes] | ForkedProcess = (
                ForkedProcess(words, output, errors, environ)
                if is_forked
                else subprocess.Popen(
                    [NVOI, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    env=dict(environ),
                    start_new_session=True,
                )
            )

    def read_output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text("utf-8")

    def wait_for(self, text: str) -> None:
        """Wait until its output has ``text``; a command that ends without it has failed."""

        def has_come() -> bool:
            is_over = self.process.poll() is not None
            output = self.read_output()
            assert text in output or not is_over, f"it ended without {text!r}: {output}"
            return text in output

        wait_until(has_come, repr(text))

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> Outcome:
        """Wait for its end."""
        code = wait_for_end(self.process, timeout)
        new = set(self._find_files()) - self._known
        assert len(new) <= 1, new
        errors = self._errors.read_text("utf-8")
        return Outcome(code, self.read_output(), errors, new.pop() if new else None)

    def _find_files(self) -> list[Path]:
        return list((self._home / "undelivered.d").glob("*"))


class App:
    """An app with one service, in a temporary folder; deleted at the end of ``with``.

    Its ``pre_run_command`` says ``before`` and waits until :meth:`open_gate`.

    Args:
        callback_url: where its runs are told.
        body: what ``pre_run_command`` does behind the gate.
        fails: whether ``pre_run_command`` fails at last.

    Attributes:
        starts_installed: whether commands are the installed one, which has yet to import nvoi.
    """

    def __init__(self, callback_url: str, *, body: str = "echo after", fails: bool = False) -> None:
        # Short: the socket of supervisord must fit in 108 bytes, and pytest's folders are long.
        self._folder = Path(tempfile.mkdtemp(prefix="nv-"))
        self.home = self._folder / "home"
        self._gate = self._folder / "gate"
        checkout = self._folder / "checkout"
        checkout.mkdir()
        (checkout / "README").write_text("an app")
        script = SCRIPT.format(gate=self._gate, body=body, status=3 if fails else 0)
        service = {"command": "exec sleep 600", "pre_run_command": script}
        application = {"name": "tiny", "compute_provider": {"local": {}}, "app": {"work": service}}
        self._config = self._folder / "told.yml"
        self._config.write_text(
            json.dumps({"callback_url": callback_url, "application": application})
        )
        self.starts_installed = False
        self._running: list[Running] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for running in self._running:
            running.process.kill()
            running.process.wait()
        end_marked(NVOI_STATE=str(self.home / "tiny"))
        shutil.rmtree(self._folder)

    def start(self, verb: str = "deploy", *options: str, **environ: str) -> Running:
        """Start a command on the app; ``environ`` adds to its environment."""
        place = ("-c", str(self._config), "-d", str(self._folder / "checkout"))
        words = (verb, *place, *options, "--log-format", "json")
        whole = build_environment(self._folder) | {"NVOI_HOME": str(self.home), **environ}
        is_forked = not self.starts_installed
        running = Running(words, self._folder, whole, self.home, is_forked=is_forked)
        self._running.append(running)
        return running

    def open_gate(self) -> None:
        """Let ``pre_run_command`` go on."""
        self._gate.touch()


def run_nvoi(
    *words: str, folder: Path, environ: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder to its end; ``environ`` is its whole environment.

    It is forked from a process that has imported nvoi already.
    """
    with open_output() as output, open_output() as errors:
        process = ForkedProcess(words, output.buffer, errors.buffer, environ, folder)
        try:
            code = process.wait(2 * PATIENCE)
        finally:
            process.kill()
        return gather(words, code, output, errors)


def call_nvoi(
    *words: str, folder: Path, environ: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """As :func:`run_nvoi`, in this process: where what counts is not that it is one of its own.

    To start Python and to import nvoi takes more time than most commands do.
    """
    with (
        open_output() as output,
        open_output() as errors,
        Path(os.devnull).open(encoding="utf-8") as nothing,
        mock.patch.dict(os.environ, environ, clear=True),
        mock.patch.multiple(sys, stdin=nothing, stdout=output, stderr=errors),
        contextlib.chdir(folder),
        keep_logging(),
    ):
        code = main(words)
        return gather(words, code, output, errors)


def open_output() -> TextIO:
    return tempfile.TemporaryFile("w+", encoding="utf-8")


def gather(
    words: Sequence[str], code: int, output: TextIO, errors: TextIO
) -> subprocess.CompletedProcess[str]:
    for file in (output, errors):
        file.seek(0)
    return subprocess.CompletedProcess(words, code, output.read(), errors.read())


@contextlib.contextmanager
def keep_logging() -> Iterator[None]:
    """Take back what a command changes of its process's logging, which usually ends with it."""
    logger = logging.getLogger("nvoi")
    handlers, level, propagate = [*logger.handlers], logger.level, logger.propagate
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def run_resend(file: Path, folder: Path, *options: str, **environ: str) -> Outcome:
    """``nvoi resend FILE`` to its end, in this process."""
    words = build_resend(file, folder, options)
    done = call_nvoi(*words, folder=folder, environ=build_environment(folder) | environ)
    return Outcome(done.returncode, done.stdout, done.stderr, None)


def start_resend(file: Path, folder: Path, *options: str, **environ: str) -> Running:
    """``nvoi resend FILE``, for the checkout ``folder``."""
    words = build_resend(file, folder, options)
    return Running(words, folder, build_environment(folder) | environ, folder / "home")


def build_resend(file: Path, folder: Path, options: Sequence[str]) -> list[str]:
    return ["resend", str(file), "--dir", str(folder), "--log-format", "json", *options]


def build_environment(folder: Path) -> dict[str, str]:
    """An environment with the key, without a CI, a proxy, or anything else of this machine's."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "DEPLOY_KEY": KEY,
        "NVOI_DEPLOY_ID": "run-1",
    }


def end_marked(**marks: str) -> None:
    """Kill all that was started with ``marks`` in its environment, until nothing of it is left."""

    def kill_all() -> bool:
        pids = find_marked(marks)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    wait_until(kill_all, "all processes to end")
