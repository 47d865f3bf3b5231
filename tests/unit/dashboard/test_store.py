from __future__ import annotations

import itertools
import random
import sqlite3

import pytest

from nvoi.dashboard import projects
from nvoi.dashboard.deliveries import Body, LogBatch
from tests.unit.dashboard.stores import (
    COMPLETED,
    KEY,
    NOON,
    Sent,
    Store,
    make_batch,
    make_end,
    make_failure,
    make_plain,
    make_start,
)

# -- what a deploy becomes ------------------------------------------------------------------


@pytest.mark.parametrize("body", [make_batch(1, 3), COMPLETED, make_failure("no"), make_start()])
def test_whatever_comes_first_opens_the_first_attempt(store: Store, body: Sent | Body) -> None:
    receipt = store.send(body)
    assert receipt.attempt_id == store.get().id
    assert store.get().number == 1


def test_a_batch_without_lines_for_a_known_deploy_says_that_it_lives(store: Store) -> None:
    store.send(make_start())
    store.send(LogBatch(()), at=NOON + 5000)
    assert (store.get().last_seen_at, store.get().lines) == (NOON + 5000, 0)


def test_a_clock_that_is_set_back_does_not_make_a_deploy_older(store: Store) -> None:
    store.send(make_start(), at=NOON)
    store.send(make_batch(1, 1), at=NOON - 60_000)
    assert store.get().last_seen_at == NOON


# -- what was stored before -----------------------------------------------------------------


def test_a_replay_stripped_of_its_webhook_headers_is_known_again(store: Store) -> None:
    store.send_all([make_start(), make_batch(1, 2), COMPLETED])
    for body in (make_start(), make_batch(1, 2), COMPLETED):
        assert store.send(body, webhook=None, deploy="another").duplicate
        assert store.send(body, webhook=None).duplicate
    assert store.count_runs() == 1
    assert store.find(deploy="another") is None


def test_the_same_start_without_webhook_headers_may_be_another_run(store: Store) -> None:
    for _ in range(2):
        store.send(make_start(), webhook=None)
        store.send(COMPLETED, webhook=None)
    assert store.count_runs() == 2
    assert [store.get(number).status for number in (1, 2)] == ["completed", "completed"]


def test_a_retried_end_without_webhook_headers_does_not_end_an_earlier_attempt(
    store: Store,
) -> None:
    store.send_all([make_start(), make_batch(1, 1), make_start()])
    store.send(COMPLETED, webhook=None)
    assert store.send(COMPLETED, webhook=None).duplicate
    assert [store.get(number).status for number in (1, 2)] == ["lost", "completed"]


@pytest.mark.parametrize("webhook", ["msg_1", None])
def test_two_projects_may_send_the_same(store: Store, webhook: str | None) -> None:
    with store.database.write() as sql:
        other = projects.add_project(sql, store.keyring, "other", KEY)
    for project in (store.project, other):
        assert not store.send(make_plain("a"), webhook=webhook, project=project).duplicate
        assert store.send(make_plain("a"), webhook=webhook, project=project).duplicate


# -- attempts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "status"), [(COMPLETED, "completed"), (make_batch(1, 1), "lost")]
)
def test_a_start_after_lines_or_the_end_opens_a_new_attempt(
    store: Store, before: Sent | Body, status: str
) -> None:
    store.send_all([make_start(), before, make_start()])
    assert [store.get(number).status for number in (1, 2)] == [status, "running"]
    assert [store.get(number).superseded for number in (1, 2)] == [True, False]


def test_a_start_right_after_a_start_is_the_same_attempt(store: Store) -> None:
    store.send_all([make_start(), {"status": "started", "git_ref": "other"}])
    attempt = store.get()
    assert (attempt.number, attempt.git_ref, attempt.git_sha) == (1, "other", "a" * 40)


def test_a_start_that_comes_late_belongs_to_the_lines_before_it(store: Store) -> None:
    store.send_all([make_batch(1, 1), make_start(), make_batch(2, 2)])
    assert store.count_runs() == 1
    assert (store.get().lines, store.get().git_ref) == (2, "main")


def test_an_end_after_the_end_changes_nothing(store: Store) -> None:
    store.send_all([make_start(), COMPLETED])
    receipt = store.send(make_failure("too late"), at=NOON + 9000)
    assert receipt.attempt_id == store.get().id
    assert (store.get().status, store.get().error) == ("completed", None)
    assert store.get().ended_at == NOON


def test_what_comes_without_a_run_id_is_of_the_attempt_that_was_started_last(store: Store) -> None:
    store.send_all([make_start(), make_batch(1, 5), make_start(), make_batch(1, 2)])
    store.send_all([make_batch(6, 6), make_end(6, dropped=3)])
    assert [store.get(number).status for number in (1, 2)] == ["lost", "completed"]
    assert store.read_messages(2) == ["line 1", "line 2", "line 6"]


