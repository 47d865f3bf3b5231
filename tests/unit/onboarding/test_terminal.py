"""Every question leads back to the one before, and Ctrl-C at any leaves nothing behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from nvoi.config.fields import parse_port
from nvoi.config.schema import Healthcheck
from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.onboarding.adoption import AnswerSource, begin
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.checkout import read_checkout
from nvoi.onboarding.document import build_document
from nvoi.onboarding.prompts import (
    BackError,
    Interview,
    StartedDashboard,
    Verdict,
    ask,
)
from nvoi.onboarding.services import HEALTH
from nvoi.onboarding.terminal import RetracingPrompts
from nvoi.onboarding.wizard import hold_interview
from tests.unit.onboarding.proposals.reading import write
from tests.unit.onboarding.script import ENTER, Script

T = TypeVar("T")
Answer = str | bool | None

#: A question of every section, with every kind of answer.
WHOLE: tuple[Answer, ...] = (
    "shop",
    "own servers", "a.example, b.example", "deploy", ENTER, "make a new pair", "no domains",
    "web", "serve", "3000", "/up", "migrate", True,
    "work", "w", ENTER, ENTER, False,
    "PostgreSQL", "20",
    "take 2 variables from .env", "LEVEL", "info", "", "TOKEN", "t0ken-5ecret", "",
    True, "start one on this machine, in the background",
    "change Database", "SQLite", "30",
    "save it",
)  # fmt: skip


class Wavering(Script):
    """Goes back once, at the question of a number, and then answers as it was told."""

    def __init__(self, answers: Sequence[Answer], back_at: int) -> None:
        super().__init__(*answers)
        self._all = list(answers)
        self._back_at: int | None = back_at
        self._given = 0

    def _next(self, message: str) -> Answer:
        if self._given == self._back_at:
            self._back_at = None
            self._given = max(0, self._given - 1)
            raise BackError
        self.asked.append(message)
        self._given += 1
        return self._all[self._given - 1]


def hold(script: Script, folder: Path, file: str | None = None) -> tuple[Answers | None, list[str]]:
    """The interview of a checkout, and the dashboards that were started and called."""
    done: list[str] = []

    def start(name: str) -> StartedDashboard:
        done.append(f"start {name}")
        return StartedDashboard("http://127.0.0.1:1/c", "Its page: x")

    def call(url: str) -> Verdict:
        done.append(f"call {url}")
        return Verdict(ok=True, text="well")

    prompts = RetracingPrompts(script)
    interview = Interview(prompts, read_checkout(folder, {}), None, call, start)
    source = AnswerSource(folder, Path(file) if file else None, {})
    answers = prompts.retrace(
        lambda: hold_interview(interview, build_document, lambda one: begin(one, source))
    )
    return answers, done


def describe(answers: Answers | None) -> object:
    """The answers without what is made by chance each time."""
    assert answers
    database = answers.database
    return (
        *(answers.name, answers.provider, answers.groups, answers.apps, answers.volume),
        *(dict(answers.env), {name: one.reveal() for name, one in answers.secrets.items()}),
        *(answers.callback_url, database and (database.engine, dict(database.mount))),
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write(folder, {".env": "MODE=x\nAPI_KEY=key-5ecret\n"})
    return folder


@pytest.fixture(scope="module")
def straight(checkout: Path) -> object:
    """What somebody answers who never goes back."""
    return describe(hold(Script(*WHOLE), checkout)[0])


@pytest.mark.parametrize("number", range(len(WHOLE)))
def test_each_question_leads_back_to_the_one_before(
    checkout: Path, straight: object, number: int
) -> None:
    script = Wavering(WHOLE, number)
    answers, done = hold(script, checkout)
    assert describe(answers) == straight
    # What was done is not done again, unless the question before it was answered anew.
    assert done.count("start shop") == (2 if number == 29 else 1)
    if number:
        assert script.asked[number - 1] == script.asked[number]


def test_a_refused_answer_is_no_question_to_go_back_to() -> None:
    class Going(Script):
        def text(self, message: str, default: str) -> str:
            answer = super().text(message, default)
            if answer == "back":
                raise BackError
            return answer

    script = Going("a", "0", "70000", "back", "b", "80")
    prompts = RetracingPrompts(script)
    found = prompts.retrace(
        lambda: (prompts.text("Name:", ""), ask(prompts, "Port:", parse_port, ""))
    )
    assert found == ("b", 80)
    assert script.asked == ["Name:", "Port:", "Port:", "Port:", "Name:", "Port:"]


#: An interview with somebody who gets everything wrong first; a refusal is what is said of it.
WRONG_FIRST: tuple[tuple[str, Answer, str], ...] = (
    ("Application name:", "My Shop", "must be lower-case letters"),
    ("Application name:", "shop", ""),
    ("Where does it run?", "own servers", ""),
    ("Hosts, separated by commas:", "", "an answer is needed here"),
    ("Hosts, separated by commas:", "no good", "must be a host name"),
    ("Hosts, separated by commas:", "a.example, A.example", "must be host names or IP addresses"),
    ("Hosts, separated by commas:", "a.example", ""),
    ("User:", "-oProxyCommand=x", "must be a login name"),
    ("User:", "root", ""),
    ("SSH port:", "0", "must be a port"),
    ("SSH port:", "22", ""),
    ("SSH key:", "use a key file of mine", ""),
    ("Private key file:", "~/missing", "cannot read"),
    ("Private key file:", "~/app.py", "~/app.py must be an Ed25519 private key"),
    ("Private key file:", "~/id_ed25519", ""),
    ("What brings domains to the apps?", "no domains", ""),
    ("App name:", "-web-", "must be lower-case letters"),
    ("App name:", "web", ""),
    ("Command (blank: the image's):", ENTER, ""),
    ("Port (blank: none):", "99999", "must be a port, 1 to 65535"),
    ("Port (blank: none):", "3000", ""),
    (HEALTH, "up", "must be a path that begins with"),
    (HEALTH, "/up", ""),
    ("Command before each release (blank: none):", ENTER, ""),
    ("Another app?", True, ""),
    ("App name:", "Web", "must be lower-case letters"),
    ("App name:", "web", "another service has this name"),
    ("App name:", "api", ""),
    ("Command (blank: the image's):", ENTER, ""),
    ("Port (blank: none):", "", ""),
    ("Command before each release (blank: none):", ENTER, ""),
    ("Another app?", False, ""),
    ("Database:", "PostgreSQL with pgvector", ""),
    ("Size of its volume in GB:", "ten", "must be a whole number from 1"),
    ("Size of its volume in GB:", "10", ""),
    ("Variable (blank: no more):", "9LIVES", "must be letters, digits"),
    ("Variable (blank: no more):", "A", ""),
    ("Value of A:", ENTER, ""),
    ("Variable (blank: no more):", ENTER, ""),
    ("Secret (blank: no more):", "A-B", "must be letters, digits"),
    ("Secret (blank: no more):", "B", ""),
    ("Value of B:", "", "an answer is needed here"),
    ("Value of B:", "val-5ecret-api", ""),
    ("Secret (blank: no more):", ENTER, ""),
    ("Stream deploy logs to a dashboard?", True, ""),
    ("Which one?", "one that runs already", ""),
    ("Callback URL:", "dashboard.example.com", "must be an http or https URL"),
    ("Callback URL:", "https://d.example.com/?a=b", "must be an http or https URL"),
    ("Callback URL:", "https://d.example.com/", ""),
    ("What now?", "save it", ""),
)


def test_each_wrong_answer_is_refused_with_its_reason_and_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    keys = generate_ssh_keys("mine")
    write(tmp_path, {"app.py": "print()", "id_ed25519": keys.private_key.reveal()})
    script = Script(*(answer for _, answer, _ in WRONG_FIRST))
    answers, _ = hold(script, tmp_path)
    assert answers
    assert script.asked == [question for question, _, _ in WRONG_FIRST]
    refusals = [text.partition(": ")[0] for text in script.said if text.startswith("! ")]
    wanted = [f"! {refusal}" for _, _, refusal in WRONG_FIRST if refusal]
    assert len(refusals) == len(wanted)
    for refusal, beginning in zip(refusals, wanted, strict=True):
        assert refusal.startswith(beginning)
    assert answers.apps[0].healthcheck == Healthcheck(path="/up")
    assert answers.env == {"A": ""}
    assert answers.ssh_keys
    assert answers.ssh_keys.public_key.split()[1] == keys.public_key.split()[1]


# -- what a checkout says of itself ----------------------------------------------------------

COMPOSE = """\
services:
  web: {build: ., command: serve, ports: ["3000:3000"], environment: [TOKEN, MODE=x], tty: true}
  db: {image: "postgres:16", environment: {POSTGRES_PASSWORD: w0rd-5ecret}}
