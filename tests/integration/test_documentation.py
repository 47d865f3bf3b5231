"""The documentation does what it says: its commands run, its code and its configs are valid."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from nvoi import sign
from nvoi.config.loader import load
from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.log.signing import sign_webhook
from tests.fakes.receiver import Receiver
from tests.integration.local.application import find_port

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
)
WORKFLOWS = sorted((ROOT / "examples" / "ci").glob("*.yml"))

#: Seconds that a command of the documentation may take on a loaded machine.
PATIENCE = 60.0

BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^>]*) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the comment above it, if any."""

    page: Path
    number: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}-{self.number}"


def list_blocks(page: Path) -> list[Block]:
    return [
        Block(page, number, match["language"], match["mark"] or "", match["text"])
        for number, match in enumerate(BLOCK.finditer(page.read_text()), 1)
    ]


BLOCKS = [block for page in PAGES for block in list_blocks(page)]


def find_blocks(language: str, page: str = "") -> list[Block]:
    return [
        block
        for block in BLOCKS
        if block.language == language and page in ("", str(block.page.relative_to(ROOT)))
    ]


def run_python(text: str, *arguments: str, environ: Mapping[str, str]) -> str:
    """What a script prints that ends well."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", text, *arguments],
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


# -- pages ---------------------------------------------------------------------------------


def list_anchors(page: Path) -> set[str]:
    """What a heading is called in a link, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    targets = [match["target"] for match in LINK.finditer(page.read_text())]
    for target in targets:
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        assert not anchor or anchor in list_anchors(linked), target


def test_the_readme_links_every_page_of_docs() -> None:
    targets = {match["target"] for match in LINK.finditer((ROOT / "README.md").read_text())}
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= targets


@pytest.mark.parametrize("block", find_blocks("python"), ids=str)
def test_python_code_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize("block", find_blocks("ruby"), ids=str)
def test_ruby_code_is_valid(block: Block) -> None:
    checked = subprocess.run(
        ["ruby", "-c"], input=block.text, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("block", find_blocks("yaml"), ids=str)
def test_yaml_parses_and_every_config_loads(block: Block) -> None:
    data = YAML(typ="safe").load(block.text)
    assert data
    if "application" in data:
        keys = generate_ssh_keys("test")
        environ = dict.fromkeys(re.findall(r"\$([A-Z_]+)", block.text), "1234")
        environ["SSH_PRIVATE_KEY"] = keys.private_key.reveal()
        environ["SSH_PUBLIC_KEY"] = keys.public_key
        config = load(block.text, filename="deploy.yml", environ=environ)
        assert config.application.app


# -- workflows -----------------------------------------------------------------------------


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_the_page_on_ci_shows_the_workflows_as_they_are(workflow: Path) -> None:
    shown = {block.text for block in find_blocks("yaml", "docs/ci.md")}
    assert workflow.read_text() in shown


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_lets_a_cancellation_reach_nvoi(workflow: Path) -> None:
    commands = re.findall(r"^.*\bnvoi (?:deploy|delete).*$", workflow.read_text(), re.MULTILINE)
    assert commands
    assert all("exec nvoi" in command for command in commands)


@pytest.mark.parametrize("name", ["github-deploy.yml", "github-branch.yml"])
def test_a_github_workflow_runs_once_at_a_time_with_the_secret_key(name: str) -> None:
    workflow = YAML(typ="safe").load(ROOT / "examples" / "ci" / name)
    assert workflow["concurrency"]["group"]
    assert workflow["concurrency"]["cancel-in-progress"] is False
    (job,) = workflow["jobs"].values()
    (step,) = [step for step in job["steps"] if "nvoi" in step.get("run", "")]
    assert step["env"]["DEPLOY_KEY"] == "${{ secrets.DEPLOY_KEY }}"


def test_the_branch_workflow_makes_a_name_that_branch_takes() -> None:
    workflow = YAML(typ="safe").load(ROOT / "examples" / "ci" / "github-branch.yml")
    script = workflow["jobs"]["branch"]["steps"][1]["run"]
    for event, ref, expected in (
        ("push", "feature/Login_2", "deploy --branch=feature-login-2"),
        ("delete", "Über-x", "delete --branch=-ber-x --yes --delete-volumes"),
    ):
        # In place of nvoi stands what shows the words it would get.
        shown = subprocess.run(
            ["bash", "-e", "-c", script.replace("exec nvoi", "exec echo")],
            env={**os.environ, "EVENT": event, "REF": ref},
            capture_output=True,
            text=True,
            check=True,
        )
        assert shown.stdout.strip() == expected


def test_the_gitlab_jobs_run_once_at_a_time() -> None:
    jobs = YAML(typ="safe").load(ROOT / "examples" / "ci" / "gitlab-ci.yml")
    running = [job for job in jobs.values() if isinstance(job, dict) and "script" in job]
    assert len(running) == 3
    assert all(job["resource_group"] for job in running)


# -- verifying -----------------------------------------------------------------------------


def test_the_verifiers_shown_accept_what_is_genuine_and_nothing_else() -> None:
    key, body = secrets.token_hex(32), b'{"status": "started"}'
    now = int(time.time())
    headers = {
        "x-nvoi-signature": sign(body, key),
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign_webhook(body, key, "msg_1", now),
    }
    helper, plain = (block.text for block in find_blocks("python", "docs/protocol.md")[:2])
    script = f"""
import json, sys
scope = {{}}
exec({helper!r}, scope)
plain = {{}}
exec({plain!r}, plain)
body, headers, key = sys.argv[1].encode(), json.loads(sys.argv[2]), sys.argv[3]
signature = headers["x-nvoi-signature"]
print(scope["is_genuine"](body, headers, key), scope["is_genuine"](body + b" ", headers, key))
print(scope["is_genuine"](body, {{}}, key))
print(plain["verify"](body, signature, key), plain["verify"](body + b" ", signature, key))
"""
    output = run_python(script, body.decode(), json.dumps(headers), key, environ=os.environ)
    assert output.splitlines() == ["True False", "False", "True False"]


def test_the_standard_webhooks_example_accepts_what_is_signed() -> None:
    key, body, now = secrets.token_hex(32), b'{"status": "started"}', int(time.time())
    (example,) = [
        block.text
        for block in find_blocks("python", "docs/protocol.md")
        if "standardwebhooks" in block.text
    ]
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign_webhook(body, key, "msg_1", now),
    }
    script = (
        f"import json, sys\nexec({example!r})\n"
        "print(receive(sys.argv[1].encode(), json.loads(sys.argv[2])))"
    )
    environ = {**os.environ, "DEPLOY_KEY": key}
    output = run_python(script, body.decode(), json.dumps(headers), environ=environ)
    assert output.strip() == "{'status': 'started'}"


