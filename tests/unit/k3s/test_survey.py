"""What is asked, and what is heard while a server answers."""

from __future__ import annotations

import pytest

from nvoi.errors import AccessError, ConnectionFailedError, HostKeyError, NvoiError
from nvoi.k3s.facts import Facts
from nvoi.k3s.survey import SurveyReader, build_survey, find_away, find_secret
from tests.unit.k3s.servers import Answers, build_facts, build_k3s, build_server


def test_a_survey_hears_while_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="nvoi")
    heard: list[str] = []
    reader = SurveyReader("shop-main-2", lambda _, text: heard.append(text), clock=lambda: 1000.0)
    lines = "@nvoi architecture,aarch64,@nvoi cloud-init,waiting 15,state done,@nvoi clock,1042"
    for line in lines.split(","):
        reader.read_line(line)
    assert heard == ["arm64"]
    assert reader.clock_offset == 42.5
    assert caplog.messages == ["shop-main-2: waiting for cloud-init (15 s)"]


def test_only_the_master_is_asked_for_the_port_of_its_api() -> None:
    master, worker = (str(build_survey(is_master=is_master)) for is_master in (True, False))
    assert "tcp:192B" in master
    assert "tcp:192B" not in worker
    assert "udp:CA6C" in worker


def test_only_a_master_that_takes_the_public_s_requests_is_asked_for_their_ports() -> None:
    assert "tcp:0050 tcp:01BB" in str(build_survey(is_master=True, ingress=True))
    assert "tcp:0050" not in str(build_survey(is_master=True))
    assert "tcp:0050" not in str(build_survey(is_master=False, ingress=True))


@pytest.mark.parametrize(
    "line", ["token: s3cret", 'token: "s3cret"', "'token' : 's3cret'", "agent-token: s3cret"]
)
def test_a_secret_is_found_in_its_line(line: str) -> None:
    assert find_secret(line) == "s3cret"


@pytest.mark.parametrize("line", ["node-name: web-1", "# token", "token:"])
def test_other_lines_have_none(line: str) -> None:
    assert find_secret(line) is None


OWN, OTHER = "root@203.0.113.2:22", "root@203.0.113.9:22"


@pytest.mark.parametrize(
    ("error", "ready", "address", "away"),
    [
        (ConnectionFailedError("no answer"), "Unknown", OWN, {"shop-main-2"}),
        # Its node is well: it is the way there that is not.
        (ConnectionFailedError("no answer"), "True", OWN, set()),
        (ConnectionFailedError("no answer"), "Unknown", OTHER, set()),
        # It was set up anew, and is to be set right.
        (HostKeyError("another key"), "Unknown", OWN, set()),
        (AccessError("no key fits"), "Unknown", OWN, set()),
        (NvoiError("its answer is none"), "Unknown", OWN, {"shop-main-2"}),
        (build_facts(2, disk=0), "Unknown", OWN, {"shop-main-2"}),
    ],
)
def test_a_server_is_away_where_its_node_is_not_ready_and_it_is_the_one_that_it_was(
    error: Facts | NvoiError, ready: str, address: str, away: set[str]
) -> None:
    servers = [build_server(1), build_server(2)]
    found: dict[str, Facts | NvoiError] = {"shop-main-1": build_facts(1, k3s=build_k3s())}
    found["shop-main-2"] = error
    metadata = {"name": "node-2", "annotations": {"nvoi.io/address": address}}
    conditions = [{"type": "Ready", "status": ready}]
    node = {"metadata": metadata, "status": {"conditions": conditions}}
    assert find_away(servers, found, Answers(node)) == away


def test_a_cluster_that_cannot_be_asked_of_dead_nodes_hides_no_other_error() -> None:
    found: dict[str, Facts | NvoiError] = {"shop-main-2": ConnectionFailedError("away")}
    found["shop-main-1"] = build_facts(1, k3s=build_k3s())
    assert find_away([build_server(1), build_server(2)], found, Answers({})) == set()
