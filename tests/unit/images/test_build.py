"""What is read of a build's output."""

from __future__ import annotations

import pytest

from nvoi.images.build import EngineLog


def feed(*lines: str) -> EngineLog:
    log = EngineLog()
    for line in lines:
        log.feed(line)
    return log


def test_podmans_instruction_and_reason_are_told() -> None:
    log = feed(
        "STEP 1/3: FROM scratch",
        "STEP 2/3: COPY . .",
        "--> Using cache 5c4b",
        "STEP 3/3: RUN make",
        "make: *** no rule",
        'Error: building at STEP "RUN make": while running runtime: exit status 2',
    )
    assert log.describe(2) == "STEP 3/3: RUN make: exit code 2"


def test_podmans_stage_is_told_where_there_are_several() -> None:
    log = feed(
        "[1/2] STEP 2/2: RUN make",
        'Error: error building at STEP "RUN make": error while running runtime: exit status 7',
    )
    assert log.describe(125) == "[1/2] STEP 2/2: RUN make: exit code 7"


def test_the_instruction_that_failed_is_told_and_not_one_that_runs_beside_it() -> None:
    log = feed(
        "#7 [assets 3/4] RUN npm ci",
        "#8 [build 2/5] RUN pip install -r requirements.txt",
        "#7 1.2 npm error",
        '#7 ERROR: process "/bin/sh -c npm ci" did not complete successfully: exit code: 1',
        "#8 CANCELED",
        'ERROR: failed to solve: process "/bin/sh -c npm ci" did not complete successfully: '
        "exit code: 1",
    )
    assert log.describe(1) == "[assets 3/4] RUN npm ci: exit code 1"


def test_an_image_that_cannot_be_pulled_is_told() -> None:
    reason = "nosuch:1: failed to resolve source metadata: pull access denied"
    log = feed(
        "#2 [internal] load metadata for docker.io/library/nosuch:1",
        "#2 ERROR: pull access denied",
        f"ERROR: failed to solve: {reason}",
    )
    told = "[internal] load metadata for docker.io/library/nosuch:1: pull access denied"
    assert log.describe(1) == told
    assert "docker login" in log.find_hint()


def test_the_older_builders_instruction_is_told() -> None:
    log = feed(
        "Step 2/4 : RUN make all",
        " ---> Running in 4be9a",
        "The command '/bin/sh -c make all' returned a non-zero code: 2",
    )
    assert log.describe(1) == "Step 2/4 : RUN make all: exit code 2"


def test_what_is_wrong_before_the_first_instruction_is_told() -> None:
    log = feed(
        "Error response from daemon: dockerfile parse error line 3: unknown instruction: RUNN"
    )
    assert log.describe(1) == "dockerfile parse error line 3: unknown instruction: RUNN"


@pytest.mark.parametrize(
    ("status", "told"), [(1, "exit code 1"), (-9, "ended by signal 9"), (125, "exit code 125")]
)
def test_without_a_reason_the_end_is_told(status: int, told: str) -> None:
    assert feed("STEP 1/2: FROM scratch").describe(status) == f"STEP 1/2: FROM scratch: {told}"
    assert feed().describe(status) == told


def test_the_last_twenty_lines_are_kept_without_empty_ones() -> None:
    log = feed(*(f"line {number}" for number in range(50)), "", "  ")
    assert log.last_lines == tuple(f"line {number}" for number in range(30, 50))


def test_a_very_long_instruction_is_cut() -> None:
    log = feed(f"STEP 1/1: RUN {'x' * 5000}")
    assert len(log.describe(1)) < 250


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("exec /bin/sh: exec format error", "QEMU"),
        ("write /var/lib/x: no space left on device", "make room"),
        (
            'ERROR: unable to prepare context: path "/var/tmp/nvoi-context-x/context" not found',
            "TMPDIR",
        ),
        ("dial tcp: lookup registry-1.docker.io: no such host", "base image"),
    ],
)
def test_what_to_do_next_is_told_where_the_output_says_it(line: str, word: str) -> None:
    assert word in feed(line).find_hint()
    assert feed("make: no rule").find_hint() == ""
