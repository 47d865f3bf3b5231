from __future__ import annotations

from dataclasses import replace

import pytest
from prompt_toolkit.utils import get_cwidth

from nvoi.config.sensitive import collect_secrets
from nvoi.onboarding.answers import build_config
from nvoi.onboarding.wizard import build_summary
from tests.unit.onboarding.examples import DATABASES, PROVIDERS, build_answers

PLAIN = {"app"}


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


def test_a_wide_summary_is_a_table_and_a_narrow_one_a_list() -> None:
    answers = build_answers("hetzner", "PostgreSQL")
    table, listing = build_summary(answers, 80), build_summary(answers, 40)
    assert "│ Database    │ PostgreSQL" in table
    assert "Database\n  PostgreSQL\n" in listing
    assert "│" not in listing
    assert "volume database, 20 GB" in table
    assert "cx23 in nbg1" in table
    assert "TOKEN=••••" in table


def test_wide_letters_take_two_columns_and_what_is_very_long_is_cut() -> None:
    answers = replace(build_answers(), env={"A": "\N{GRINNING FACE}" * 99, "B": "x" * 9999})
    for width in (40, 80):
        lines = build_summary(answers, width).splitlines()
        assert max(map(get_cwidth, lines)) <= width
        assert len(lines) < 50
    assert len({get_cwidth(line) for line in lines}) == 1


def test_control_characters_do_not_reach_the_terminal() -> None:
    answers = replace(build_answers(), env={"A": "\x1b[2J\n\x07"})
    assert build_summary(answers, 80).replace("\n", "").isprintable()
