from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from nvoi.config.schema import (
    AppService,
    Cloudflare,
    Database,
    Healthcheck,
    Ingress,
    LocalProvider,
    SSHProvider,
)
from nvoi.onboarding.answers import Answers, build_groups
from nvoi.onboarding.checkout import Checkout
from nvoi.onboarding.dashboards import ask_streaming
from nvoi.onboarding.databases import ask_database
from nvoi.onboarding.place import ask_account, ask_domains, ask_place, get_account
from nvoi.onboarding.prompts import Interview, StartedDashboard, Verdict
from nvoi.onboarding.services import ask_services
from nvoi.onboarding.variables import ask_variables
from nvoi.secret import Secret
from tests.unit.onboarding.examples import build_service
from tests.unit.onboarding.script import ENTER, Script

SERVICES = (build_service("web", "serve", 31_999, "migrate"), build_service("work", "w"))
CHECKOUT = Checkout("shop", SERVICES, SERVICES)


def interview(
    script: Script, original: Answers | None = None, verdicts: tuple[bool, ...] = ()
) -> Interview:
    answers = iter(verdicts)
    return Interview(script, CHECKOUT, original, lambda _: Verdict(next(answers), "so"))


def test_the_checkouts_services_can_be_taken_as_they_are() -> None:
    script = Script(*[ENTER] * 11)
    answers = ask_services(interview(script), Answers())
    assert answers.apps == (
        AppService(
            "web",
            command="serve",
            port=31_999,
            healthcheck=Healthcheck(path="/health"),
            pre_run_command="migrate",
        ),
        AppService("work", command="w"),
    )
    assert script.left == 0


def test_the_health_page_that_is_asked_for_is_written_and_a_blank_one_leaves_the_port() -> None:
    for typed, written in (("/up", Healthcheck(path="/up")), ("", None)):
        answers = ask_services(
            interview(Script(ENTER, ENTER, ENTER, typed, ENTER, False)), Answers()
        )
        assert answers.apps[0].healthcheck == written
    check = Healthcheck(path="/up", interval=2.0)
    before = Answers(apps=(AppService("web", command="x", port=1, healthcheck=check),))
    script = Script("change web", *[ENTER] * 5, "go on")
    assert ask_services(interview(script, before), before).apps[0].healthcheck == check
    without = Answers(apps=(AppService("web", command="x", port=1),))
    script = Script("change web", *[ENTER] * 4, "go on")
    assert ask_services(interview(script, without), without).apps[0].healthcheck is None
    tcp = Answers(apps=(AppService("web", command="x", port=1, healthcheck=Healthcheck("tcp")),))
    script = Script("change web", *[ENTER] * 3, "go on")
    assert ask_services(interview(script, tcp), tcp) == tcp


def test_a_port_that_is_taken_or_roots_is_not_offered_on_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for port in (taken.getsockname()[1], 80):
            services = (build_service("web", "serve", port),)
            checkout = Checkout("shop", services, services)
            for provider in (LocalProvider(), SSHProvider()):
                there = replace(interview(Script(*[ENTER] * 6)), checkout=checkout)
                offered = ask_services(there, Answers(provider=provider)).apps[0].port
                assert offered
                assert (offered == port) is isinstance(provider, SSHProvider)
                assert offered >= 1024 or isinstance(provider, SSHProvider)


def test_a_service_can_be_changed_and_removed_but_the_last_one_not() -> None:
    apps = (AppService("a", command="a", replicas=3), AppService("b", command="b"))
    script = Script("change a", "c", "new", "", "", "remove b", "go on")
    answers = ask_services(interview(script), Answers(apps=apps))
    assert answers.apps == (AppService("c", command="new", replicas=3),)
    with pytest.raises(StopIteration):
        ask_services(interview(Script("remove c")), answers)


def test_on_one_machine_each_service_needs_a_command_and_a_port_of_its_own() -> None:
    before = Answers(apps=(AppService("web", command="a", port=31_999),))
    script = Script("add an app", "work", "", "b", "31999", "", ENTER, "go on")
    assert ask_services(interview(script), before).apps[1] == AppService("work", command="b")
    assert [text for text in script.said if text.startswith("! ")] == [
        "! an answer is needed here",
        "! web has this port: on one machine each needs its own",
    ]