# -- ends without a run id ------------------------------------------------------------------

BROKEN = make_failure("it broke")


def list_states(store: Store) -> list[str]:
    """The state of each attempt, and how often a note is among its lines."""
    states = []
    for number in range(1, store.count_runs() + 1):
        notes = sum("belongs to none of this" in text for text in store.read_messages(number))
        states.append(store.get(number).status + " noted" * notes)
    return states


def test_a_late_end_ends_the_earlier_run_whose_lines_it_counts(store: Store) -> None:
    store.send_all([make_start(), make_batch(1, 5), make_start(), make_batch(1, 2)])
    store.send(make_end(5, body=BROKEN))
    assert list_states(store) == ["failed", "running"]
    store.send_all([make_batch(3, 4), make_end(4)])
    assert list_states(store) == ["failed", "completed"]


@pytest.mark.parametrize(
    ("count", "dropped", "fits"),
    [(4, 0, True), (4, 1, True), (6, 2, True), (3, 0, False), (5, 0, False), (9, 4, False)],
)
def test_an_end_fits_the_lines_that_its_sender_knows_to_be_stored(
    store: Store, count: int, dropped: int, *, fits: bool
) -> None:
    store.send_all([make_start(), make_batch(1, 4), make_end(count, dropped=dropped)])
    assert list_states(store) == ["completed" if fits else "running noted"]


def test_lines_that_never_came_are_not_counted_as_stored(store: Store) -> None:
    store.send_all([make_start(), make_batch(1, 2), make_batch(5, 6)])
    store.send(make_end(6, dropped=1))
    store.send(make_end(6, dropped=2))
    assert list_states(store) == ["completed noted"]


def test_an_end_that_fits_no_attempt_is_a_note_on_the_newest_which_goes_on(store: Store) -> None:
    store.send_all([make_start(), make_batch(1, 2)])
    receipt = store.send(make_end(500, body=BROKEN), webhook="msg_late", at=NOON + 5000)
    assert receipt.attempt_id == store.get().id
    assert store.send(make_end(500, body=BROKEN), webhook="msg_late").duplicate
    assert list_states(store) == ["running noted"]
    assert store.read()[-1].level == "warning"
    assert store.read_messages()[-1].endswith("failed: it broke")
    # It is no sign of life.
    assert store.get().last_seen_at == NOON
    store.send_all([make_batch(3, 3), make_end(3)])
    assert list_states(store) == ["completed noted"]


def test_an_end_without_an_id_is_never_that_of_a_run_with_one(store: Store) -> None:
    for body in (make_start(), make_batch(1, 2)):
        store.send(body, run=ONE)
    for end in (make_end(2, body=BROKEN), BROKEN):
        store.send(end)
    assert list_states(store) == ["running noted noted"]
    assert store.send(COMPLETED, run=ONE).attempt_id == store.get().id
    assert store.get().status == "completed"


def test_lines_without_an_id_are_of_the_attempt_that_has_none(store: Store) -> None:
    store.send_all([make_start(), make_batch(1, 2)])
    store.send(make_start(), run=ONE)
    store.send_all([make_batch(3, 3), make_end(3)])
    assert list_states(store) == ["completed", "running"]
    assert store.read_messages(1) == ["line 1", "line 2", "line 3"]


def test_a_start_without_an_id_begins_a_run_of_its_own_after_one_with_an_id(
    store: Store,
) -> None:
    store.send(make_start(), run=ONE)
    store.send(make_start())
    assert list_states(store) == ["lost", "running"]


def test_lines_without_numbers_are_counted_too(store: Store) -> None:
    store.send_all([make_start(), make_plain("a", "b"), make_start(), make_plain("c")])
    store.send(make_end(2, body=BROKEN))
    assert list_states(store) == ["failed", "running"]
    # An end without a count is of the attempt that was started last.
    store.send(BROKEN)
    assert list_states(store) == ["failed", "failed"]


# -- runs -----------------------------------------------------------------------------------

ONE, TWO = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.mark.parametrize("body", [COMPLETED, make_failure("no"), make_batch(1, 1)])
def test_whatever_comes_first_of_a_run_begins_its_attempt(store: Store, body: Sent | Body) -> None:
    store.send_all([make_start(), make_batch(1, 1)])
    store.send(body, run=TWO)
    assert store.get(1).status == "lost"
    assert store.get(2).status == ("running" if isinstance(body, Sent) else store.get(2).status)
    assert store.count_runs() == 2


def test_a_start_that_comes_late_begins_no_other_attempt_of_its_run(store: Store) -> None:
    store.send(make_batch(1, 2), run=ONE)
    store.send(COMPLETED, run=ONE)
    store.send(make_start(), run=ONE)
    assert store.count_runs() == 1
    assert (store.get().status, store.get().git_ref) == ("completed", "main")


