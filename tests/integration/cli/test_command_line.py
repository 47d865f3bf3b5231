"""The installed command: its output, its exit codes, and a deploy from a config to a URL."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pexpect  # type: ignore[import-untyped]  # it has none
import pytest

from nvoi.cli.commands import COMMANDS
from tests.fakes.receiver import Receiver
from tests.integration.commands import NVOI, call_nvoi, end_marked, run_nvoi
from tests.ports import find_port
from tests.waiting import PATIENCE, fetch_from, run_program

KEY = "fedcba9876543210" * 4
EXAMPLE = Path(__file__).parents[3] / "examples" / "hello"


Start = Callable[..., subprocess.CompletedProcess[str]]
TAKES_CONFIG = {"deploy", "delete", "rollback", "releases", "unlock"}


@dataclass
class App:
    """A copy of examples/hello on a port of its own."""

    directory: Path
    home: Path
    port: int
    environ: dict[str, str] = field(default_factory=dict)

    def write_config(self, callback_url: str | None = None, **changes: str) -> None:
        text = (EXAMPLE / "deploy.yml").read_text().replace("8000", str(self.port))
        for old, new in changes.items():
            text = text.replace(old, new)
        text = text.replace("    web:\n", "    web:\n      min_ready: 0\n")
        head = f"callback_url: {callback_url}\n" if callback_url else ""
        (self.directory / "deploy.yml").write_text(head + text)

    def run(
        self,
        *words: str,
        environ: Mapping[str, str] = MappingProxyType({}),
        start: Start = run_nvoi,
    ) -> subprocess.CompletedProcess[str]:
        """A command on the app's config."""
        place = ["-c", "deploy.yml"] if words and words[0] in TAKES_CONFIG else []
        whole = {**self.environ, **environ}
        return start(*words, *place, folder=self.directory, environ=whole)

    def call(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """A command on the app's config in this process: one that ends before any step."""
        return self.run(*words, environ=environ, start=call_nvoi)

    def fetch(self, path: str = "") -> str:
        return fetch_from(self.port, path)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    directory = tmp_path / "app"
    directory.mkdir()
    for name in ("app.py", "deploy.yml"):
        (directory / name).write_bytes((EXAMPLE / name).read_bytes())
    home = tmp_path / "home"
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NVOI_HOME": str(home)}
    app = App(directory, home, find_port(), environ)
    app.write_config()
    yield app
    for conf in tmp_path.rglob("supervisord.conf"):
        end_marked(NVOI_STATE=str(conf.parents[1]))


def test_the_version_is_printed_by_the_command_and_the_module() -> None:
    for command in ([NVOI], [sys.executable, "-m", "nvoi"]):
        assert re.fullmatch(r"nvoi \d+\.\d+\.\d+\n", run_program(*command, "--version"))


@pytest.mark.parametrize(
    ("words", "usage", "end"),
    [
        ([], "[-h]", "error: name one of these commands"),
        (["credentials"], "credentials", "error: name one of these commands"),
        (["bogus"], "[-h]", "bogus is unknown"),
        (["depoly"], "[-h]", "; did you mean deploy?"),
        (["deploy", "--bogus"], "deploy", "unknown option: --bogus"),
        (["deploy", "--dryrun"], "deploy", "; did you mean --dry-run?"),
        (["deploy", "--log-format", "jsom"], "deploy", "; did you mean json?"),
        (["deploy", "-q", "-v"], "deploy", "not allowed with argument -q/--quiet"),
        (["credentials", "gte"], "credentials", "; did you mean get?"),
        (["dashboard", "project", "add", "shop", "--dbb=x"], "dashboard", "; did you mean --db?"),
        (["resend"], "resend", "required: FILE"),
        (["completion", "x"], "completion", "it is one of bash, zsh, fish, powershell"),
        (["rollback", "v1.2"], "rollback", "its name has 14 digits"),
        (["demo", "--port=65536"], "demo", "argument --port: 65536 is no port"),
    ],
)
def test_bad_usage_exits_2_and_shows_the_usage_and_the_nearest_word(
    app: App, words: list[str], usage: str, end: str
) -> None:
    result = app.call(*words)
    assert result.returncode == 2
    assert result.stderr.startswith(f"usage: nvoi {usage}")
    assert end in result.stderr.splitlines()[-1]
    if "name one" in end:
        assert f"\n    {'edit' if words else 'onboard'} " in result.stderr


@pytest.mark.parametrize("command", [*(command.name for command in COMMANDS), "config init"])
def test_each_command_explains_itself(app: App, command: str) -> None:
    result = app.call(*command.split(), "-h")
    assert result.returncode == 0
    assert f"usage: nvoi {command}" in result.stdout
    assert "examples:" in result.stdout or command == "config"


COMPLETING = {
    "bash": """\
source <(nvoi completion bash)
complete_words() {{
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _nvoi
    [ -z "$COMPREPLY" ] || printf '%s\\n' "${{COMPREPLY[@]}}"
    # As bash itself, for a function with "-o default".
    [ -n "$COMPREPLY" ] || compgen -f -- "${{COMP_WORDS[COMP_CWORD]}}"
}}
{lines}
""",
    "zsh": """\
compdef() {{ : }}
_describe() {{ print -l -- "${{(@P)2}}" }}
_files() {{ print -l ${{words[CURRENT]}}*(N) }}
source <(nvoi completion zsh)
complete_words() {{
    words=("$@") CURRENT=$#
    _nvoi
}}
{lines}
""",
    "fish": """\
nvoi completion fish | source
function complete_words
    complete -C (string join ' ' -- $argv)
end
{lines}
""",
}
COMPLETED = {
    "nvoi ro": {"rollback"},
    "nvoi deploy --lo": {"--log-format", "--lock-wait"},
    "nvoi deploy --log-format ''": {"text", "json"},
    "nvoi deploy --config de": {"deploy.yml"},
}


@pytest.mark.parametrize("shell", COMPLETING)
def test_a_shell_completes_commands_options_values_and_files(app: App, shell: str) -> None:
    lines = "\n".join(f"complete_words {words}\necho '==='" for words in COMPLETED)
    environ = {**app.environ, "PATH": f"{NVOI.parent}:{os.environ['PATH']}"}
    script = COMPLETING[shell].format(lines=lines)
    printed = run_program(shell, "-c", script, environ=environ, folder=app.directory)
    *found, end = printed.split("===\n")
    assert end == ""
    told = [{re.split("[\t:]", line)[0] for line in part.splitlines()} for part in found]
    assert dict(zip(COMPLETED, told, strict=True)) == COMPLETED


def test_powershell_is_given_a_script(app: App) -> None:
    result = app.call("completion", "powershell")
    assert result.stdout.startswith("Register-ArgumentCompleter -Native -CommandName nvoi ")


def test_a_deploy_tells_its_steps_their_times_the_url_and_no_command_of_a_ci(app: App) -> None:
    commands = r"echo prepared; printf 'x\r::add-mask::y\n##[add-mask]z\n'"
    app.write_config(**{'echo "prepared"': commands})
    result = app.run("deploy")
    assert result.returncode == 0, result.stdout
    # What an app prints.
    assert r"web: x\r::add-mask::y" in result.stdout
    assert r"web: \x23#[add-mask]z" in result.stdout
    assert "\r" not in result.stdout
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert all(re.match(r"\[\d\d:\d\d:\d\d\] \[[A-Z]+\] ", line) for line in lines)
    steps = [line.partition("[STEP] ")[2] for line in lines if "[STEP]" in line]
    assert steps == [
        "Copy the release",
        "Run pre_run_command",
        "Start supervisord",
        "Try the services",
        "Switch to the new release",
    ]
    assert "web: prepared" in result.stdout
    assert "only its port" not in result.stdout
    release = (app.home / "hello/current").readlink().name
    assert lines[-2].endswith(f"Running at http://localhost:{app.port}")
    assert re.search(
        rf"\[SUCCESS\] Deploy of hello done: release {release}, in [\d.]+ s", lines[-1]
    )
    assert app.fetch("health")


def test_a_deploy_of_the_smallest_app_is_a_dozen_lines_at_most(app: App) -> None:
    git = ["git", "-C", str(app.directory), "-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        run_program(*git, *words)
    sha = run_program(*git, "rev-parse", "--short=7", "HEAD").strip()
    local = "application: {name: hello, compute_provider: {local: {}}, app: {web: {port: %d, %s}}}"
    (app.directory / "deploy.yml").write_text(local % (app.port, "command: python3 app.py"))
    for steps in (4, 3):
        lines = app.run("deploy").stdout.splitlines()
        slow = [line for line in lines if "Where the time went" in line or "%" in line]
        assert len(lines) - len(slow) < 12, lines
        assert sum("[STEP]" in line for line in lines) == steps
        (trial,) = [line for line in lines if "has no healthcheck" in line]
        assert "web passed its trial" in trial
        assert f", commit {sha} with changes, in " in lines[-1]


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("supervisor", [["deploy"], ["deploy", "--dry-run"], ["delete", "--yes"]]),
        ("psutil", [["deploy"]]),
    ],
)
def test_a_missing_extra_exits_2_before_anything_happens(
    app: App, name: str, commands: list[list[str]]
) -> None:
    script = (
        f"import sys; sys.modules[{name!r}] = None\n"
        "from nvoi.cli import main\n"
        f"print([main([*words, '-c', 'deploy.yml']) for words in {commands}])"
    )
    with Receiver(KEY) as receiver:
        app.write_config(receiver.url)
        result = subprocess.run(
            [sys.executable, "-c", script],
            cwd=app.directory,
            env={**app.environ, "DEPLOY_KEY": KEY},
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        assert result.stdout == f"{[2] * len(commands)}\n"
        hint = f"in nvoi's checkout: {sys.executable} -m pip install '.[local]'"
        for told in (f"needs {name}", hint):
            assert result.stderr.count(told) == len(commands)
        assert receiver.requests == []
    assert not app.home.exists()


def test_a_dry_run_finds_a_port_that_is_taken_and_exits_with_1(app: App) -> None:
    with socket.create_server(("127.0.0.1", app.port)):
        result = app.call("deploy", "--dry-run")
        debugged = app.call("deploy", "--dry-run", NVOI_DEBUG="1")
    assert result.returncode == 1
    assert f"port {app.port} of web is taken by" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in debugged.stderr
    assert not app.home.exists()


def test_a_dry_run_tells_the_steps_touches_nothing_and_calls_nobody(app: App) -> None:
    with Receiver(KEY) as receiver:
        app.write_config(receiver.url)
        for command in ("deploy", "delete"):
            result = app.call(command, "--dry-run", DEPLOY_KEY=KEY)
            assert result.returncode == 0, result.stdout
            assert "[STEP]" in result.stdout
        assert receiver.requests == []
    assert not app.home.exists()
    assert sorted(path.name for path in app.directory.iterdir()) == ["app.py", "deploy.yml"]


def test_a_deploy_streams_its_log_and_its_tunnels(app: App) -> None:
    with Receiver(KEY) as receiver:
        app.write_config(receiver.url)
        environ = {"DEPLOY_KEY": KEY, "NVOI_DEPLOY_ID": "run 1"}
        result = app.run("deploy", environ=environ)
        assert result.returncode == 0, result.stdout
        receiver.assert_protocol()
        started, completed = receiver.statuses
        assert started["status"] == "started"
        hostname = f"localhost:{app.port}"
        assert completed["tunnels"] == [{"service_name": "web", "hostname": hostname}]
        assert {request.deploy_id for request in receiver.requests} == {"run 1"}
        *shown, summary = result.stdout.splitlines()
        assert [line.split("] ", 2)[2] for line in shown] == receiver.messages
        assert f"{len(shown)} of {len(shown)} lines delivered" in summary
        assert "0 lost" in summary

        receiver.expect_new_run()
        assert app.run("delete", "--yes", environ=environ).returncode == 0
        assert receiver.statuses[-1]["status"] == "completed"
        assert receiver.statuses[-1]["tunnels"] == []
        receiver.assert_protocol()


def test_a_failed_deploy_is_reported_and_the_old_release_serves_on(app: App) -> None:
    assert app.run("deploy").returncode == 0
    before = app.fetch()
    with Receiver(KEY) as receiver:
        app.write_config(receiver.url, **{"python3 app.py": "python3 missing.py"})
        result = app.run("deploy", environ={"DEPLOY_KEY": KEY})
        assert result.returncode == 1
        receiver.assert_protocol()
        failed = receiver.statuses[-1]
        *_, reason, hint, serving, log, _ = result.stdout.splitlines()
        assert "[ERROR] web exited with 2 after" in reason
        assert "application.app.web.command" in hint
        pattern = r"the release of \d+ seconds? ago still serves at http://localhost:%d$"
        assert re.search(pattern % app.port, serving)
        logfile = Path(log.rpartition(" ")[2])
        assert logfile == app.home / "hello/logs/trial/web.log"
        assert "missing.py" in logfile.read_text()
        assert failed["status"] == "failed"
        assert "missing.py" in failed["error"]
        assert "web" in failed["error"]
    assert "Traceback" not in result.stdout
    assert app.fetch() == before


def test_a_secret_never_reaches_console_or_dashboard(app: App) -> None:
    secret = "s3cret/with+signs=="
    with Receiver(KEY) as receiver:
        app.write_config(
            receiver.url,
            **{
                "  env:\n": f"  secrets:\n    API_TOKEN: {secret}\n  env:\n",
                'echo "prepared"': 'echo "token $API_TOKEN"; echo $API_TOKEN | base64; env; false',
            },
        )
        result = app.run("deploy", "--verbose", environ={"DEPLOY_KEY": KEY})
        assert result.returncode == 1
        assert "Traceback" in result.stdout
        sent = b"".join(request.body for request in receiver.requests).decode()
        receiver.assert_protocol()
    for text in (result.stdout, result.stderr, sent):
        assert secret not in text
        assert "czNjcmV0L3dpdGgrc2lnbnM9P" not in text
        assert KEY not in text
    assert "token [REDACTED]" in result.stdout
    assert "token [REDACTED]" in sent


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"port: ": "prot: "}, "application.app.web.prot"),
        ({"name: hello": "name: Hello World"}, "application.name"),
        ({"local: {}": "hetzner: {}"}, "application.compute_provider.hetzner"),
        ({"command: python3 app.py\n": "\n"}, "application.app.web.command"),
    ],
)
def test_a_fault_in_the_config_exits_2_and_names_its_place(
    app: App, changes: dict[str, str], place: str
) -> None:
    app.write_config(**changes)
    result = app.call("deploy")
    assert result.returncode == 2
    assert place in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    assert not (app.home / "hello" / "releases").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rollback"], "check an earlier commit out"),
        (["rollback", "--dry-run"], "check an earlier commit out"),
        (["releases"], "check an earlier commit out"),
        (["unlock"], "end that run"),
        (["deploy", "--delete-volumes"], "--delete-volumes"),
        (["delete", "--cluster", "--yes"], "--cluster"),
        (["delete", "--cluster", "--dry-run"], "--cluster"),
    ],
)
def test_what_this_machine_does_not_have_exits_2_and_says_what_to_do(
    app: App, words: list[str], told: str
) -> None:
    result = app.call(*words)
    assert result.returncode == 2
    assert "local target" in result.stdout + result.stderr
    assert told in result.stdout + result.stderr
    assert not (app.home / "hello").exists()


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "DEPLOY_KEY"),
        *(({"NVOI_DEPLOY_ID": text}, "NVOI_DEPLOY_ID") for text in ("a\r\nb", "..", "x" * 256)),
    ],
)
def test_a_missing_key_and_a_deploy_id_that_cannot_be_used_exit_2(
    app: App, environ: dict[str, str], told: str
) -> None:
    app.write_config(None if environ else "http://127.0.0.1:9/api")
    result = app.call("deploy", **environ)
    assert result.returncode == 2
    assert told in result.stderr


