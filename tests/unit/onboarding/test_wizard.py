from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from prompt_toolkit.utils import get_cwidth

from nvoi.config.schema import AppService, Ingress, SSHProvider
from nvoi.config.sensitive import collect_secrets
from nvoi.onboarding.answers import Answers, build_config, build_groups
from nvoi.onboarding.checkout import Checkout
from nvoi.onboarding.document import compose
from nvoi.onboarding.prompts import Interview, Verdict
from nvoi.onboarding.wizard import TOPICS, Known, build_summary, hold_interview
from tests.unit.onboarding.examples import DATABASES, KEYS, PROVIDERS, build_answers
from tests.unit.onboarding.script import ENTER, Script

PLAIN = {"app"}
SERVERS = Answers(
    name="shop",
    provider=SSHProvider(),
    ssh_keys=KEYS,
    groups=build_groups(hosts=("a.example",)),
    apps=tuple(AppService(name, command="serve", port=8000) for name in ("web", "api")),
    env={"LEVEL": "info"},
    callback_url="http://127.0.0.1:1/c",
)


def hold(
    original: Answers | None, *answers: str | bool | None, known: Answers | None = None
) -> tuple[Answers | None, list[str]]:
    """What becomes of a config that is there, or of what is ``known``, and what is said."""
    script = Script(*answers)
    interview = Interview(
        script, Checkout("shop", ()), original, lambda _: Verdict(ok=True, text="x")
    )
    titles = frozenset(topic.title for topic in TOPICS)
    found = hold_interview(
        interview,
        lambda one: compose(None, None, one, Path()),
        lambda _: Known(known or Answers(), titles),
    )
    assert script.left == 0
    return found, script.said


@pytest.mark.parametrize(
    ("provider", "database"),
    [*((provider, "MySQL") for provider in PROVIDERS), *(("local", kind) for kind in DATABASES)],
)
def test_the_summary_fits_its_width_and_shows_no_secret(provider: str, database: str) -> None:
    answers = build_answers(provider, database, servers=2)
    answers = replace(
        answers,
        callback_url="https://user:callback-pass@dashboard.example.com/c",
        env={**answers.env, "REDIS": "redis://:pw1@cache", "LONG": "x" * 150},
    )
    for width in (20, 59, 60, 100):
        text = build_summary(answers, width)
        assert max(map(get_cwidth, text.splitlines())) <= width
        for secret in {*collect_secrets(build_config(answers))} - PLAIN:
            assert secret not in text
        assert "pw1" not in text


def test_a_summary_lists_what_was_answered_below_each_topic() -> None:
    listing = build_summary(build_answers("hetzner", "PostgreSQL"), 80)
    assert "Database\n  PostgreSQL\n" in listing
    assert "volume database, 20 GB" in listing
    assert "cx23 in nbg1" in listing
    assert "TOKEN=••••" in listing


def test_wide_letters_take_two_columns_and_what_is_very_long_is_cut() -> None:
    answers = replace(build_answers(), env={"A": "\N{GRINNING FACE}" * 99, "B": "x" * 9999})
    for width in (40, 80):
        lines = build_summary(answers, width).splitlines()
        assert max(map(get_cwidth, lines)) <= width
        assert len(lines) < 50


def test_control_characters_do_not_reach_the_terminal() -> None:
    answers = replace(build_answers(), env={"A": "\x1b[2J\n\x07"})
    assert build_summary(answers, 80).replace("\n", "").isprintable()


def test_every_topic_can_be_changed_from_the_summary() -> None:
    found, _ = hold(
        SERVERS,
        *("change Application", "store", "change Apps", "remove api", "go on"),
        *("change Domains", "the servers themselves", "ops@example.com"),
        *("change Place", "this machine", "change Database", "SQLite"),
        *("change Variables", "LEVEL", "remove it", "", "", "change Dashboard", False, "save it"),
    )  # fmt: skip
    assert found
    assert (found.name, found.is_local, found.callback_url) == ("store", True, None)
    assert [app.name for app in found.apps] == ["web"]
    assert found.ingress == Ingress("ops@example.com")
    assert found.database
    assert found.env == {}


def test_what_does_not_fit_together_is_not_saved_before_it_is_mended() -> None:
    """Two services on one port are right on servers, and wrong on one machine."""
    moved = ("change Place", "this machine")
    # The first choice is the topic that mends it.
    found, said = hold(
        SERVERS, *moved, ENTER, "change api", ENTER, "8001", "", "", "go on", "save it"
    )
    assert found
    assert [app.port for app in found.apps] == [8000, 8001]
    told = "! application.app.api.port: 8000 is the port of web too"
    assert any(f"It cannot be saved yet:\n{told}" in text for text in said)
    with pytest.raises(StopIteration):
        hold(SERVERS, *moved, "save it")


def test_what_was_changed_is_forgotten_where_everything_begins_again() -> None:
    changed = ("change Application", "odd")
    assert hold(None, *changed, "start again", "save it", known=SERVERS)[0] == SERVERS
    assert hold(None, *changed, "cancel, save nothing", known=SERVERS)[0] is None
