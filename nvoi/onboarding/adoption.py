"""Takes over what a checkout says of itself: before the first question, or in place of them all."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from nvoi.config.environment import SCHEMES
from nvoi.config.fields import RejectedError, parse_host, parse_port, parse_user
from nvoi.config.schema import ServerGroup, SSHProvider
from nvoi.config.sensitive import collect_secrets
from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.errors import UsageError
from nvoi.log import masking
from nvoi.log.rendering import format_count
from nvoi.onboarding.answers import Answers, build_config, build_groups
from nvoi.onboarding.checkout import Checkout, complete_services
from nvoi.onboarding.databases import is_unreachable
from nvoi.onboarding.prompts import Choice, Interview, Prompts, ask_secret_value, ask_value
from nvoi.onboarding.proposals import compose, fly, heroku, kamal
from nvoi.onboarding.proposals.proposal import Proposal, Reading
from nvoi.onboarding.proposals.tree import Note
from nvoi.onboarding.services import find_free_port
from nvoi.onboarding.sources import read_text
from nvoi.onboarding.variables import divide, is_secret, read_dotenv
from nvoi.onboarding.wizard import Known, ask_answers

Read = Callable[[Reading, str], Proposal]

#: Each format with the names that its files have in a checkout, those that say most first.
FORMATS: tuple[tuple[Sequence[str], Read], ...] = (
    (kamal.NAMES, kamal.read_kamal),
    (compose.NAMES, compose.read_compose),
    (fly.NAMES, fly.read_fly),
    (heroku.NAMES, heroku.read_heroku),
)
KINDS = "compose.yaml, Kamal's config/deploy.yml, Procfile, fly.toml and app.json"
#: Keys at the top, by which YAML of one kind is told from the other.
SERVICES, SERVICE = (
    re.compile(rf"^[\"']?{key}[\"']?\s*:", re.MULTILINE)
    for key in ("(?:services|include)", "service")
)
#: A file that the checkout's own suggestions say all of already.
PROCFILE = "Procfile"
ASK_ALL = "ask for everything"
NOT_CARRIED = "What {file} says and the config does not have, or has in another way:"
NOTHING_TO_START = "nothing in the checkout says how the app is started"
NAME, PLACE = "Application", "Place"


#: USER@HOST:PORT; an IPv6 address with a port is in brackets.
HOST = re.compile(
    r"(?:(?P<user>[^@]+)@)?(?:\[(?P<literal>[^\]]+)\]|(?P<host>[^:]+|[0-9A-Fa-f:]+))"
    r"(?::(?P<port>\d+))?"
)


@dataclass(frozen=True)
class AnswerSource:
    """Where answers may come from: the checkout's folder, and what the command line names.

    ``variables`` are values that a file may ask for; without ``groups`` this machine is meant.
    """

    folder: Path
    file: Path | None
    variables: Mapping[str, str]
    groups: tuple[ServerGroup, ...] = ()
    name: str = ""

    @property
    def known(self) -> Known:
        """The name and the place that the command line has."""
        answers = Answers(name=self.name)
        answered = frozenset({NAME} if self.name else ())
        if not self.groups:
            return Known(answers, answered)
        answers = replace(answers, provider=SSHProvider(), groups=self.groups)
        return Known(answers, answered | {PLACE})

    def read(
        self, known: Known, file: str | Path, given: Mapping[str, str] | None = None
    ) -> Proposal:
        """What ``file`` says for the place that is known, with the values that were ``given``."""
        variables = {**self.variables, **(given or {})}
        return read_proposal(self.folder, file, variables, is_local=known.answers.is_local)


def find_files(folder: Path) -> list[str]:
    """The files of other tools in a checkout, one a format, those that say most first."""
    there = ([name for name in names if is_there(folder, name)] for names, _ in FORMATS)
    return [names[0] for names in there if names]


def is_there(folder: Path, name: str) -> bool:
    """Whether a file is there, and no other tool's of the same name."""
    return (folder / name).is_file() and not heroku.is_foreign(name, read_text(folder / name))