# -- embedding -----------------------------------------------------------------------------


def run_example(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "examples/embed.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_the_embedding_example_prints_what_its_own_receiver_was_sent() -> None:
    finished = run_example()
    assert finished.returncode == 0, finished.stderr
    summary, *lines = finished.stdout.splitlines()
    assert summary == "5 of 5 records delivered, 0 retries"
    events = [json.loads(line) for line in lines]
    logs = [line for event in events[1:-1] for line in event["logs"]]
    assert events[0] == {"status": "started", "git_ref": "main"}
    assert [line["level"] for line in logs] == ["step", "info", "ok", "warning", "success"]
    assert events[-1]["status"] == "completed"
    assert "[REDACTED]" in finished.stdout
    assert "t0ken" not in finished.stdout + finished.stderr


def test_the_embedding_example_sends_to_the_dashboard_it_is_given() -> None:
    key = secrets.token_hex(32)
    with Receiver(key) as receiver:
        finished = run_example(receiver.url, key)
        assert finished.returncode == 0, finished.stderr
        receiver.assert_protocol()
        assert [status["status"] for status in receiver.statuses] == ["started", "completed"]
        assert receiver.messages[0] == "Fetch the orders"


def test_the_embedding_page_does_what_it_shows(tmp_path: Path) -> None:
    key = secrets.token_hex(32)
    whole, by_hand, handler, configured = (
        block.text for block in find_blocks("python", "docs/embedding.md")
    )
    with Receiver(key, whole_runs=False) as receiver:
        configured = configured.replace("https://dashboard.example.com/callbacks", receiver.url)
        script = f"""
import logging, sys
url, key = sys.argv[1:]
exec({whole!r})
run(url, key, "whole")
exec({by_hand!r})
install(CallbackStream("nvoi.install", url, key, "by-hand"))
exec({handler!r})
sender = send_logs(url, key)
logging.getLogger("nvoi.worker").warning("from a handler")
sender.flush()
exec({configured!r})
configure()
logging.getLogger("shop").info("configured %s", key)
"""
        environ = {**os.environ, "HOME": str(tmp_path), "DEPLOY_KEY": key}
        run_python(script, receiver.url, key, environ=environ)
        states = [status["status"] for status in receiver.statuses]
        assert states == ["started", "completed"] * 2
        assert receiver.statuses[-1]["tunnels"] == [
            {"service_name": "web", "hostname": "www.example.com"}
        ]
        assert receiver.messages == [
            "Fetch the orders",
            "signing in with [REDACTED]",
            "All orders are in the books",
            "copying",
            "from a handler",
            "configured [REDACTED]",
        ]


# -- the readme ----------------------------------------------------------------------------


class Shell:
    """Runs lines of the readme as a newcomer would, in a copy of the examples.

    Args:
        folder: a temporary folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.ports = {"8000": str(find_port()), "9000": str(find_port())}
        shutil.copytree(ROOT / "examples", folder / "examples")
        config = folder / "examples" / "hello" / "deploy.yml"
        config.write_text(self.adapt(config.read_text()))
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        keep = {name: os.environ[name] for name in ("LANG",) if name in os.environ}
        self.environ = {
            **keep,
            "PATH": path,
            "HOME": str(folder),
            "NVOI_HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
        }

    def adapt(self, text: str) -> str:
        """``text`` with ports and files that are this test's alone."""
        for port, free in self.ports.items():
            text = text.replace(port, free)
        return text.replace("/tmp/", f"{self.folder}/")

    def run(self, text: str, folder: Path) -> str:
        """What the lines print, all of them ending well."""
        process = subprocess.Popen(
            ["bash", "-euc", self.adapt(text)],
            cwd=folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        finally:
            # A receiver that a failure has left in the background.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 0, output
        return output

    def tear_down(self) -> None:
        """Take down what a failure has left."""
        self.run("nvoi delete --config deploy.yml --yes", self.folder / "examples" / "hello")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.tear_down()


def list_readme_lines(mark: str) -> list[str]:
    return [block.text for block in find_blocks("sh", "README.md") if block.mark == mark]


def test_the_readme_leads_to_a_running_app_and_its_log_at_a_receiver(shell: Shell) -> None:
    deploy, watch, leave = list_readme_lines("run")
    url = f"http://localhost:{shell.ports['8000']}/"
    output = shell.run(deploy, shell.folder)
    assert f"Running at {url[:-1]}" in output
    with urllib.request.urlopen(url, timeout=PATIENCE) as page:
        assert "Hello from nvoi" in page.read().decode()
    watched = shell.run(f"cd examples/hello\n{watch}\n{leave}", shell.folder)
    received = watched.partition("{'status': 'started'")[2].partition("nvoi delete")[0]
    assert re.search(r"Z success Deploy of hello done in .*\n\{'status': 'completed'", received)
    assert list(shell.home.iterdir()) == []
    assert sorted(path.name for path in (shell.folder / "examples" / "hello").iterdir()) == [
        "README.md",
        "app.py",
        "deploy.yml",
    ]


def test_the_readme_makes_a_config_that_is_ready_to_deploy(shell: Shell, tmp_path: Path) -> None:
    (lines,) = list_readme_lines("run in a folder of its own")
    folder = tmp_path / "own"
    folder.mkdir()
    output = shell.run(lines, folder)
    assert "would start web on port" in output
    assert 'python3 -m http.server "$PORT"' in output
    assert sorted(path.name for path in folder.iterdir()) == [
        ".gitignore",
        "deploy.enc",
        "deploy.key",
    ]


def test_the_receiver_example_refuses_what_is_not_signed(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    lines = f"""
export DEPLOY_KEY={secrets.token_hex(32)}
python3 receiver.py 9000 &
python3 - <<'END'
import time, urllib.error, urllib.request
request = urllib.request.Request("http://127.0.0.1:9000/x/y/logs", b"{{}}", method="POST")
deadline = time.monotonic() + {PATIENCE / 2}
while True:
    try:
        urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        print("answered", error.code)
        error.close()
        break
    except OSError:
        assert time.monotonic() < deadline
        time.sleep(0.05)
END
kill $!
"""
    assert "answered 401" in shell.run(lines, tmp_path / "examples")
