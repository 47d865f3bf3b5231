"""Which release of k3s may follow which."""

from __future__ import annotations

import pytest

from nvoi.errors import NvoiError
from nvoi.k3s.versions import (
    DEFAULT_VERSION,
    choose_version,
    find_upgrade_fault,
    parse_version,
)


def test_releases_are_in_order() -> None:
    texts = [
        "v1.35.5+k3s1",
        "v1.36.2-rc1+k3s1",
        "v1.36.2-rc2+k3s1",
        "v1.36.2+k3s1",
        "v1.36.2+k3s2",
        "v1.36.10+k3s1",
    ]
    assert sorted(set(texts), key=parse_version) == texts


@pytest.mark.parametrize("text", ["1.36.4", "v1.36", "v1.36.4", "latest", "v1.36.4+rke2r1"])
def test_what_is_no_release_is_refused(text: str) -> None:
    with pytest.raises(NvoiError, match="is no release of k3s"):
        parse_version(text)


def test_the_config_is_first_then_what_there_is_then_the_default() -> None:
    assert choose_version("v1.36.1+k3s1", "v1.35.5+k3s1") == "v1.36.1+k3s1"
    assert choose_version(None, "v1.35.5+k3s1") == "v1.35.5+k3s1"
    assert choose_version(None, None) == DEFAULT_VERSION
    parse_version(DEFAULT_VERSION)


@pytest.mark.parametrize(
    ("installed", "wanted"),
    [
        ("v1.35.5+k3s1", "v1.35.5+k3s1"),
        ("v1.35.5+k3s1", "v1.35.6+k3s1"),
        ("v1.35.5+k3s2", "v1.35.5+k3s1"),
        ("v1.35.5+k3s1", "v1.36.4+k3s1"),
        ("v1.36.4+k3s-of-somebody", "v1.36.4+k3s1"),
    ],
)
def test_upgrades_that_are_supported(installed: str, wanted: str) -> None:
    assert find_upgrade_fault(installed, wanted) is None


def test_a_downgrade_is_none() -> None:
    assert "does not support downgrades" in str(find_upgrade_fault("v1.36.4+k3s1", "v1.36.3+k3s1"))
    assert "does not support downgrades" in str(find_upgrade_fault("v1.36.4+k3s1", "v1.35.9+k3s1"))


def test_a_minor_release_is_not_skipped() -> None:
    fault = find_upgrade_fault("v1.34.4+k3s1", "v1.36.4+k3s1")
    assert "a release of v1.35 first" in str(fault)
