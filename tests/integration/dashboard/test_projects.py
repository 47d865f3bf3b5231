"""``nvoi dashboard project``: several apps, each with its own key and callback URL."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pexpect  # type: ignore[import-untyped]  # it has none
import pytest

from tests.integration.commands import NVOI
from tests.integration.dashboard.serving import Serving, build_path
from tests.integration.streams import KEY
from tests.waiting import PATIENCE

SHOP_KEY, NEW_KEY = "5" * 64, "7" * 64

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


def test_a_project_is_served_as_soon_as_it_is_added(serving: Serving) -> None:
    url = add(serving, "shop")
    assert url.startswith(f"{serving.url}/api/projects/")
    with serving.build_client("shop-1", key=SHOP_KEY, url=url) as client:
        assert client.started() == 200
        assert client.logs(1, "one") == 200
    attempt = serving.get_attempts("shop-1", "shop")[0]
    assert (attempt["project"], attempt["lines"]) == ("shop", 1)
    # Each project has deploys of its own.
    assert serving.get_attempts("shop-1") == []
    assert serving.get(f"{build_path('shop-1')}.json").status == 404


def test_no_projects_key_opens_another(serving: Serving) -> None:
    url = add(serving, "shop")
    with serving.build_client(key=KEY, url=url) as client:
        assert client.started() == 401
    with serving.build_client(key=SHOP_KEY) as client:
        assert client.started() == 401


def test_projects_are_listed_with_what_they_sent_and_where(serving: Serving) -> None:
    url = add(serving, "shop")
    with serving.build_client("shop-1", key=SHOP_KEY, url=url) as client:
        client.started()
    head, default, shop = serving.run("project", "list").stdout.splitlines()
    assert head.split() == ["NAME", "DEPLOYS", "LAST", "SEEN", "CALLBACK", "URL"]
    assert default.split() == ["default", "0", "never", serving.callback_url]
    assert re.fullmatch(rf"shop +1 +\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d +{re.escape(url)}", shop)


def test_readers_are_not_told_the_token(serving: Serving) -> None:
    token = add(serving, "shop").split("/")[-2]
    projects = serving.get_json("/api/projects.json")["projects"]
    assert [project["name"] for project in projects] == ["default", "shop"]
    for path in ("/api/projects.json", "/", "/projects/shop"):
        assert token.encode() not in serving.get(path).data


def test_both_keys_are_taken_for_a_while_after_a_rotation(serving: Serving) -> None:
    url = add(serving, "shop")
    result = rotate(serving, "shop")
    assert result.returncode == 0
    assert "another 24 hours" in result.stdout
    assert NEW_KEY not in result.stdout
    for key in (SHOP_KEY, NEW_KEY):
        with serving.build_client(f"run-{key[:1]}", key=key, url=url) as client:
            assert client.started() == 200


def test_a_rotation_without_grace_ends_the_earlier_key_at_once(serving: Serving) -> None:
    url = add(serving, "shop")
    assert rotate(serving, "shop", "--grace", "0").returncode == 0
    with serving.build_client(key=SHOP_KEY, url=url) as client:
        assert client.started() == 401
    with serving.build_client(key=NEW_KEY, url=url) as client:
        assert client.started() == 200


def test_a_start_with_a_key_whose_rotation_is_over_does_not_undo_it(serving: Serving) -> None:
    result = rotate(serving, "default", "--grace", "0")
    assert "The earlier one has ended." in result.stdout
    serving.stop()
    serving.start()
    assert "warning: the key of $DEPLOY_KEY has ended: 'nvoi dashboard project" in serving.output
    assert "callback_url: " not in serving.output
    with serving.build_client(key=KEY) as client:
        assert client.started() == 401
    with serving.build_client(key=NEW_KEY) as client:
        assert client.started() == 200
    # Who means it may have it again.
    assert rotate(serving, "default", "--grace", "0", key=KEY).returncode == 0
    serving.stop()
    serving.start()
    assert "warning" not in serving.output
    with serving.build_client(key=KEY) as client:
        assert client.started() == 200


def test_a_removed_project_is_gone_with_its_deploys(serving: Serving) -> None:
    url = add(serving, "shop")
    with serving.build_client("shop-1", key=SHOP_KEY, url=url) as client:
        client.started()
        assert serving.run("project", "rm", "shop", "--yes").returncode == 0
        assert client.logs(1, "one") == 404
    assert serving.get("/api/projects/shop/deploys.json").status == 404
    assert serving.run("project", "list").stdout.count("\n") == 2


def test_a_removal_is_asked_for_in_a_terminal(serving: Serving) -> None:
    add(serving, "shop")
    for answer, code, names in (("n", 1, ["default", "shop"]), ("y", 0, ["default"])):
        child = pexpect.spawn(
            str(NVOI),
            ["dashboard", "project", "rm", "shop", "--db", str(serving.database)],
            env={**serving.environ, "TERM": "dumb"},
            timeout=PATIENCE,
            encoding="utf-8",
        )
        child.expect_exact("Remove the project shop and all its deploys? [y/N] ")
        child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == code
        projects = serving.get_json("/api/projects.json")["projects"]
        assert [project["name"] for project in projects] == names


def test_a_removal_that_nobody_confirms_needs_to_be_meant(serving: Serving) -> None:
    add(serving, "shop")
    result = serving.run("project", "rm", "shop")
    assert result.returncode == 2
    assert "--yes" in result.stderr
    assert len(serving.get_json("/api/projects.json")["projects"]) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add", "default"), "needs no token"),
        (("add", "Shop"), "cannot be a project's name"),
        (("add", "../x"), "cannot be a project's name"),
        (("rm", "nothing", "--yes"), "there is no project"),
        (("rotate-key", "nothing"), "there is no project"),
        (("rotate-key", "default"), "this is the key that the project default has"),
        (("rotate-key", "default", "--grace", "-1"), "is no number of hours"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path_factory: pytest.TempPathFactory, words: tuple[str, ...], told: str
) -> None:
    # One that is not started: these commands do not need it.
    serving = Serving(tmp_path_factory.mktemp("stopped"))
    if words[:2] == ("rotate-key", "default"):
        # Its start makes the project.
        with serving:
            pass
    else:
        assert serving.run("project", "add", "other").returncode == 0
    result = serving.run("project", *words)
    assert result.returncode == 2
    assert told in result.stderr


def test_a_name_is_given_once(serving: Serving) -> None:
    add(serving, "shop")
    result = serving.run("project", "add", "shop")
    assert (result.returncode, "already" in result.stderr) == (2, True)


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
        with serving.build_client() as client:
            assert client.started() == 404


def test_a_callback_url_begins_with_the_public_url_of_the_last_start(tmp_path: Path) -> None:
    with Serving(tmp_path, "--public-url", "https://deploys.example.com") as serving:
        assert add(serving, "shop").startswith("https://deploys.example.com/api/projects/")


def test_a_key_that_others_can_read_is_warned_of(serving: Serving, tmp_path: Path) -> None:
    key_file = tmp_path / "open.key"
    key_file.write_text(SHOP_KEY)
    key_file.chmod(0o644)
    result = serving.run("project", "add", "shop", "--key-file", str(key_file))
    assert result.returncode == 0
    assert "open to other users" in result.stderr
