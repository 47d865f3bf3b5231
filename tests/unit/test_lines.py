from __future__ import annotations

import base64
import functools
import json
import random
import time

import pytest

from nvoi.lines import LONGEST, LineCutter
from nvoi.log import masking


def test_a_line_is_given_once_it_is_whole() -> None:
    cutter = LineCutter()
    assert cutter.feed(b"on") == []
    assert cutter.feed(b"e\r\ntwo\n\nth") == ["one", "two", ""]
    assert cutter.finish() == ["th"]
    assert cutter.finish() == []


def test_a_character_may_come_in_two_pieces() -> None:
    cutter = LineCutter()
    data = "é☃".encode()
    assert cutter.feed(data[:3]) == []
    assert cutter.feed(data[3:] + b"\n") == ["é☃"]


def test_what_is_no_text_is_replaced() -> None:
    assert LineCutter().feed(b"a\xffb\n") == ["a\ufffdb"]


def test_a_line_without_an_end_is_given_on_in_parts() -> None:
    cutter = LineCutter()
    assert cutter.feed(b"x" * (LONGEST + 1)) == ["x" * LONGEST]
    assert cutter.finish() == ["x"]


SECRET = "tailored-s3cret-of-forty-characters-here"


@pytest.fixture
def masker(monkeypatch: pytest.MonkeyPatch) -> masking.Masker:
    masker = masking.Masker([SECRET, "tailored"])
    monkeypatch.setattr(masking, "masker", masker)
    return masker


def feed(cutter: LineCutter, data: bytes, chunk: int) -> list[str]:
    pieces = (data[start : start + chunk] for start in range(0, len(data), chunk))
    lines = [line for piece in pieces for line in cutter.feed(piece)]
    return [*lines, *cutter.finish()]


FORMS = [
    SECRET,
    json.dumps(json.dumps(SECRET)).strip('"\\'),
    base64.b64encode(SECRET.encode()).decode(),
    base64.b64encode(base64.b64encode(SECRET.encode())).decode(),
    SECRET.encode().hex(),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("chunk", [1000, 70_000, 1 << 20])
def test_no_form_of_a_secret_is_told_in_halves(
    masker: masking.Masker, form: str, end: str, chunk: int
) -> None:
    for before in (LONGEST - len(form) // 2, 2 * LONGEST - 12, 2 * LONGEST - len(form) + 5):
        text = "x" * before + " " + form + " " + "y" * 100_000
        told = feed(LineCutter(), (text + end).encode(), chunk)
        whole = "".join(masker.mask_text(line) for line in told)
        assert whole == "x" * before + " [REDACTED] " + "y" * 100_000
        assert max(map(len, told)) <= LONGEST


@functools.cache
def hold_long(alphabet: str) -> tuple[masking.Masker, str]:
    """A masker, and its secret that is longer than a piece: its forms take a second to build."""
    long = "".join(random.Random(3).choices(alphabet, k=150_000)).strip()
    return masking.Masker([SECRET, "tailored", long]), long


@pytest.mark.parametrize("chunk", [1000, 70_000])
@pytest.mark.parametrize("alphabet", ["abcdefgh", "abcdefgh !?"])
@pytest.mark.parametrize("after", [90_000, 600_000])
def test_a_form_longer_than_a_piece_is_told_in_no_piece(
    monkeypatch: pytest.MonkeyPatch, chunk: int, alphabet: str, after: int
) -> None:
    masker, long = hold_long(alphabet)
    monkeypatch.setattr(masking, "masker", masker)
    told = feed(LineCutter(), f"{'x' * 30_000}{long}{'y' * after}\n".encode(), chunk)
    assert "".join(map(masker.mask_text, told)) == f"{'x' * 30_000}[REDACTED]{'y' * after}"


def test_lines_of_data_come_whole_and_as_they_are(masker: masking.Masker) -> None:
    text = f"{'x' * LONGEST}{SECRET}{'y' * LONGEST * 3}\n\nend\r\n"
    assert feed(LineCutter(whole=True), text.encode(), 1000) == text.replace("\r", "").splitlines()


def test_a_progress_bar_is_told_while_it_is_drawn(masker: masking.Masker) -> None:
    cutter = LineCutter()
    drawn = 0
    while not (told := cutter.feed(b"\r 12 % of it is there")):
        drawn += 1
    assert drawn * 21 < 2 * LONGEST + masker.reach
    assert set(map(len, told)) == {LONGEST}


def test_a_line_that_never_ends_takes_time_by_its_length() -> None:
    def measure(count: int) -> float:
        cutter = LineCutter(whole=True)
        began = time.process_time()
        for _ in range(count):
            cutter.feed(b"x" * 100)
        cutter.finish()
        return time.process_time() - began

    small, large = (min(measure(count) for _ in range(3)) for count in (2_000, 16_000))
    assert large / small < 24