def read_proposal(
    folder: Path, file: str | Path, variables: Mapping[str, str], *, is_local: bool
) -> Proposal:
    """What a file says of the app in ``folder``.

    Args:
        file: from ``folder`` on, or absolute.
        variables: values that the file may ask for; others are looked up in the ``.env`` beside
            it, then in the checkout's.
        is_local: whether the app is to run on this machine.

    Raises:
        ConfigError: the file is broken.
        UsageError: it cannot be read, or is of no kind that is known.
    """
    path = Path(os.path.normpath(folder.absolute() / file))
    text = read_text(path)
    if not text.strip():
        reason = "it is missing, empty, larger than 1 MiB, or no file of text"
        raise UsageError(f"{file} cannot be read: {reason}")
    read = find_reader(path, text)
    if read is None:
        raise UsageError(f"{file} is of no kind that nvoi reads", hint=f"it reads {KINDS}")
    is_inside = path.is_relative_to(folder.absolute())
    name = path.relative_to(folder.absolute()) if is_inside else path
    root = "" if is_inside else str(path.parent)
    reading = Reading(folder, {}, is_local, root)
    known: dict[str, str] = {}
    for beside in (Path(root), name.parent):
        known |= read_dotenv(reading.read_text((beside / ".env").as_posix()))
    reading.variables = {**known, **variables}
    return read(reading, name.as_posix())


def find_reader(path: PurePath, text: str) -> Read | None:
    """The reader of a file's kind, by its name and then by what is in it."""
    name = path.name.lower()
    if name.startswith("procfile") or path.suffix.lower() == ".json":
        return heroku.read_heroku
    if path.suffix.lower() == ".toml":
        return fly.read_fly
    if path.suffix.lower() not in {".yml", ".yaml"}:
        return None
    if SERVICES.search(text):
        return compose.read_compose
    return kamal.read_kamal if SERVICE.search(text) else None


def build_host_groups(texts: Sequence[str]) -> tuple[ServerGroup, ...]:
    """The servers of ``--host``, which are reached alike."""
    hosts, logins = [], set()
    for text in texts:
        match = HOST.fullmatch(text)
        try:
            host = parse_host((match["literal"] or match["host"]) if match else "")
            user = parse_user(match["user"]) if match and match["user"] else None
            port = parse_port(match["port"]) if match and match["port"] else None
        except RejectedError as error:
            raise UsageError(f"--host {error}", hint="as root@server.example.com") from None
        hosts.append(host)
        logins.add((user, port))
    if len(logins) > 1:
        raise UsageError("--host: all servers are reached by the same user and port")
    if not hosts:
        return ()
    ((user, port),) = logins
    return build_groups(hosts=tuple(dict.fromkeys(hosts)), user=user, port=port)


def begin(interview: Interview, source: AnswerSource) -> Known:
    """The answers to begin with; what a file asks for first is asked here."""
    file = source.file or choose_file(interview.prompts, source.folder)
    if file is None:
        for line in describe_notes("the checkout", interview.checkout.notes):
            interview.prompts.say(line)
        return source.known
    known = source.known
    first = source.read(known, file)
    # How it is read depends on where it runs, and a key pair is called after the app.
    name = known.answers.name or first.answers.name
    known = replace(known, answers=replace(known.answers, name=name))
    if NAME not in {*first.answered, *known.answered}:
        known = ask_answers(interview, known, NAME)
    if PLACE not in {*first.answered, *known.answered}:
        known = ask_answers(interview, known, PLACE)
    proposal = source.read(known, file)
    given: dict[str, str] = {}
    while wanted := [name for name in proposal.missing if name not in given]:
        interview.prompts.say(f"\n  {proposal.file} asks for values that are not here:")
        for name in wanted:
            given[name] = ask_missing(interview.prompts, name)
        proposal = source.read(known, file, given)
    for line in list_notes(proposal):
        interview.prompts.say(line)
    return ensure_keys(merge(known, proposal))


def choose_file(prompts: Prompts, folder: Path) -> str | None:
    files = [file for file in find_files(folder) if file != PROCFILE]
    if not files:
        return None
    choices: list[Choice[str | None]] = [Choice(f"take what {file} says", file) for file in files]
    choices.append(Choice(ASK_ALL, None))
    return prompts.choose("How does the config begin?", choices, files[0])


def ask_missing(prompts: Prompts, name: str) -> str:
    if is_secret(name, "unknown"):
        return ask_secret_value(prompts, f"Value of {name}:", blank=True)
    return ask_value(prompts, f"Value of {name}:", "")


