"""``nvoi dashboard project``: several apps, each with its own key and callback URL."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pexpect  # type: ignore[import-untyped]  # it has none

from tests.integration.commands import NVOI
from tests.integration.dashboard.serving import Serving
from tests.integration.streams import KEY
from tests.waiting import PATIENCE

SHOP_KEY, NEW_KEY, LAST_KEY = "5" * 64, "7" * 64, "9" * 64

_CALLBACK = re.compile(r"^callback_url: (\S+/api/projects/([\w-]+)/deploys)$", re.MULTILINE)


def add(serving: Serving, name: str, key: str = SHOP_KEY) -> str:
    """Add a project while the dashboard runs; its callback URL."""
    result = serving.run("project", "add", name, DEPLOY_KEY=key)
    assert result.returncode == 0, result.stderr
    assert key not in result.stdout + result.stderr
    match = _CALLBACK.search(result.stdout)
    assert match, result.stdout
    return match[1]


def rotate(serving: Serving, *words: str, key: str = NEW_KEY) -> subprocess.CompletedProcess[str]:
    return serving.run("project", "rotate-key", *words, DEPLOY_KEY=key)


def test_a_project_is_served_as_soon_as_it_is_added_with_a_key_and_deploys_of_its_own(
    serving: Serving,
) -> None:
    url = add(serving, "shop")
    assert url.startswith(f"{serving.url}/api/projects/")
    with serving.build_client("shop-1", key=SHOP_KEY, url=url) as client:
        assert client.started() == 200
        assert client.logs(1, "one") == 200
    attempt = serving.get_attempts("shop-1", "shop")[0]
    assert (attempt["project"], attempt["lines"]) == ("shop", 1)
    assert serving.get_attempts("shop-1") == []
    # No project's key opens another.
    for key, path in ((KEY, url), (SHOP_KEY, serving.callback_url)):
        with serving.build_client(key=key, url=path) as client:
            assert client.started() == 401

    head, default, shop = serving.run("project", "list").stdout.splitlines()
    assert head.split() == ["NAME", "DEPLOYS", "LAST", "SEEN", "CALLBACK", "URL"]
    assert default.split() == ["default", "0", "never", serving.callback_url]
    assert re.fullmatch(rf"shop +1 +\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d +{re.escape(url)}", shop)
    # Readers are not told where it is sent to.
    assert list_names(serving) == ["default", "shop"]
    token = url.split("/")[-2].encode()
    for path in ("/api/projects.json", "/", "/projects/shop"):
        assert token not in serving.get(path).data


def list_names(serving: Serving) -> list[str]:
    """The projects that readers are told of."""
    return [project["name"] for project in serving.get_json("/api/projects.json")["projects"]]


def test_an_earlier_key_is_taken_for_a_while_after_a_rotation_or_not_at_all(
    serving: Serving,
) -> None:
    url = add(serving, "shop")
    result = rotate(serving, "shop")
    assert result.returncode == 0
    assert "another 24 hours" in result.stdout
    assert NEW_KEY not in result.stdout
    assert [start_with(serving, key, url) for key in (SHOP_KEY, NEW_KEY)] == [200, 200]

    assert rotate(serving, "shop", "--grace", "0", key=LAST_KEY).returncode == 0
    keys = (SHOP_KEY, NEW_KEY, LAST_KEY)
    assert [start_with(serving, key, url) for key in keys] == [401, 401, 200]


def start_with(serving: Serving, key: str, url: str = "") -> int:
    """How a deploy's begin is answered that has this key."""
    with serving.build_client(f"run-{key[:1]}", key=key, url=url) as client:
        return client.started()


