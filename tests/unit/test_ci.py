from __future__ import annotations

import itertools
import re
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nvoi import ci

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SHA": "abc",
    "GITHUB_REF_NAME": "main",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/web",
    "GITHUB_RUN_ID": "42",
    "GITHUB_RUN_NUMBER": "7",
}
PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
#: A variable, which may be told by its value; or a template of a URL.
WORD = re.compile(r"`([^`]+)`")


def read_table() -> Iterator[tuple[str, list[list[str]]]]:
    """Each CI of the docs' table, but those like GitHub, and the words of its cells."""
    for line in PAGE.read_text().splitlines():
        cells = [WORD.findall(cell) for cell in line.split("|")[1:-1]]
        if len(cells) == 5 and all(cells[:1] + cells[2:]):
            yield cells[0][0], cells[1:]


def build_environ(cells: list[list[str]]) -> dict[str, str]:
    """An environment in which each variable of the cells is its name in lower case."""
    marker, _, value = cells[0][0].partition("=")
    names = re.findall(r"\b[A-Z][A-Z0-9_]+", " ".join(itertools.chain(*cells[1:])))
    return {marker: value or "true"} | {name: name.lower() for name in names}


KNOWN = {provider: build_environ(cells) for provider, cells in read_table()}
# It sets Drone's, too.
KNOWN["woodpecker"]["DRONE"] = "true"


def test_the_docs_have_a_row_for_every_ci() -> None:
    like_github = {"github_actions", "gitea_actions", "forgejo_actions"}
    assert {*KNOWN, *like_github} == {*ci.KNOWN}


@pytest.mark.parametrize(("provider", "cells"), [*read_table()])
def test_each_ci_tells_what_its_row_in_the_docs_says(
    provider: str, cells: list[list[str]], tmp_path: Path
) -> None:
    _, (sha, *refs), (run_id,), (url,) = cells
    environ = KNOWN[provider]
    template = url if "{" in url else f"{{{url}}}"
    for ref in refs:
        assert ci.find_context(environ, tmp_path) == ci.RunContext(
            sha.lower(), ref.lower(), provider, template.format_map(environ)
        )
        # The next one counts where it is not set.
        environ = {**environ, ref: ""}
    assert ci.choose_deploy_id(environ) == run_id.lower()


@pytest.mark.parametrize(
    ("provider", "environ", "url"),
    [
        ("github_actions", GITHUB, "https://github.com/acme/web/actions/runs/42"),
        ("gitea_actions", GITHUB, "https://github.com/acme/web/actions/runs/7"),
        (
            "forgejo_actions",
            {**GITHUB, "GITHUB_SERVER_URL": "https://code.example/"},
            "https://code.example/acme/web/actions/runs/7",
        ),
        (
            "bitbucket_pipelines",
            {
                "BITBUCKET_BUILD_NUMBER": "3",
                "BITBUCKET_GIT_HTTP_ORIGIN": "http://bitbucket.org/acme/web",
            },
            "https://bitbucket.org/acme/web/pipelines/results/3",
        ),
        (
            "azure_pipelines",
            {
                "TF_BUILD": "True",
                "BUILD_BUILDID": "11",
                "SYSTEM_COLLECTIONURI": "https://dev.azure.com/acme/",
                "SYSTEM_TEAMPROJECT": "My Web",
            },
            "https://dev.azure.com/acme/My%20Web/_build/results?buildId=11",
        ),
    ],
)
def test_the_page_of_a_run_is_an_address(
    provider: str, environ: dict[str, str], url: str, tmp_path: Path
) -> None:
    context = ci.find_context(environ | {provider.upper(): "true"}, tmp_path)
    assert (context.ci_provider, context.ci_run_url) == (provider, url)
    told = context.git_sha, context.git_ref
    assert told == (environ.get("GITHUB_SHA"), environ.get("GITHUB_REF_NAME"))