"""


def test_a_file_that_is_named_leaves_the_questions_that_it_answers(tmp_path: Path) -> None:
    write(tmp_path, {"compose.yaml": COMPOSE})
    servers = ("own servers", "a.example", ENTER, ENTER, "make a new pair")
    named = Script(*servers, "t0ken-5ecret", "no domains", False, "save it")
    write(tmp_path, {"named.yaml": f"name: store\n{COMPOSE}"})
    answers, _ = hold(named, tmp_path, "named.yaml")
    assert answers
    assert answers.ssh_keys
    assert answers.ssh_keys.public_key.endswith(" nvoi-store")
    script = Script("shop", *servers, "t0ken-5ecret", "no domains", False, "save it")
    answers, _ = hold(script, tmp_path, "compose.yaml")
    assert answers
    assert script.asked == [
        "Application name:",
        "Where does it run?",
        "Hosts, separated by commas:",
        "User:",
        "SSH port:",
        "SSH key:",
        "Value of TOKEN:",
        "What brings domains to the apps?",
        "Stream deploy logs to a dashboard?",
        "What now?",
    ]
    assert script.hidden == ["Value of TOKEN:"]
    assert answers.secrets["TOKEN"].reveal() == "t0ken-5ecret"
    assert answers.database
    said = "\n".join(script.said)
    assert "compose.yaml:2: services.web.tty: " in said
    assert "5ecret" not in said


def test_on_this_machine_the_address_of_its_database_is_asked(tmp_path: Path) -> None:
    write(tmp_path, {"compose.yaml": COMPOSE.replace("[TOKEN, MODE=x]", "{}")})
    url = "postgres://u:w0rd-5ecret@db.example/shop"
    script = Script("shop", "this machine", ENTER, url, False, "save it")
    answers, _ = hold(script, tmp_path, "compose.yaml")
    assert answers
    assert answers.database
    assert answers.database.url
    assert script.asked[2:4] == ["Database:", "URL (postgres://USER:PASSWORD@HOST/NAME):"]


def test_a_file_of_the_checkout_is_offered_and_can_be_left(tmp_path: Path) -> None:
    write(tmp_path, {"fly.toml": 'app = "tiny"\n[http_service]\ninternal_port = 31960\n'})
    script = Script("take what fly.toml says", "this machine", ENTER, False, "cancel, save nothing")
    answers, _ = hold(script, tmp_path)
    assert answers is None
    assert "Application name:" not in script.asked
    app = ("web", "serve", "", "", False)
    rest = (ENTER, "", "", False, "cancel, save nothing")
    script = Script("ask for everything", "other", "this machine", *app, *rest)
    hold(script, tmp_path)
    assert "Application name:" in script.asked