def test_the_rest_of_a_run_that_is_sent_after_the_next_one_stays_with_its_own(
    store: Store,
) -> None:
    later = NOON + 3_600_000
    store.send(make_batch(1, 2), run=ONE)
    store.send(make_batch(1, 9, at=later, text="again"), run=TWO)
    store.send(make_batch(3, 4), run=ONE)
    store.send(make_batch(6, 6), run=ONE)
    store.send(make_end(6, body=make_failure("broken")), run=ONE)
    assert store.read_messages(1) == [f"line {n}" for n in (1, 2, 3, 4, 6)]
    assert (store.get(1).status, store.gaps(1)) == ("failed", [(5, 5)])
    assert store.read_messages(2) == [f"again {n}" for n in range(1, 10)]


def test_a_batch_without_lines_of_an_unknown_run_stores_nothing(store: Store) -> None:
    store.send(make_start(), run=ONE)
    assert store.send(LogBatch(()), run=TWO).attempt_id is None
    assert store.count_runs() == 1


def test_two_runs_may_begin_and_end_in_the_same_words_without_webhook_headers(
    store: Store,
) -> None:
    for run in (ONE, ONE, TWO):
        store.send(make_start(), webhook=None, run=run)
        store.send(COMPLETED, webhook=None, run=run)
    assert [store.get(number).status for number in (1, 2)] == ["completed", "completed"]
    assert store.count_runs() == 2


# -- sequence numbers -----------------------------------------------------------------------


def test_a_line_without_a_number_follows_the_one_before_it(store: Store) -> None:
    store.send(make_plain("early"))
    store.send(make_batch(1, 2))
    store.send(make_plain("child"))
    store.send(make_batch(3, 3))
    assert store.read_messages() == ["early", "line 1", "line 2", "child", "line 3"]
    assert store.gaps() == []


def test_what_is_there_already_is_not_stored_again(store: Store) -> None:
    store.send(make_batch(1, 4))
    again = store.send(make_batch(1, 4))
    assert again.duplicate
    overlapping = store.send(make_batch(3, 6))
    assert not overlapping.duplicate
    assert store.read_messages() == [f"line {n}" for n in range(1, 7)]
    assert store.get().lines == 6


@pytest.mark.parametrize("other", [make_batch(2, 2, text="other"), make_batch(2, 2, at=NOON + 7)])
def test_something_else_with_a_number_that_is_taken_is_kept_without_it(
    store: Store, other: Sent
) -> None:
    store.send(make_batch(1, 3))
    store.send(other)
    assert [(line.place, line.sequence) for line in store.read()] == [
        (1, 1),
        (2, 2),
        (3, 3),
        (2, None),
    ]
    assert isinstance(other.body, LogBatch)
    assert store.read_messages()[2] == other.body.lines[0].message


def test_a_count_above_the_last_line_is_a_gap_at_the_end(store: Store) -> None:
    store.send_all([make_start(), make_batch(1, 3), make_end(5, dropped=2)])
    assert store.gaps() == [(4, 5)]
    store.send(make_batch(4, 5))
    assert store.gaps() == []
    # Lines without numbers are counted too.
    for body in (make_plain("a", "b"), make_end(2)):
        store.send(body, deploy="plain")
    assert store.get(deploy="plain").gaps == ()


@pytest.mark.parametrize("values", [999, 32_766])
@pytest.mark.parametrize("size", [1, 100, 101, 499, 500, 1001])
def test_a_batch_of_any_size_is_stored_whole_and_in_order_whatever_sqlite_takes_at_once(
    store: Store, size: int, values: int
) -> None:
    limit = sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER
    store.writer.submit(lambda sql: sql.setlimit(limit, values)).result()
    store.send(make_batch(1, size))
    assert [line.number for line in store.read()] == list(range(1, size + 1))
    assert store.read_messages() == [f"line {n}" for n in range(1, size + 1)]


@pytest.mark.parametrize("seed", range(3))
def test_batches_in_any_order_cut_in_any_way_become_the_whole_log_once(
    store: Store, seed: int
) -> None:
    choose = random.Random(seed)
    batches: list[tuple[int, int]] = []
    for _ in range(3):
        edges = [0, *sorted(choose.sample(range(1, 300), 20)), 300]
        batches += list(itertools.pairwise(edges))
    choose.shuffle(batches)
    received: set[int] = set()
    for low, high in batches:
        store.send(make_batch(low + 1, high))
        received |= set(range(low + 1, high + 1))
        missing = {n for first, last in store.gaps() for n in range(first, last + 1)}
        assert missing == set(range(1, max(received) + 1)) - received
    assert store.read_messages() == [f"line {n}" for n in range(1, 301)]
    assert store.get().lines == 300
