from __future__ import annotations

from nvoi.ssh.lines import LONGEST, LineCutter


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
    assert cutter.feed(b"x" * (LONGEST + 1)) == ["x" * (LONGEST + 1)]
    assert cutter.finish() == []