def test_a_branch_has_its_own_app(app: App) -> None:
    other = find_port()
    assert app.run("deploy").returncode == 0
    app.write_config(**{f"port: {app.port}": f"port: {other}"})
    try:
        key = app.directory / "prod.key"
        key.write_text(KEY)
        key.chmod(0o600)
        result = app.run("deploy", "--branch", "topic", "--quiet", "--key-file", "prod.key")
        assert (result.returncode, result.stdout) == (0, "")
        (release,) = (app.home / "hello-topic" / "releases").iterdir()
        assert (release / "app.py").exists()
        assert not (release / "prod.key").exists()
        assert sorted(path.name for path in app.home.iterdir()) == ["hello", "hello-topic"]
        assert app.fetch("health")
    finally:
        assert app.run("delete", "--yes", "--branch", "topic").returncode == 0
    assert app.fetch("health")
    assert app.call("deploy", "--branch", "No/Good").returncode == 2


@pytest.mark.parametrize("place", ["state", ""])
def test_the_state_folder_follows_the_xdg_rules(app: App, tmp_path: Path, place: str) -> None:
    environ = {"NVOI_HOME": "", "XDG_STATE_HOME": f"{tmp_path}/{place}" if place else ""}
    result = app.call("deploy", "--dry-run", **environ)
    base = tmp_path / (place or ".local/state")
    assert f"would make a new release in {base}/nvoi/hello/releases" in result.stdout


