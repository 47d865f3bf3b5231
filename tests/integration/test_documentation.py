"""The documentation is right: its links lead somewhere, its code and its configs are valid."""

from __future__ import annotations

import itertools
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from nvoi import sign
from nvoi.cli.commands import build_parser
from nvoi.config.loader import load
from nvoi.config.schema import AppService, AuxiliaryService, Database, K3s, ServerGroup
from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.k3s.plan import DEFAULT_VERSION
from nvoi.k3s.requirements import CLOCK_SECONDS
from nvoi.k3s.survey import MASTER_PORTS, NODE_PORTS
from nvoi.kubernetes import registry
from nvoi.protocol import sign_webhook
from nvoi.targets import cluster
from nvoi.targets.cluster.lock_file import LOCK_FILE
from tests.fakes.receiver import Receiver
from tests.integration.pages import LINK, PAGES, ROOT, WORKFLOWS, Block, find_blocks, run_python
from tests.waiting import PATIENCE, run_program


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
    run_program("ruby", "-c", given=block.text)


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


def list_commands(text: str) -> list[list[str]]:
    """The arguments of each nvoi that a shell's lines start."""
    words = [
        shlex.split(line, comments=True)
        for line in text.replace("\\\n", " ").splitlines()
        if "<<" not in line
    ]
    ends = {"|", "&", "&&", ";", ">"}
    return [
        list(itertools.takewhile(lambda word: word not in ends, line[number + 1 :]))
        for line in words
        for number, word in enumerate(line)
        if word == "nvoi" and (number == 0 or line[number - 1] in {*ends, "exec", "{"})
    ]


@pytest.mark.parametrize("block", find_blocks("sh"), ids=str)
def test_shell_code_is_valid_and_every_nvoi_in_it_takes_its_options(block: Block) -> None:
    run_program("bash", "-n", given=block.text)
    for arguments in list_commands(block.text):
        # Ends the process where an option is not known.
        build_parser(arguments).parse_args(arguments)


def test_the_check_of_commands_sees_them() -> None:
    found = [words for block in find_blocks("sh") for words in list_commands(block.text)]
    assert ["deploy", "--config", "deploy.yml", "--dry-run"] in found
    assert ["deploy", "--lock-wait", "600"] in found
    assert ["dashboard", "--port", "8787"] in found


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
        script = script.replace("exec nvoi", "exec echo")
        environ = {**os.environ, "EVENT": event, "REF": ref}
        assert run_program("bash", "-e", "-c", script, environ=environ).strip() == expected


def test_the_gitlab_jobs_run_once_at_a_time() -> None:
    jobs = YAML(typ="safe").load(ROOT / "examples" / "ci" / "gitlab-ci.yml")
    running = [job for job in jobs.values() if isinstance(job, dict) and "script" in job]
    assert len(running) == 3
    assert all(job["resource_group"] for job in running)


# -- the way to servers --------------------------------------------------------------------


def test_the_page_on_clusters_leads_to_a_deploy(tmp_path: Path) -> None:
    """All but what needs two servers runs as it stands."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    shutil.copytree(ROOT / "examples" / "shop", home / "shop")
    lines = [b.text for b in find_blocks("sh", "docs/cluster.md") if b.mark == "run"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(home)}
    lines = ["exec 2>&1\n", *lines]
    printed = run_program("bash", "-euc", "".join(lines), environ=environ, folder=home / "shop")
    for line in (
        "reaches shop-main-1 (203.0.113.10) as root, the master",
        "reaches shop-workers-1 (203.0.113.11) as root",
        "makes /opt/nvoi/volumes/shop-main-database on shop-main-1",
        "runs the pre_run_command of web in the new image",
        "rolls out shop-web",
        "rolls out shop-worker",
    ):
        assert line in printed
    password = home / ".ssh" / "nvoi-shop.password"
    assert password.stat().st_mode & 0o077 == 0
    assert password.read_text().strip() not in printed


def test_the_page_on_clusters_tells_the_steps_in_their_order() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text()
    section = page.partition("## What a deploy does")[2].partition("\n## ")[0]
    told = re.findall(r"^\d+\. \*\*(.+?)\.?\*\*", section, re.MULTILINE)
    assert told == [step.name for step in cluster.DEPLOY]


def test_the_page_on_clusters_names_the_numbers_of_the_code() -> None:
    text = " ".join((ROOT / "docs" / "cluster.md").read_text().split())
    for told in (
        f"a new cluster gets {DEFAULT_VERSION}",
        f"left out, `{registry.IMAGE}`",
        f"It is reached at {registry.ADDRESS}",
        f"in `{registry.DATA_FOLDER}`",
        f"the lock `{LOCK_FILE}`",
        f"at most {CLOCK_SECONDS} s away from this machine's",
        *(f"{port}/{protocol}" for protocol, port in (*MASTER_PORTS, *NODE_PORTS)),
        *(f"`{key}`" for key in ("--delete-volumes", "--cluster", "--yes")),
    ):
        assert told in text, told


@pytest.mark.parametrize("kind", [K3s, AppService, Database, AuxiliaryService, ServerGroup])
def test_the_page_on_the_config_names_every_key(kind: type[object]) -> None:
    page = (ROOT / "docs" / "config.md").read_text()
    assert is_dataclass(kind)
    names = {field.name for field in fields(kind)} - {"name"}
    assert {name for name in names if f"`{name}" not in page} <= {"volumes"}


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
    whole, by_hand, asynchronous, handler, configured = (
        block.text for block in find_blocks("python", "docs/embedding.md")
    )
    with Receiver(key, whole_runs=False) as receiver:
        configured = configured.replace("https://dashboard.example.com/callbacks", receiver.url)
        script = f"""
import asyncio, logging, sys
url, key = sys.argv[1:]
exec({whole!r})
run(url, key, "whole")
exec({by_hand!r})
install(CallbackStream("nvoi.install", url, key, "by-hand"))
exec({asynchronous!r})
asyncio.run(run(url, key))
exec({handler!r})
sender = send_logs(url, key)
logging.getLogger("nvoi.worker").info("from a handler")
sender.flush()
exec({configured!r})
configure()
logging.getLogger("shop").info("configured %s", key)
"""
        environ = {**os.environ, "HOME": str(tmp_path), "DEPLOY_KEY": key}
        run_python(script, receiver.url, key, environ=environ)
        states = [status["status"] for status in receiver.statuses]
        assert states == ["started", "completed"] * 3
        assert receiver.statuses[3]["tunnels"] == [
            {"service_name": "web", "hostname": "www.example.com"}
        ]
        assert receiver.messages == [
            "Fetch the orders",
            "signing in with [REDACTED]",
            "All orders are in the books",
            "copying",
            "asynchronous, but told in order",
            "from a handler",
            "configured [REDACTED]",
        ]
