from __future__ import annotations

import itertools

import pytest

from nvoi.kubernetes import names

TEXTS = [
    "shop",
    "_shop",
    "shop_",
    "shop-",
    "Shop",
    "run/1",
    "run-1",
    "",
    "ü",
    "-",
    "a" * 63,
    "a" * 64,
]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_becomes_a_label_s_value(text: str) -> None:
    assert names.LABEL_VALUE.fullmatch(names.build_label_value(text))


def test_no_two_texts_become_one_label_s_value() -> None:
    for first, second in itertools.combinations(TEXTS, 2):
        assert names.build_label_value(first) != names.build_label_value(second)


def test_two_volumes_never_have_one_name_in_a_pod() -> None:
    volumes = ["data", "Data", "da_ta", "da-ta", "d" * 63, "D" * 63]
    parts = [names.build_part_name(volume) for volume in volumes]
    assert len(set(parts)) == len(volumes)
    assert all(len(part) <= 63 and part == part.lower() for part in parts)


def test_a_checksum_tells_apart_what_reads_alike_when_joined() -> None:
    assert names.build_checksum({"A": "BC"}) != names.build_checksum({"AB": "C"})
    assert names.build_checksum({"A": "1", "B": "2"}) == names.build_checksum({"B": "2", "A": "1"})
    assert names.build_checksum({}) != names.build_checksum({"": ""})


def test_a_long_job_s_name_fits_and_still_differs_by_its_stamp() -> None:
    workload = "w" * 63
    jobs = {names.build_job_name(workload, stamp) for stamp in ("20260101000000", "20260101000001")}
    assert len(jobs) == 2
    assert all(len(job) == 63 for job in jobs)


def test_a_statefulset_s_name_leaves_room_for_its_pods_labels() -> None:
    assert names.build_statefulset_name("db-shop") == "db-shop"
    assert names.build_statefulset_name("d" * 52) == "d" * 52
    assert len(names.build_statefulset_name("d" * 53)) == 52
    assert names.build_statefulset_name("d" * 63) != names.build_statefulset_name("d" * 62)