def list_notes(proposal: Proposal) -> list[str]:
    """What is told of a file before anything is asked or written."""
    secrets = collect_secrets(build_config(proposal.answers))
    # A password that is the name of a database hides nothing but that name in what is told.
    masking.add_secrets(*(secret for secret in secrets if secret not in SCHEMES))
    lines = describe_notes(proposal.file, proposal.notes)
    return [*lines, *(f"! {fault}" for fault in proposal.faults)]


def describe_notes(file: str, notes: Sequence[Note]) -> list[str]:
    return [NOT_CARRIED.format(file=file), *(f"  - {note}" for note in notes)] if notes else []


def merge(known: Known, proposal: Proposal) -> Known:
    """What a file says, over what was known before: the name and the place."""
    before, answers = known.answers, proposal.answers
    answers = replace(answers, name=before.name or answers.name)
    if PLACE in known.answered:
        answers = replace(
            answers, provider=before.provider, groups=before.groups, ssh_keys=before.ssh_keys
        )
    return Known(answers, known.answered | proposal.answered)


def ensure_keys(known: Known) -> Known:
    """A pair for servers that need one and were given none."""
    answers = known.answers
    if answers.is_local or answers.ssh_keys or PLACE not in known.answered:
        return known
    keys = generate_ssh_keys(f"nvoi-{answers.name}")
    return replace(known, answers=replace(answers, ssh_keys=keys))


@dataclass(frozen=True)
class Adopted:
    """What is known without a question, what is told of it, and what lacks."""

    answers: Answers
    told: tuple[str, ...]
    lacking: tuple[str, ...]


def adopt(source: AnswerSource, checkout: Checkout) -> Adopted:
    """The answers of the file that was named, or of the checkout; nobody can be asked."""
    file = source.file or next(iter(find_files(source.folder)), None)
    if file is None or file == PROCFILE:
        return choose_ports(adopt_checkout(source, checkout))
    return choose_ports(adopt_file(source, checkout, file))


def choose_ports(adopted: Adopted) -> Adopted:
    """The same with ports that are free, where this machine is to serve."""
    answers, told = adopted.answers, list(adopted.told)
    apps, answers = answers.apps, replace(answers, apps=())
    for app in apps:
        port = find_free_port(app.port, answers) if app.port and answers.is_local else app.port
        if port != app.port:
            told.append(f"{app.name} has port {port}: {app.port} is taken on this machine.")
        answers = replace(answers, apps=(*answers.apps, replace(app, port=port)))
    return replace(adopted, answers=answers, told=tuple(told))


def adopt_file(source: AnswerSource, checkout: Checkout, file: str | Path) -> Adopted:
    proposal = source.read(source.known, file)
    known = merge(source.known, proposal)
    answers = replace(known.answers, name=known.answers.name or checkout.name)
    known = ensure_keys(replace(known, answers=answers))
    lacking = [f"{where} has no value" for where in proposal.missing.values()]
    told = [f"The config is that of {proposal.file}.", *list_notes(replace(proposal, faults=()))]
    answers = known.answers
    if is_unreachable(answers):
        # That is told already, in words of its own.
        answers = replace(answers, database=None)
    return Adopted(answers, tuple(told), (*lacking, *proposal.faults))


def adopt_checkout(source: AnswerSource, checkout: Checkout) -> Adopted:
    place = source.known
    answers = replace(place.answers, name=source.name or checkout.name)
    recipe = checkout.recipe if answers.is_local else None
    served = complete_services(checkout.services, checkout.health)
    apps = checkout.local if answers.is_local else served
    variables = divide(read_dotenv(checkout.dotenv))
    secrets = {**(recipe.secrets if recipe else {}), **variables.secrets}
    answers = replace(answers, apps=apps, env=variables.env, secrets=secrets)
    told = [f"The checkout has {recipe.title}."] if recipe and recipe.title else []
    told += describe_notes("the checkout", checkout.notes)
    if variables:
        told.append(f"The config has the {format_count(len(variables), 'variable')} of .env.")
    known = ensure_keys(replace(place, answers=answers))
    is_startable = any(app.command for app in apps) or not answers.is_local
    lacking = () if is_startable else (NOTHING_TO_START,)
    return Adopted(known.answers, tuple(told), lacking)