def test_nvoi_deploy_id_comes_first_and_github_run_id_second() -> None:
    environ = {"NVOI_DEPLOY_ID": "mine", "GITHUB_RUN_ID": "42", "GITLAB_CI": "1", "CI_JOB_ID": "9"}
    assert ci.choose_deploy_id(environ) == "mine"
    assert ci.choose_deploy_id({**environ, "NVOI_DEPLOY_ID": ""}) == "42"


def test_without_a_ci_each_run_has_a_new_uuid() -> None:
    first, second = ci.choose_deploy_id({}), ci.choose_deploy_id({})
    assert uuid.UUID(first) != uuid.UUID(second)


#: A branch's name in Latin-1, as it comes in the environment, and as it is told.
LATIN, CLEAN = "caf\udce9", "caf\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("provider", KNOWN)
def test_what_a_ci_says_that_is_no_text_is_cleaned(provider: str, tmp_path: Path) -> None:
    environ = KNOWN[provider]
    spoilt = {name: f"{value}\x1b[31m\a{LATIN}\n" for name, value in environ.items()}
    spoilt |= {"CI": environ.get("CI", "")}
    context = ci.find_context(spoilt, tmp_path)
    told = [value for value in context.as_payload().values() if value]
    assert len(told) == 4
    assert all(value.isprintable() for value in told)
    assert (context.git_ref or "").endswith(CLEAN)
    assert ci.choose_deploy_id(spoilt).endswith(CLEAN)


@pytest.mark.parametrize(
    ("provider", "told", "title", "author"),
    [
        (
            "gitlab_ci",
            {"CI_COMMIT_TITLE": "Fix it", "CI_COMMIT_AUTHOR": "Zoë A <zoe@example.com>"},
            "Fix it",
            "Zoë A",
        ),
        ("gitlab_ci", {"CI_COMMIT_AUTHOR": "<zoe@example.com>"}, None, None),
        (
            "buildkite",
            {"BUILDKITE_MESSAGE": "Fix it\n\nAs it was.", "BUILDKITE_BUILD_AUTHOR": "Zoë"},
            "Fix it",
            "Zoë",
        ),
        ("azure_pipelines", {"BUILD_SOURCEVERSIONMESSAGE": "Fix it"}, "Fix it", None),
        ("travis_ci", {"TRAVIS_COMMIT_MESSAGE": "Fix it\nnow"}, "Fix it", None),
        (
            "woodpecker",
            {"CI_COMMIT_MESSAGE": "Fix it\n", "CI_COMMIT_AUTHOR": "zoe"},
            "Fix it",
            "zoe",
        ),
        (
            "drone",
            {"DRONE_COMMIT_MESSAGE": "Fix it", "DRONE_COMMIT_AUTHOR_NAME": "Zoë"},
            "Fix it",
            "Zoë",
        ),
    ],
)
def test_without_the_commit_its_title_and_author_are_the_cis_own(
    provider: str, told: dict[str, str], title: str | None, author: str | None, tmp_path: Path
) -> None:
    context = ci.find_context(KNOWN[provider] | told, tmp_path)
    assert (context.commit_title, context.commit_author) == (title, author)


def git(directory: Path, *arguments: str | bytes) -> str:
    identity = ["-c", "user.name=Zoë", "-c", "user.email=a@example.com"]
    result = subprocess.run(
        ["git", "-C", directory, *identity, *arguments], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "topic")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one\n\nand more")
    return tmp_path


def test_outside_a_ci_all_is_known_of_the_checkout(checkout: Path) -> None:
    sha = git(checkout, "rev-parse", "HEAD")
    context = ci.RunContext(sha, "topic", commit_title="one", commit_author="Zoë")
    assert ci.find_context({}, checkout) == context
    git(checkout, "tag", "v1")
    git(checkout, "checkout", "-q", "--detach")
    assert ci.find_context({}, checkout) == replace(context, git_ref="v1")


