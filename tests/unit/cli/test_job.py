"""What CI pages are told, in the words of their own protocols."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from nvoi.cli.job import (
    build_annotations,
    build_command,
    build_summary,
    find_formatter,
    find_page,
    write_files,
)
from nvoi.errors import ConfigError, Fault, NvoiError
from nvoi.log.console import PLAIN
from nvoi.log.levels import STEP
from nvoi.log.masking import add_secrets
from nvoi.outcome import LOGGER, Outcome, Timing

GITHUB = {"GITHUB_ACTIONS": "true"}
DONE = Outcome(
    "Deploy",
    "shop",
    65.0,
    [
        Timing("Build", 61.2),
        Timing("Make the volumes", 0.0, told=False),
        Timing("Roll out | web", 3.8),
    ],
    release="20260101000000",
    commit="abc1234",
    urls=["https://shop.example.com"],
)


def render(environ: dict[str, str], *records: tuple[str, int, str]) -> list[str]:
    formatter = find_formatter(environ, PLAIN)
    assert formatter is not None
    lines = []
    for number, (name, level, text) in enumerate(records):
        record = logging.LogRecord(name, level, __file__, 1, text, (), None)
        record.created = 1_700_000_000 + number
        lines += formatter.format(record).split("\n")
    return lines


RUN = [
    ("nvoi.operation", logging.INFO, "nvoi 0.3.0: deploy shop"),
    ("nvoi.operation", STEP, "Build"),
    ("nvoi.images", logging.INFO, "building"),
    ("nvoi.operation", STEP, "Roll out"),
    (LOGGER, logging.ERROR, "web exited with 1"),
    (LOGGER, logging.ERROR, "look at its log"),
]


@pytest.mark.parametrize("marker", ["GITHUB_ACTIONS", "GITEA_ACTIONS", "FORGEJO_ACTIONS"])
def test_each_step_is_a_group_on_github_and_the_end_is_outside(marker: str) -> None:
    begun, first, line, end, second, end_too, *rest = render({marker: "true"}, *RUN)
    assert begun.endswith("deploy shop")
    assert re.fullmatch(r"::group::\[.*\] \[STEP\] Build", first)
    assert line.endswith("building")
    assert (end, end_too) == ("::endgroup::", "::endgroup::")
    assert second.endswith("Roll out")
    assert [text.rpartition("] ")[2] for text in rest] == ["web exited with 1", "look at its log"]


def test_each_step_is_a_section_on_gitlab() -> None:
    lines = render({"GITLAB_CI": "true"}, *RUN)
    mark = "\x1b[0Ksection_{}:{}:nvoi_step_{}\r\x1b[0K"
    assert lines[1].startswith(mark.format("start", 1_700_000_001, 1) + "[")
    assert lines[3] == mark.format("end", 1_700_000_003, 1)
    assert lines[4].startswith(mark.format("start", 1_700_000_003, 2))
    assert lines[5] == mark.format("end", 1_700_000_004, 2)


@pytest.mark.parametrize("environ", [{}, {"CIRCLECI": "true"}, {"CI": "true"}])
def test_elsewhere_the_log_is_plain(environ: dict[str, str]) -> None:
    assert find_formatter(environ, PLAIN) is None


def test_faults_of_a_plain_config_are_shown_beside_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "shop" / "deploy.yml"
    faults = [Fault(3, 5, "application.name", "must be a name"), Fault(0, 0, "", "is empty")]
    found = list(
        build_annotations(ConfigError(str(file), faults), {"GITHUB_WORKSPACE": str(tmp_path)})
    )
    assert found == [
        f"::error file=shop/deploy.yml::{file}: is empty",
        f"::error file=shop/deploy.yml,line=3,col=5::{file}:3:5: application.name: must be a name",
    ]


def test_lines_of_an_encrypted_config_are_none_of_its_file(tmp_path: Path) -> None:
    error = ConfigError(str(tmp_path / "deploy.enc"), [Fault(3, 5, "application", "is missing")])
    (found,) = build_annotations(error, {"GITHUB_WORKSPACE": str(tmp_path)})
    assert found.startswith("::error file=deploy.enc::")


def test_a_reason_is_one_annotation_whatever_signs_it_has() -> None:
    add_secrets("hunter2secret")
    (found,) = build_annotations(NvoiError("100 %\nof a: hunter2secret"), {})
    assert found == "::error title=nvoi::100 %25%0Aof a: [REDACTED]"
    assert build_command("error", "x", file="a:b,c%") == "::error file=a%3Ab%2Cc%25::x"


def test_the_summary_has_steps_addresses_release_and_the_dashboard_s_page() -> None:
    assert list(build_summary(DONE, "https://d.example.com/projects/shop/deploys/7")) == [
        "### Deploy of shop: done in 1 min 05 s",
        "",
        "- https://shop.example.com",
        "- release 20260101000000",
        "- commit abc1234",
        "- [the log on the dashboard](https://d.example.com/projects/shop/deploys/7)",
        "",
        "| step | time |",
        "|---|---:|",
        "| Build | 1 min 01 s |",
        "| Roll out \\| web | 3.8 s |",
    ]


def test_the_summary_of_a_failure_has_the_reason_and_the_step() -> None:
    error = NvoiError("web exited with 1", hint="look at its log")
    text = "\n".join(
        build_summary(Outcome("Deploy", "shop", 2, [Timing("Roll out", 1, True)], error=error), "")
    )
    assert text.startswith("### Deploy of shop: failed after 2.0 s\n\n```\nweb exited with 1\n```")
    assert "look at its log" in text
    assert "| Roll out: failed | 1.0 s |" in text


def test_a_file_that_cannot_be_written_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_files(DONE, {"GITHUB_OUTPUT": str(tmp_path / "none" / "output")}, "")
    assert "GITHUB_OUTPUT cannot be written" in caplog.text


@pytest.mark.parametrize(
    ("url", "page"),
    [
        (
            "https://d.example.com/api/projects/shop/deploys",
            "https://d.example.com/projects/shop/deploys/a%2Fb",
        ),
        (
            "https://me:pw@d.example.com/x/api/projects/shop/deploys/",
            "https://d.example.com/x/projects/shop/deploys/a%2Fb",
        ),
        ("http://127.0.0.1:8787/api/deploys", "http://127.0.0.1:8787/"),
        ("https://d.example.com/callbacks", ""),
        (None, ""),
    ],
)
def test_the_page_of_a_run_is_known_for_nvoi_s_own_dashboard(url: str | None, page: str) -> None:
    assert find_page(url, "a/b") == page