@pytest.mark.parametrize("fails", [False, True])
def test_a_reader_that_has_gone_changes_nothing_of_a_deploy(app: App, fails: bool) -> None:
    with Receiver(KEY) as receiver:
        app.write_config(receiver.url, **({'echo "prepared"': "exit 3"} if fails else {}))
        with subprocess.Popen(
            [str(NVOI), "deploy", "-c", "deploy.yml"],
            cwd=app.directory,
            env={**app.environ, "DEPLOY_KEY": KEY},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            errors = process.stderr.read()
            code = process.wait(PATIENCE)
        assert (code, errors) == (1 if fails else 0, "")
        assert receiver.statuses[-1]["status"] == ("failed" if fails else "completed")
        receiver.assert_protocol()
    if not fails:
        assert app.fetch("health")


def test_a_full_disk_behind_the_output_changes_nothing_of_a_deploy(app: App) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [str(NVOI), "deploy", "-c", "deploy.yml"],
            cwd=app.directory,
            env=app.environ,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    assert result.returncode == 0
    assert len(result.stderr.splitlines()) == 1
    assert "No space left" in result.stderr
    assert app.fetch("health")


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_a_stream_that_was_closed_before_nvoi_began_is_no_fault(app: App, redirection: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" delete --yes -c deploy.yml {redirection}', NVOI],
        cwd=app.directory,
        env=app.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_s_text_is_no_command_of_a_ci(app: App) -> None:
    name = "x\r::add-mask::y\n::add-mask::z\n##[add-mask]z"
    result = call_nvoi("deploy", "-c", name, folder=app.directory, environ=app.environ)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        r"nvoi: there is no config x\r::add-mask::y",
        "nvoi: ::add-mask::z",
        r"nvoi: \x23#[add-mask]z",
    ]


def answer_on_a_terminal(app: App, answer: bytes, *words: str) -> tuple[int | None, str]:
    """Run ``nvoi delete`` in a pseudo-terminal, and type ``answer`` at its question."""
    seen = io.BytesIO()
    arguments = ["delete", "-c", "deploy.yml", *words]
    with pexpect.spawn(
        str(NVOI), arguments, cwd=app.directory, env=app.environ, timeout=PATIENCE
    ) as terminal:
        terminal.logfile_read = seen
        if terminal.expect_exact(["Type hello to go on: ", pexpect.EOF]) == 0:
            terminal.send(answer)
            terminal.expect_exact(pexpect.EOF)
    return terminal.exitstatus, seen.getvalue().decode(errors="replace")


def test_on_a_terminal_a_long_step_has_its_time_urls_are_links_and_yes_is_not_asked_for(
    app: App,
) -> None:
    gate = app.directory / "gate"
    command = f"until [ -e {gate} ]; do sleep 0.1; done"
    app.write_config(**{"python3 --version": command})
    environ = app.environ | {"TERM": "xterm", "TERM_PROGRAM": "WezTerm"}
    words = ["deploy", "-c", "deploy.yml"]
    with pexpect.spawn(
        str(NVOI), words, cwd=app.directory, env=environ, timeout=PATIENCE
    ) as terminal:
        for _ in range(2):
            terminal.expect(rb"\r\x1b\[2K\x1b\[2m[^\r\n]+, \d+\.0 s\x1b\[0m")
        gate.touch()
        # It is gone before the next line of the log.
        terminal.expect(rb"\r\x1b\[2K(\x1b\[[\d;]*m)?\[\d\d:")
        url = f"http://localhost:{app.port}"
        terminal.expect_exact(f"\x1b]8;;{url}\x1b\\{url}\x1b]8;;\x1b\\")
        terminal.expect_exact(pexpect.EOF)
    assert terminal.exitstatus == 0
    code, output = answer_on_a_terminal(app, b"", "--yes")
    assert code == 0
    assert "to go on" not in output
    assert not (app.home / "hello" / "releases").exists()


def test_a_deploy_on_github_has_groups_a_summary_and_outputs(app: App, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    files["GITHUB_OUTPUT"].write_text("before=1\n")
    environ = {name: str(path) for name, path in files.items()} | {"GITHUB_ACTIONS": "true"}
    result = app.run("deploy", environ=environ)
    assert result.returncode == 0, result.stdout
    lines = result.stdout.splitlines()
    marks = [line[:9] for line in lines if line.startswith("::")]
    assert marks == ["::group::", "::endgrou"] * (len(marks) // 2) != []
    # The end of the run stands outside of them.
    *_, last = [number for number, line in enumerate(lines) if line == "::endgroup::"]
    assert any("Running at" in line or "[SUCCESS]" in line for line in lines[last:])
    assert not any("[SUCCESS]" in line for line in lines[:last])
    url = f"http://localhost:{app.port}"
    assert f"- {url}\n" in files["GITHUB_STEP_SUMMARY"].read_text()
    outputs = rf"before=1\nurl={url}\nrelease=\d{{14}}\n"
    assert re.fullmatch(outputs, files["GITHUB_OUTPUT"].read_text())


#: A runner: it reads what a command prints, and then shows it.
RUNNER = """
import subprocess, sys
print(subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True, check=True).stdout)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who reads a pipe")
def test_the_runner_alone_is_told_secrets_that_it_does_not_know(app: App, tmp_path: Path) -> None:
    runner = tmp_path / "Runner.Worker"
    runner.symlink_to(sys.executable)
    secrets = '{NEW: "first%\\nsecond", KNOWN: $KNOWN, SHORT: abc}'
    app.write_config(**{"  env:": f"  secrets: {secrets}\n  env:"})
    environ = app.environ | {"GITHUB_ACTIONS": "true", "KNOWN": "known to GitHub"}
    deploy = [str(NVOI), "deploy", "--dry-run", "-c", "deploy.yml"]
    piped = ["sh", "-c", '"$@" | cat', "sh", *deploy]

    def read(*words: str) -> list[str]:
        told = run_program(runner, "-c", RUNNER, *words, environ=environ, folder=app.directory)
        return told.splitlines()

    told = read(*deploy)
    masks = [line for line in told if line.startswith("::add-mask::")]
    assert masks == ["::add-mask::first%25", "::add-mask::second"]
    assert told[: len(masks)] == masks
    # Whoever else reads it may keep it.
    for words in (piped, [*deploy, "--log-format", "json"]):
        assert "second" not in "".join(read(*words))


def test_a_fault_of_the_config_is_an_annotation_on_github(app: App) -> None:
    app.write_config(**{"port:": "prt:"})
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(app.directory.parent)}
    result = app.call("deploy", **environ)
    assert result.returncode == 2
    assert re.match(r"::error file=app/deploy\.yml,line=\d+,col=\d+::deploy\.yml:", result.stdout)


@pytest.mark.parametrize("broken", [False, True])
def test_each_line_is_a_json_object_and_the_last_has_the_result(app: App, broken: bool) -> None:
    if broken:
        app.write_config(**{"app.py": "none.py"})
    result = app.run("deploy", "--log-format", "json", environ={"NVOI_DEPLOY_ID": "d-7"})
    *lines, last = [json.loads(line) for line in result.stdout.splitlines()]
    told = last["result"]
    assert (told["operation"], told["app"], told["deploy_id"]) == ("deploy", "hello", "d-7")
    assert told["ok"] is not broken
    assert told["steps"][-1]["failed"] is broken
    if broken:
        assert (result.returncode, last["level"]) == (1, "error")
        assert told["error"] == last["message"] != ""
    else:
        assert result.returncode == 0
        assert told["urls"] == [f"http://localhost:{app.port}"]
        assert {"time", "level", "message", "logger"} == set(lines[0])
        assert {"info", "step", "ok", "success"} <= {line["level"] for line in lines}


def test_the_last_json_object_of_a_dry_run_says_that_it_was_one(app: App) -> None:
    result = app.call("deploy", "--dry-run", "--log-format", "json")
    *_, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert last["result"] == {"ok": True, "operation": "deploy", "app": "hello", "dry_run": True}


def test_an_error_before_the_run_is_a_json_object_too(app: App) -> None:
    app.write_config(**{"port:": "prt:"})
    result = app.call("deploy", "--log-format", "json")
    (line,) = result.stdout.splitlines()
    told = json.loads(line)["result"]
    assert (result.returncode, told["ok"]) == (2, False)
    assert told["faults"][0]["line"] > 0


@pytest.mark.parametrize("form", [["--log-format", "json"], ["--log-format=json"]])
def test_a_mistyped_option_is_a_json_object_too(app: App, form: list[str]) -> None:
    result = app.call("deploy", *form, "--dryrun")
    told = json.loads(result.stdout)["result"]
    assert (result.returncode, told["ok"]) == (2, False)
    assert told["error"] == "unknown option: --dryrun; did you mean --dry-run?"
    assert told["error"] in result.stderr


def test_delete_asks_on_a_terminal_and_refuses_without_one_unless_it_is_told_yes(app: App) -> None:
    assert app.run("deploy").returncode == 0
    result = app.call("delete", "--delete-volumes")
    assert result.returncode == 2
    assert "add --yes" in result.stderr
    assert app.fetch("health")
    for answer in (b"\xff\n", b"hello-2\n"):
        code, output = answer_on_a_terminal(app, answer)
        assert code == 1
        assert "Nothing was deleted" in output
    # What goes is said before.
    listed, asked, _ = output.partition("Delete hello? Type hello to go on: ")
    assert asked
    assert "Remove releases and state" in listed
    assert app.fetch("health")
    code, output = answer_on_a_terminal(app, b"hello\n")
    assert code == 0, output
    assert "\x1b[" in output
    assert not (app.home / "hello" / "releases").exists()


def test_help_imports_nothing_of_what_a_command_does() -> None:
    code = "import sys; from nvoi.cli import main; main(['deploy', '-h']); print(list(sys.modules))"
    told = run_program(sys.executable, "-c", code)
    found = set(re.findall(r"'(nvoi\.[\w.]+|dataclasses|urllib3|ruamel)'", told))
    assert found <= {
        "nvoi.cli",
        "nvoi.cli.commands",
        "nvoi.cli.examples",
        "nvoi.cli.parser",
        "nvoi.log",
        "nvoi.log.levels",
        "nvoi.log.masking",
        "nvoi.log.rendering",
        "nvoi.version",
    }


def test_a_completion_imports_nothing_of_the_callback() -> None:
    code = (
        "import sys; from nvoi.cli import main; main(['completion', '--words', 'ro']); "
        "print(sorted({'urllib3', 'nvoi.log.handler', 'ruamel.yaml'} & sys.modules.keys()))"
    )
    assert run_program(sys.executable, "-c", code).splitlines()[-1] == "[]"