def test_in_a_ci_git_tells_of_the_commit_that_the_ci_names(checkout: Path) -> None:
    sha = git(checkout, "rev-parse", "HEAD")
    git(checkout, "commit", "-q", "--allow-empty", "-m", "two")
    told = {"CI_COMMIT_SHA": sha, "CI_COMMIT_TITLE": "no", "CI_COMMIT_AUTHOR": "no"}
    context = ci.find_context(KNOWN["gitlab_ci"] | told, checkout)
    assert (context.commit_title, context.commit_author) == ("one", "Zoë")


def test_a_sha_that_looks_like_an_option_is_none(checkout: Path) -> None:
    context = ci.find_context({**GITHUB, "GITHUB_SHA": "--output=told"}, checkout)
    assert context.commit_title is None
    assert list(checkout.iterdir()) == [checkout / ".git"]


def test_a_checkout_is_dirty_by_changed_and_by_untracked_files(checkout: Path) -> None:
    def is_dirty(directory: Path = checkout) -> str | None:
        return ci.find_context(GITHUB, directory).as_payload()["dirty"]

    assert is_dirty() is None
    git(checkout, "config", "status.showUntrackedFiles", "no")
    file = checkout / "app" / "file"
    file.parent.mkdir()
    file.touch()
    assert is_dirty() == "1"
    (checkout / ".git" / "info" / "exclude").write_text("file\n")
    assert is_dirty() is None
    git(checkout, "add", "--force", "app")
    git(checkout, "commit", "-q", "-m", "two")
    assert is_dirty() is None
    file.write_text("changed")
    assert is_dirty() == "1"
    (checkout / "other").mkdir()
    assert is_dirty(checkout / "other") is None


def test_a_commit_in_another_encoding_is_told_in_utf_8(checkout: Path) -> None:
    git(checkout, "config", "i18n.commitEncoding", "ISO-8859-1")
    git(checkout, "config", "i18n.logOutputEncoding", "ISO-8859-1")
    git(checkout, "commit", "-q", "--allow-empty", "-m", "café".encode("latin-1"))
    assert ci.find_context({}, checkout).commit_title == "café"


def test_a_title_and_a_branch_of_invalid_bytes_are_cleaned(checkout: Path) -> None:
    # By hand: `git commit` takes such bytes for Latin-1.
    tree = git(checkout, "rev-parse", "HEAD^{tree}")
    who = b"A\xe9 <a@example.com> 0 +0000"
    head = f"tree {tree}\n".encode() + b"author %s\ncommitter %s\n\n" % (who, who)
    (checkout / ".git" / "commit").write_bytes(head + b"caf\xe9 \x1b[31mred\a\n")
    sha = git(checkout, "hash-object", "-t", "commit", "-w", ".git/commit")
    git(checkout, "checkout", "-q", "-b", b"caf\xe9", sha)
    context = ci.find_context({}, checkout)
    assert context.git_ref == CLEAN
    assert context.commit_title == f"{CLEAN} red\N{REPLACEMENT CHARACTER}"
    assert context.commit_author == "A\N{REPLACEMENT CHARACTER}"


def test_git_that_fails_or_does_not_end_is_not_waited_for(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ci, "GIT_SECONDS", 0.05)
    programs = tmp_path_factory.mktemp("programs")
    for script in ("exec sleep 60", "exit 128", "read answer && sleep 60"):
        (programs / "git").write_text(f"#!/bin/sh\n{script}\n")
        (programs / "git").chmod(0o755)
        environ = {**GITHUB, "PATH": f"{programs}:/usr/bin:/bin"}
        known = ci.find_context(GITHUB, Path("/"))
        assert ci.find_context(environ, checkout) == known


def test_a_hooks_git_variables_name_no_other_checkout(checkout: Path, tmp_path: Path) -> None:
    context = ci.find_context({"GIT_DIR": str(tmp_path / "nowhere")}, checkout)
    assert context.commit_title == "one"


def test_without_a_checkout_nothing_is_known(tmp_path: Path) -> None:
    assert ci.find_context({}, tmp_path) == ci.RunContext()
