"""The user of an image in numbers, by the files that the image has."""

from __future__ import annotations

import pytest

from nvoi.images.build import find_numbers, resolve
from nvoi.images.engines import Buildx

PASSWD = "passwd\0\0root:x:0:0::/:/bin/sh\napp:x:1001:1002::/:/bin/sh\n"
GROUPS = "group\0\0root:x:0:\nstaff:x:50:app\n"


@pytest.mark.parametrize(
    ("name", "group", "wanted"),
    [
        ("app", "", "1001:1002"),
        ("root", "", "0:0"),
        ("app", "staff", "1001:50"),
        ("1001", "staff", "1001:50"),
        ("app", "7", "1001:7"),
        ("nobody-there", "", None),
        ("app", "nobody-there", None),
    ],
)
def test_names_are_found_in_the_image_s_own_files(
    name: str, group: str, wanted: str | None
) -> None:
    assert resolve(name, group, PASSWD, GROUPS) == wanted


@pytest.mark.parametrize("user", ["", "1000", "1000:1000"])
def test_what_is_a_number_already_needs_no_engine(user: str) -> None:
    engine = Buildx("/nonexistent")
    assert find_numbers(engine, "nvoi-shop:1", "linux/amd64", user, {}) == user
