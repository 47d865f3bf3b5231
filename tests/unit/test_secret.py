from __future__ import annotations

import pytest

from nvoi.secret import REDACTED, Secret


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        format,
        lambda secret: f"{secret}",
        lambda secret: f"{secret!r}",
        lambda secret: f"{secret!s:>10}",
        lambda secret: "%s" % secret,  # noqa: UP031 - the operator is what is tested
        lambda secret: "%r" % (secret,),  # noqa: UP031 - same
        "{}".format,
        lambda secret: repr([secret]),
        lambda secret: str({"key": secret}),
    ],
)
def test_a_secret_shows_as_redacted(show: object) -> None:
    assert callable(show)
    shown = show(Secret("hunter2"))
    assert "hunter2" not in shown
    assert REDACTED in shown


def test_a_secret_reveals_its_value_as_plain_text() -> None:
    value = Secret("hunter2").reveal()
    assert value == "hunter2"
    assert type(value) is str


def test_a_secret_equals_its_value_and_is_empty_like_it() -> None:
    assert Secret("a") == "a"
    assert hash(Secret("a")) == hash("a")
    assert not Secret()