def test_without_cloudflare_no_service_keeps_a_domain() -> None:
    app = AppService("a", port=1, domain="example.com")
    answers = Answers(provider=SSHProvider(), cloudflare=Cloudflare(Secret("t"), "a"), apps=(app,))
    script = Script("no domains")
    assert ask_domains(interview(script), answers).apps[0].domain is None


def test_domains_without_cloudflare_need_an_address_of_e_mail() -> None:
    answers = Answers(provider=SSHProvider(), cloudflare=Cloudflare(Secret("t"), "a"))
    script = Script("the servers themselves", "nobody", "ops@example.com")
    answers = ask_domains(interview(script), answers)
    assert (answers.cloudflare, answers.ingress) == (None, Ingress("ops@example.com"))
    staging = Ingress("a@example.com", "https://acme.example.com/directory")
    script = Script(ENTER, "b@example.com")
    changed = ask_domains(interview(script), replace(answers, ingress=staging))
    # What is not asked for stays as it was.
    assert changed.ingress == replace(staging, email="b@example.com")
    script = Script("no domains")
    assert ask_domains(interview(script), changed).ingress is None


def test_on_this_machine_a_database_server_is_named_by_its_url() -> None:
    url = "postgres://app:pw@db.example.com/shop"
    script = Script("PostgreSQL", "", "mysql://x", "postgres:///shop", url)
    answers = ask_database(interview(script), Answers())
    assert answers.database
    assert answers.database.url is not None
    assert answers.database.url.reveal() == url
    assert sum(text.startswith("! ") for text in script.said) == 3
    assert not any("pw" in text for text in script.said)


def test_a_database_that_is_chosen_again_keeps_its_passwords() -> None:
    answers = Answers(
        name="shop", provider=SSHProvider(), groups=build_groups(hosts=("a.example",))
    )
    first = ask_database(interview(Script("MySQL", "20")), answers)
    again = ask_database(interview(Script("MySQL", "30")), first)
    assert first.volume
    assert again.volume
    assert (first.volume.size, again.volume.size) == (20, 30)
    assert first.database == again.database
    kept = ask_database(interview(Script(ENTER)), again)
    assert kept == again
    other = ask_database(interview(Script("SQLite", ENTER)), again)
    assert other.database
    assert other.database.engine == "sqlite3"
    assert other.database.secrets == {}


def test_a_database_of_no_known_kind_is_kept_unless_another_is_wanted() -> None:
    answers = Answers(database=Database(url=Secret("redis://x")))
    assert ask_database(interview(Script(ENTER)), answers) == answers


def test_variables_and_secrets_are_added_changed_and_removed() -> None:
    answers = Answers(env={"A": "1", "B": "2"}, secrets={"C": Secret("3"), "D": Secret("4")})
    script = Script(
        "A", "change it", "one", "B", "remove it", "9X", "E", "", "",
        "C", "change it", "three", "D", "remove it", "",
    )  # fmt: skip
    changed = ask_variables(interview(script), answers)
    assert dict(changed.env) == {"A": "one", "E": ""}
    assert {name: value.reveal() for name, value in changed.secrets.items()} == {"C": "three"}
    assert not any("three" in text for text in script.said)


def test_values_keep_the_spaces_around_them_and_letters_that_are_not_seen() -> None:
    odd = "  a\N{NO-BREAK SPACE}\N{ZERO WIDTH JOINER}b  "
    script = Script("A", f"{odd}\n", "", "B", "   ", odd, "")
    answers = ask_variables(interview(script), Answers())
    assert answers.env == {"A": odd}
    assert answers.secrets["B"].reveal() == odd
    script = Script("A", "one\x1b[2J\ntwo\t", ENTER, "", "B", "one\ntwo", "one", "")
    answers = ask_variables(interview(script), Answers())
    assert answers.env == {"A": "one [2J two "}
    assert sum("nvoi credentials set PATH - < FILE" in text for text in script.said) == 2


def test_no_name_is_both_a_variables_and_a_secrets() -> None:
    script = Script("B", "A", "1", "", "A", "", *[ENTER] * 9)
    answers = ask_variables(interview(script), Answers(secrets={"B": Secret("b")}))
    assert dict(answers.env) == {"A": "1"}
    assert list(answers.secrets) == ["B"]
    assert [text for text in script.said if text.startswith("!")] == [
        "! is the name of a secret: remove that first",
        "! is the name of a variable: remove that first",
    ]


