"""What is read of a build's output, and the user of an image in numbers."""

from __future__ import annotations

import pytest

from nvoi.images.build import EngineLog, find_numbers, resolve
from nvoi.images.engines import Buildx

#: Outputs of builds that fail with exit code 1, each with what is told of it.
OUTPUTS = """\
STEP 1/2: FROM scratch
--> Using cache 5c4b
STEP 2/2: RUN make
make: *** no rule
Error: building at STEP "RUN make": while running runtime: exit status 2
=> STEP 2/2: RUN make: exit code 2

[1/2] STEP 2/2: RUN make
Error: error building at STEP "RUN make": error while running runtime: exit status 7
=> [1/2] STEP 2/2: RUN make: exit code 7

#7 [assets 3/4] RUN npm ci
#8 [build 2/5] RUN pip install -r requirements.txt
#7 ERROR: process "/bin/sh -c npm ci" did not complete successfully: exit code: 1
#8 CANCELED
ERROR: failed to solve: process "/bin/sh -c npm ci" did not complete successfully: exit code: 1
=> [assets 3/4] RUN npm ci: exit code 1

#2 [internal] load metadata for docker.io/library/nosuch:1
#2 ERROR: pull access denied
ERROR: failed to solve: nosuch:1: pull access denied
=> [internal] load metadata for docker.io/library/nosuch:1: pull access denied

Step 2/4 : RUN make all
 ---> Running in 4be9a
The command '/bin/sh -c make all' returned a non-zero code: 2
=> Step 2/4 : RUN make all: exit code 2

Error response from daemon: dockerfile parse error line 3: unknown instruction: RUNN
=> dockerfile parse error line 3: unknown instruction: RUNN

STEP 1/2: FROM x
=> STEP 1/2: FROM x: exit code 1
"""


def feed(*lines: str) -> EngineLog:
    log = EngineLog()
    for line in lines:
        log.feed(line)
    return log


@pytest.mark.parametrize("output", OUTPUTS.strip().split("\n\n"))
def test_the_instruction_that_failed_and_the_reason_are_told(output: str) -> None:
    *lines, told = output.splitlines()
    assert f"=> {feed(*lines).describe(1)}" == told


def test_the_end_by_a_signal_is_told_and_a_very_long_instruction_is_cut() -> None:
    assert feed().describe(-9) == "ended by signal 9"
    assert len(feed(f"STEP 1/1: RUN {'x' * 5000}").describe(1)) < 250


def test_the_last_twenty_lines_are_kept_without_empty_ones() -> None:
    log = feed(*(f"line {number}" for number in range(50)), "", "  ")
    assert log.last_lines == tuple(f"line {number}" for number in range(30, 50))


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("exec /bin/sh: exec format error", "QEMU"),
        ("write /var/lib/x: no space left on device", "make room"),
        ('ERROR: unable to prepare context: path "/var/tmp/x" not found', "TMPDIR"),
        ("dial tcp: lookup registry-1.docker.io: no such host", "base image"),
        ("#2 ERROR: pull access denied", "docker login"),
        ("make: no rule", ""),
    ],
)
def test_what_to_do_next_is_told_where_the_output_says_it(line: str, word: str) -> None:
    hint = feed(line).find_hint()
    assert word in hint
    assert bool(word) == bool(hint)


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
