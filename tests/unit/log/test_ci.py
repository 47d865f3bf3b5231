from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import pytest

from nvoi.errors import UsageError
from nvoi.log import ci

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SHA": "abc",
    "GITHUB_REF_NAME": "main",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/web",
    "GITHUB_RUN_ID": "42",
    "GITHUB_RUN_NUMBER": "7",
}

#: Each CI's own variables, and what is to come of them: ref, run id, URL.
KNOWN = {
    "github_actions": (GITHUB, "main", "42", "https://github.com/acme/web/actions/runs/42"),
    "gitea_actions": (
        {**GITHUB, "GITEA_ACTIONS": "true", "GITHUB_SERVER_URL": "https://git.example/"},
        "main",
        "42",
        "https://git.example/acme/web/actions/runs/7",
    ),
    "forgejo_actions": (
        {**GITHUB, "FORGEJO_ACTIONS": "true", "GITHUB_SERVER_URL": "https://code.example"},
        "main",
        "42",
        "https://code.example/acme/web/actions/runs/7",
    ),
    "gitlab_ci": (
        {
            "GITLAB_CI": "true",
            "CI_COMMIT_SHA": "abc",
            "CI_COMMIT_REF_NAME": "main",
            "CI_JOB_ID": "9",
            "CI_PIPELINE_ID": "8",
            "CI_JOB_URL": "https://gitlab.example/acme/web/-/jobs/9",
            "CI_PIPELINE_URL": "https://gitlab.example/acme/web/-/pipelines/8",
        },
        "main",
        "8",
        "https://gitlab.example/acme/web/-/pipelines/8",
    ),
    "circleci": (
        {
            "CIRCLECI": "true",
            "CIRCLE_SHA1": "abc",
            "CIRCLE_TAG": "v1",
            "CIRCLE_BUILD_NUM": "5",
            "CIRCLE_BUILD_URL": "https://circleci.com/gh/acme/web/5",
        },
        "v1",
        "5",
        "https://circleci.com/gh/acme/web/5",
    ),
    "buildkite": (
        {
            "BUILDKITE": "true",
            "BUILDKITE_COMMIT": "abc",
            "BUILDKITE_BRANCH": "main",
            "BUILDKITE_BUILD_ID": "j",
            "BUILDKITE_BUILD_URL": "https://buildkite.com/acme/web/builds/1",
        },
        "main",
        "j",
        "https://buildkite.com/acme/web/builds/1",
    ),
    "bitbucket_pipelines": (
        {
            "BITBUCKET_BUILD_NUMBER": "3",
            "BITBUCKET_COMMIT": "abc",
            "BITBUCKET_BRANCH": "main",
            "BITBUCKET_GIT_HTTP_ORIGIN": "http://bitbucket.org/acme/web",
        },
        "main",
        "3",
        "https://bitbucket.org/acme/web/pipelines/results/3",
    ),
    "azure_pipelines": (
        {
            "TF_BUILD": "True",
            "BUILD_SOURCEVERSION": "abc",
            "BUILD_SOURCEBRANCHNAME": "main",
            "BUILD_BUILDID": "11",
            "SYSTEM_COLLECTIONURI": "https://dev.azure.com/acme/",
            "SYSTEM_TEAMPROJECT": "My Web",
        },
        "main",
        "11",
        "https://dev.azure.com/acme/My%20Web/_build/results?buildId=11",
    ),
    "jenkins": (
        {
            "JENKINS_URL": "https://ci.example/",
            "GIT_COMMIT": "abc",
            "GIT_BRANCH": "origin/main",
            "BUILD_TAG": "jenkins-web-3",
            "BUILD_URL": "https://ci.example/job/web/3/",
        },
        "origin/main",
        "jenkins-web-3",
        "https://ci.example/job/web/3/",
    ),
    "travis_ci": (
        {
            "TRAVIS": "true",
            "TRAVIS_COMMIT": "abc",
            "TRAVIS_BRANCH": "main",
            "TRAVIS_BUILD_ID": "77",
            "TRAVIS_BUILD_WEB_URL": "https://app.travis-ci.com/acme/web/builds/77",
        },
        "main",
        "77",
        "https://app.travis-ci.com/acme/web/builds/77",
    ),
    "woodpecker": (
        {
            "CI": "woodpecker",
            "CI_COMMIT_SHA": "abc",
            "CI_COMMIT_BRANCH": "main",
            "CI_PIPELINE_NUMBER": "4",
            "CI_PIPELINE_URL": "https://wp.example/repos/1/pipeline/4",
            "DRONE": "true",
        },
        "main",
        "4",
        "https://wp.example/repos/1/pipeline/4",
    ),
    "drone": (
        {
            "DRONE": "true",
            "DRONE_COMMIT_SHA": "abc",
            "DRONE_BRANCH": "main",
            "DRONE_BUILD_NUMBER": "6",
            "DRONE_BUILD_LINK": "https://drone.example/acme/web/6",
        },
        "main",
        "6",
        "https://drone.example/acme/web/6",
    ),
}


@pytest.mark.parametrize("provider", KNOWN)
def test_each_ci_tells_commit_ref_run_and_url(provider: str, tmp_path: Path) -> None:
    environ, ref, run_id, url = KNOWN[provider]
    assert ci.find_context(environ, tmp_path) == ci.RunContext("abc", ref, provider, url)
    assert ci.choose_deploy_id(environ) == run_id


def test_nvoi_deploy_id_comes_first_and_github_run_id_second() -> None:
    environ = {"NVOI_DEPLOY_ID": "mine", "GITHUB_RUN_ID": "42", "GITLAB_CI": "1", "CI_JOB_ID": "9"}
    assert ci.choose_deploy_id(environ) == "mine"
    assert ci.choose_deploy_id({**environ, "NVOI_DEPLOY_ID": ""}) == "42"


def test_without_a_ci_each_run_has_a_new_uuid() -> None:
    first, second = ci.choose_deploy_id({}), ci.choose_deploy_id({})
    assert uuid.UUID(first) != uuid.UUID(second)


@pytest.mark.parametrize("deploy_id", ["a\r\nX-Evil: 1", "..", "."])
def test_a_deploy_id_that_would_change_the_path_is_refused(deploy_id: str) -> None:
    with pytest.raises(UsageError):
        ci.choose_deploy_id({"NVOI_DEPLOY_ID": deploy_id})


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    result = subprocess.run(
        ["git", "-C", directory, *identity, *arguments], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_outside_a_ci_sha_and_ref_are_of_the_checkout(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "topic")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    sha = git(tmp_path, "rev-parse", "HEAD")
    assert ci.find_context({}, tmp_path) == ci.RunContext(sha, "topic")
    git(tmp_path, "tag", "v1")
    git(tmp_path, "checkout", "-q", "--detach")
    assert ci.find_context({}, tmp_path) == ci.RunContext(sha, "v1")


def test_without_a_checkout_nothing_is_known(tmp_path: Path) -> None:
    assert ci.find_context({}, tmp_path) == ci.RunContext()