def test_a_url_with_a_password_is_kept_without_being_shown() -> None:
    url = "http://user:pw@one.example/c"
    script = Script(True, "", "change the URL", "http://t0k@two.example", "change the URL", "")
    said = ask_streaming(
        interview(script, verdicts=(False, False, True)), Answers(callback_url=url)
    )
    assert said.callback_url == "http://t0k@two.example"
    assert "Callback URL (blank: http://user:••••@one.example/c):" in script.asked
    assert "Callback URL (blank: http://••••@two.example):" in script.asked


def test_a_dashboard_that_cannot_be_started_leaves_the_question_for_a_url() -> None:
    script = Script(True, "start one on this machine, in the background", "http://d.example")
    there = replace(
        interview(script, verdicts=(True,)),
        start_dashboard=lambda name: StartedDashboard("", f"none for {name}"),
    )
    answers = ask_streaming(there, Answers(name="shop"))
    assert answers.callback_url == "http://d.example"
    assert "! none for shop" in script.said


@pytest.mark.parametrize(
    ("chosen", "env", "masked"),
    [
        ("take 2 variables from .env", {"MODE": "fast"}, {"API_KEY": "key-5ecret"}),
        ("take all of them as secrets", {}, {"MODE": "fast", "API_KEY": "key-5ecret"}),
        ("leave .env out", {}, {}),
    ],
)
def test_the_variables_of_a_dotenv_file_can_be_taken(
    chosen: str, env: dict[str, str], masked: dict[str, str]
) -> None:
    script = Script(chosen, "", "")
    checkout = replace(CHECKOUT, dotenv="MODE=fast\nAPI_KEY=key-5ecret\nKNOWN=1\n")
    there = replace(interview(script), checkout=checkout)
    answers = ask_variables(there, Answers(env={"KNOWN": "0"}))
    assert dict(answers.env) == {"KNOWN": "0", **env}
    assert {name: value.reveal() for name, value in answers.secrets.items()} == masked
    assert not any("5ecret" in text for text in script.said)
    # What a config has already is not asked again.
    ask_variables(replace(there, original=answers, prompts=Script("", "")), answers)


def test_domains_are_asked_of_servers_that_have_cloudflare_and_refused_where_wrong() -> None:
    before = Answers(
        provider=SSHProvider(),
        cloudflare=Cloudflare(Secret("t"), "a"),
        apps=(AppService("web", port=1, domain="example.com", subdomain="www"),),
    )
    script = Script(
        "add an app", "api", "", "2", "", "localhost", "example.com", "a b", "www", "api", "",
        "go on",
    )  # fmt: skip
    api = ask_services(interview(script), before).apps[1]
    assert (api.domain, api.subdomain) == ("example.com", "api")
    refusals = [text for text in script.said if text.startswith("! ")]
    assert [text[:20] for text in refusals] == [
        "! must be a domain, ",
        "! must be the part b",
        "! that is the host n",
    ]


def test_servers_stay_in_their_groups_where_the_answer_is_the_same() -> None:
    groups = build_groups(hosts=("a.example", "b.example"), user="deploy", port=2222)
    answers = Answers(name="shop", provider=SSHProvider(), groups=groups)
    script = Script("own servers", ENTER, ENTER, ENTER, "make a new pair")
    assert ask_place(interview(script), answers).groups == groups
    script = Script("own servers", "a.example, a.example", "c.example", "root", "22", ENTER)
    changed = ask_place(interview(script), answers).groups
    assert [(group.name, group.hosts, group.user) for group in changed] == [
        ("main", ("c.example",), "root")
    ]
    assert any("each once" in text for text in script.said)


def test_on_this_machine_nothing_is_left_of_servers_that_were_asked_for() -> None:
    script = Script("own servers", "a.example", ENTER, ENTER, "make a new pair")
    first = ask_place(interview(script), Answers(name="shop"))
    assert first.groups
    assert first.ssh_keys
    again = ask_place(interview(Script("this machine")), first)
    assert again == Answers(name="shop")


def test_what_is_not_asked_of_own_servers_stays_as_it_was() -> None:
    script = Script()
    assert ask_account(script, get_account(SSHProvider()), SSHProvider("arm64")) == SSHProvider(
        "arm64"
    )
