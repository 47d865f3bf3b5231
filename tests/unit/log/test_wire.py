from __future__ import annotations

import json
import logging

import pytest

from nvoi.errors import UsageError
from nvoi.log import wire


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0, "debug"),
        (5, "debug"),
        (10, "debug"),
        (15, "debug"),
        (20, "info"),
        (21, "info"),
        (22, "step"),
        (23, "ok"),
        (24, "ok"),
        (25, "success"),
        (29, "success"),
        (30, "warning"),
        (35, "warning"),
        (40, "error"),
        (50, "error"),
        (999, "error"),
    ],
)
def test_a_level_is_named_by_the_nearest_at_or_below(number: int, name: str) -> None:
    assert wire.name_level(number) == name


def test_a_line_is_the_protocols_object_byte_for_byte() -> None:
    line = wire.encode_line((logging.INFO, 1705314600.123, 'say "hi"\n'))
    assert line == (
        '{"level": "info", "message": "say \\"hi\\"\\n", "logged_at": "2024-01-15T10:30:00.123Z"}'
    )


def test_a_batch_is_one_object_with_its_lines_in_order() -> None:
    lines = [wire.encode_line((20, 1705314600.0, text)) for text in ("one", "zwö")]
    batch = wire.LogBatch(lines, 7)
    assert json.loads(batch.encode()) == {"logs": [json.loads(line) for line in lines]}
    assert batch.sequence == "7-8"
    assert len(batch.encode()) == wire.FRAME_BYTES + sum(map(wire.measure, lines)) + 2


def test_halves_have_the_batchs_lines_and_numbers_and_ids_of_their_own() -> None:
    batch = wire.LogBatch(["a", "b", "c"], 4)
    first, second = batch.halve()
    assert first.lines + second.lines == batch.lines
    assert (first.sequence, second.sequence) == ("4-4", "5-6")
    assert len({batch.id, first.id, second.id}) == 3


@pytest.mark.parametrize("text", ["x" * 100_000, "ü" * 100_000, '"\n' * 50_000, "🚀" * 30_000])
@pytest.mark.parametrize("most", [500, 5_000, 50_000])
def test_a_long_line_is_cut_to_fit_and_says_so(text: str, most: int) -> None:
    cut = wire.cut_line(wire.encode_line((20, 0.0, text)), most)
    assert most * 0.5 < wire.measure(cut) <= most
    message = json.loads(cut)["message"]
    kept, _, note = message.partition("… [")
    assert text.startswith(kept)
    assert note == f"{len(text) - len(kept)} characters cut]"


@pytest.mark.parametrize(
    ("deploy_id", "segment"),
    [
        ("123", "123"),
        ("a/b", "a%2Fb"),
        ("a b", "a%20b"),
        ("..a", "..a"),
        ("ü?#%", "%C3%BC%3F%23%25"),
        ("x" * 255, "x" * 255),
    ],
)
def test_a_deploy_id_is_one_path_segment(deploy_id: str, segment: str) -> None:
    assert wire.check_deploy_id(deploy_id) == deploy_id
    url = wire.build_url("https://example.com/api/", deploy_id, "logs")
    assert url == f"https://example.com/api/{segment}/logs"


@pytest.mark.parametrize(
    "deploy_id", ["", ".", "..", "a\r\nb", "a\x00", "\x7f", "\x85", "x" * 256, "ü" * 128, "\ud800"]
)
def test_a_deploy_id_that_would_change_the_path_is_refused(deploy_id: str) -> None:
    with pytest.raises(UsageError) as caught:
        wire.check_deploy_id(deploy_id)
    assert "NVOI_DEPLOY_ID" in str(caught.value)
    assert str(caught.value).isprintable()


def test_started_leaves_out_what_is_not_known() -> None:
    context = {"git_sha": "abc", "git_ref": None, "ci_provider": "", "other": "x"}
    assert wire.build_started(context) == {"status": "started", "git_sha": "abc"}


def test_completed_has_whole_seconds_and_a_list_of_tunnels() -> None:
    assert wire.build_completed([], 119.6) == {
        "status": "completed",
        "tunnels": [],
        "duration_seconds": 120,
    }
    tunnels = wire.build_completed([("web", "www.example.com")], 0)["tunnels"]
    assert tunnels == [{"service_name": "web", "hostname": "www.example.com"}]


def test_counts_and_sequence_stand_where_the_protocol_has_them() -> None:
    batch = wire.LogBatch([wire.encode_line((20, 0.0, "x"))], 3)
    terminal = wire.StatusEvent({"status": "failed", "error": "no"})

    def headers(request: wire.Request, counts: tuple[int, int] | None = None) -> dict[str, str]:
        return wire.build_headers(
            request, request.encode(), key="k" * 64, deploy_id="ü", timestamp=1, counts=counts
        )

    assert headers(batch)["X-Nvoi-Sequence"] == "3-3"
    assert "X-Nvoi-Sequence" not in headers(terminal)
    assert headers(terminal, (5, 2))["X-Nvoi-Log-Count"] == "5"
    assert headers(terminal, (5, 2))["X-Nvoi-Log-Dropped"] == "2"
    assert headers(batch)["X-Nvoi-Deploy-Id"].encode("latin-1").decode() == "ü"


@pytest.mark.parametrize("created", [-1.5, 0.0, 1e10, 1e300, float("inf")])
def test_any_time_has_a_form(created: float) -> None:
    if created == float("inf"):
        with pytest.raises(OverflowError):
            int(created)
        return
    assert wire.format_time(created).endswith("Z")


def test_a_forked_childs_batches_have_no_numbers_of_the_run() -> None:
    batch = wire.LogBatch(["a", "b"], 0)
    for part in (batch, *batch.halve()):
        headers = wire.build_headers(part, b"", key="k", deploy_id="d", timestamp=1)
        assert "X-Nvoi-Sequence" not in headers


def test_a_very_long_reason_is_cut() -> None:
    error = wire.build_failed("x" * 1_000_000)["error"]
    assert len(error) < 33_000
    assert error.endswith("characters cut]")
