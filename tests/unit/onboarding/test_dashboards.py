from __future__ import annotations

import pytest

from nvoi.log.transport import Answer, TransportError
from nvoi.onboarding.dashboards import explain_answer, explain_failure


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_is_well(status: int) -> None:
    assert explain_answer(Answer(status, {})).ok


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "project add NAME --key-file deploy.key"),
        (403, "refuses this app's key"),
        (404, "nothing has this path"),
        (405, "takes no POST"),
        (422, "does not take the test call"),
        (429, "Try again in a minute"),
        (418, "no answer of a dashboard"),
        (500, "a fault of its own"),
        (503, "what stands behind it is down"),
    ],
)
def test_each_other_status_is_named_and_explained(status: int, words: str) -> None:
    verdict = explain_answer(Answer(status, {}))
    assert not verdict.ok
    assert verdict.text.startswith(f"It answered {status}. ")
    assert words in verdict.text


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://u:pw@new.example:444/c?token=x#y", " to https://new.example:444/c."),
        ("/login", "It redirects."),
        ("javascript:x", "It redirects."),
        ("https://[", "It redirects."),
        ("https://new.example/\x1b[2J", "It redirects."),
    ],
)
def test_a_redirect_names_its_target_without_what_may_be_secret(location: str, shown: str) -> None:
    text = explain_answer(Answer(301, {"location": location})).text
    assert shown in text
    assert "pw" not in text
    assert "token" not in text
    assert text.isprintable()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("unreachable", "nvoi dashboard"),
        ("timeout", "firewall"),
        ("tls", "$SSL_CERT_FILE"),
        ("reset", "https:// in front of it: http://d.example:80"),
        ("garbage", "port of a web server"),
        ("proxy", "$NO_PROXY"),
        ("environment", "told"),
        ("unheard-of", "told"),
    ],
)
def test_each_way_of_getting_no_answer_has_its_advice(kind: str, words: str) -> None:
    verdict = explain_failure(TransportError(kind, "told"), "http://u:pw@d.example:80/x")
    assert not verdict.ok
    assert "told" in verdict.text
    assert words in verdict.text
    assert "pw" not in verdict.text