def test_a_start_with_a_key_whose_rotation_is_over_does_not_undo_it(serving: Serving) -> None:
    result = rotate(serving, "default", "--grace", "0")
    assert "The earlier one has ended." in result.stdout
    serving.stop()
    serving.start()
    assert "warning: the key of $DEPLOY_KEY has ended: 'nvoi dashboard project" in serving.output
    assert "callback_url: " not in serving.output
    assert [start_with(serving, key) for key in (KEY, NEW_KEY)] == [401, 200]
    # Who means it may have it again.
    assert rotate(serving, "default", "--grace", "0", key=KEY).returncode == 0
    serving.stop()
    serving.start()
    assert "warning" not in serving.output
    assert start_with(serving, KEY) == 200


def test_a_project_is_removed_with_its_deploys_once_it_is_meant(serving: Serving) -> None:
    url = add(serving, "shop")
    with serving.build_client("shop-1", key=SHOP_KEY, url=url) as client:
        client.started()
        result = serving.run("project", "rm", "shop")
        assert result.returncode == 2
        assert "--yes" in result.stderr
        assert refuse_in_terminal(serving) == 1
        assert list_names(serving) == ["default", "shop"]

        assert serving.run("project", "rm", "shop", "--yes").returncode == 0
        assert list_names(serving) == ["default"]
        assert client.logs(1, "one") == 404
    assert serving.get("/api/projects/shop/deploys.json").status == 404
    assert serving.run("project", "list").stdout.count("\n") == 2


def refuse_in_terminal(serving: Serving) -> int:
    """``rm shop`` where somebody can be asked, who does not want it; its exit code."""
    child = pexpect.spawn(
        str(NVOI),
        ["dashboard", "project", "rm", "shop", "--db", str(serving.database)],
        env={**serving.environ, "TERM": "dumb"},
        timeout=PATIENCE,
        encoding="utf-8",
    )
    child.expect_exact("Remove the project shop and all its deploys? [y/N] ")
    child.sendline("n")
    child.expect(pexpect.EOF)
    child.close()
    return int(child.exitstatus)


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    serving = Serving(tmp_path)
    # Its start makes the project; these commands do not need it to run.
    with serving:
        pass
    assert serving.run("project", "add", "other").returncode == 0
    for line, told in (
        ("add default", "needs no token"),
        ("add other", "already"),
        ("add Shop", "cannot be a project's name"),
        ("add ../x", "cannot be a project's name"),
        ("rm nothing --yes", "there is no project"),
        ("rotate-key nothing", "there is no project"),
        ("rotate-key default", "this is the key that the project default has"),
        ("rotate-key default --grace -1", "is no number of hours"),
    ):
        result = serving.run("project", *line.split())
        assert result.returncode == 2, line
        assert told in result.stderr


def test_projects_are_made_before_the_first_start_and_need_no_default(tmp_path: Path) -> None:
    serving = Serving(tmp_path, environ={"DEPLOY_KEY": ""})
    assert serving.run("project", "list").returncode == 2
    key_file = tmp_path / "shop.key"
    key_file.write_text(SHOP_KEY)
    key_file.chmod(0o600)
    result = serving.run("project", "add", "shop", "--key-file", str(key_file))
    assert result.returncode == 0
    assert "callback_url: http://127.0.0.1:8787/api/projects/" in result.stdout
    with serving:
        assert "nvoi dashboard project list" in serving.output
        assert start_with(serving, KEY) == 404


def test_a_callback_url_begins_with_the_public_url_of_the_last_start(tmp_path: Path) -> None:
    with Serving(tmp_path, "--public-url", "https://deploys.example.com/") as serving:
        assert "callback_url: https://deploys.example.com/api/deploys " in serving.output
        assert add(serving, "shop").startswith("https://deploys.example.com/api/projects/")


def test_a_key_that_others_can_read_is_warned_of(serving: Serving, tmp_path: Path) -> None:
    key_file = tmp_path / "open.key"
    key_file.write_text(SHOP_KEY)
    key_file.chmod(0o644)
    result = serving.run("project", "add", "shop", "--key-file", str(key_file))
    assert result.returncode == 0
    assert "open to other users" in result.stderr
