"""The table of commands: each with its line in the help, its options, and what runs it.

Nothing of what a command does is imported here, so that ``--help`` is there at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nvoi.cli import VERSION
from nvoi.cli.examples import EXAMPLES
from nvoi.cli.parser import Parser, add_options, parse_hours, parse_path

SHELLS = ("bash", "zsh", "fish", "powershell")

PLACE = """
-c --config FILE  the config: encrypted, or plain as *.yml (default: deploy.enc in DIR or
  DIR/config)
-d --dir DIR=.  the checkout (default: this folder)
--key-file FILE  the key (default: $NVOI_MASTER_KEY, $DEPLOY_KEY, deploy.key beside the config)
"""

VOLUME = """
-q --quiet  warnings and errors only
-v --verbose  debug lines and tracebacks too ($NVOI_DEBUG)
"""
FORMAT = """
--log-format {text,json}=text  text for people, or one JSON object a line (default: text)
"""

BRANCH = """
-b --branch NAME  deploy a branch as a separate app: NAME is part of the app's name and subdomains
"""

#: What all commands have that change the app. The budget is that of SignedHTTPHandler, whose
#: module takes far longer to import than the help has.
RUN = """
--dry-run  say what each step would change, and touch nothing
--callback-budget SECONDS=10  how long the end of the run may wait for the dashboard (default: 10)
--lock-wait SECONDS=0  how long to wait for another run on the same servers to end
  (default: not at all)
"""

DATA = """
--accept-data-move  go on where services would not find the data that they have now; it stays on
  its server
"""

DEPLOY = """
--dockerfile-path FILE  the file to build the image from (default: Dockerfile in DIR)
--require-all-servers  fail if a server is away, even one that the app can do without
--delete-volumes  give back rented volumes, with their data, of servers that left the config
--adopt  take over what the Ruby gem nvoi 0.2 has made, after it was shown; asks first where there
  is a terminal
"""

DELETE = """
-y --yes  do not ask; needed without a terminal
--delete-volumes  remove the app's data as well
--cluster  also remove k3s from the servers, if no other app uses it; give back rented ones also
  where they cannot say whether one does
"""

STAMP = (
    "[STAMP]  the release, as `nvoi releases` shows it (default: the one before the current one)"
)

INIT = """
-d --dir DIR=.  the app's checkout
--provider {local,ssh,hetzner,aws,scaleway}=local  where the app runs: this machine (local, the
  default), servers of yours (ssh), or servers that nvoi rents (hetzner, aws, scaleway)
"""

DATABASE = """
--db PATH  the SQLite file (default: dashboard.d/dashboard.sqlite3 in nvoi's own folder)
"""

#: Where the dashboard listens, and who may read and send.
SERVER = """
--host HOST=127.0.0.1  the address to listen on (127.0.0.1)
--port PORT=8787  the port; 0 takes any that is free (8787)
--password-file FILE  the file with the readers' password, on one line; needed beyond this machine
--trust-proxy  a reverse proxy stands before it, and decides who may read
--public-url URL  where senders and readers reach it (default: its own address)
--rate N=200  requests a second that a project may send for long (200)
"""

KEEPING = """
--keep N=200  deploys kept of each project; 0 keeps all (200)
--keep-days D  days for which they are kept
"""


class Subcommand(NamedTuple):
    """A command: ``run(options, environ)`` of its module below ``nvoi.cli``.

    ``options`` are texts for :func:`add_options`, or functions that add some. ``packages`` are
    what it cannot do without, and the extra of its name installs.
    """

    name: str
    help: str
    description: str | None
    options: Sequence[str | Callable[[Parser], None]]
    packages: tuple[str, ...] = ()
    module: str = ""


def build_parser(arguments: Sequence[str], *, complete: bool = False) -> Parser:
    """The parser, with the options of the command in ``arguments``, or of all."""
    parser = Parser(
        prog="nvoi",
        description="Deploy an app from a checkout to running servers, and watch it live.",
        epilog=EXAMPLES["nvoi"],
    )
    parser.add_argument("--version", action="version", version=VERSION)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    # Where it comes first, the others are not even named: each takes its time.
    first = [command for command in COMMANDS if [command.name] == list(arguments[:1])]
    for command in first or COMMANDS:
        subparser = add_parser(subparsers, command.name, command.help, command.description)
        if complete or command.name in arguments:
            subparser.epilog = EXAMPLES.get(command.name)
            for each in command.options:
                add_options(subparser, each) if isinstance(each, str) else each(subparser)
            subparser.set_defaults(
                command=command.name,
                module=command.module or command.name,
                packages=command.packages,
            )
    return parser


def add_parser(
    subparsers: argparse._SubParsersAction[Parser],
    name: str,
    text: str,
    description: str | None = None,
    *,
    epilog: str | None = None,
    is_inheriting: bool = False,
) -> Parser:
    """The parser of a command; what was given to an ``is_inheriting`` one's parent stays."""
    return subparsers.add_parser(
        name,
        help=text,
        description=description,
        epilog=epilog,
        argument_default=argparse.SUPPRESS if is_inheriting else None,
    )


def add_place_options(parser: Parser) -> None:
    add_options(parser.add_argument_group("config"), PLACE)


def add_log_options(parser: Parser) -> None:
    group = parser.add_argument_group("output")
    add_options(group.add_mutually_exclusive_group(), VOLUME)
    add_options(group, FORMAT)


def add_demo_options(parser: Parser) -> None:
    parser.add_argument(
        "--no-wait",
        dest="wait",
        action="store_false",
        help="end when both deploys are done; 0 means that both went as expected",
    )
    add_options(
        parser,
        "--port N  the dashboard's port; 0 takes any that is free (default: 8787 where it is free)",
    )
    parser.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        help="open the first deploy's page in a browser (default: where there is a screen)",
    )


def add_onboard_options(parser: Parser) -> None:
    parser.add_argument(
        "--from",
        dest="source",
        type=parse_path,
        metavar="FILE",
        help="take what a file of another tool says: compose.yaml, Kamal's config/deploy.yml, "
        "Procfile, fly.toml, app.json",
    )
    add_options(parser, "--name NAME  the app's name (default: asked, or what the checkout says)")
    parser.add_argument(
        "--host",
        action="append",
        metavar="[USER@]HOST[:PORT]",
        help="a server of yours that the app runs on; may be given several times (default: asked "
        "at a terminal, else this machine)",
    )


def add_config_options(parser: Parser) -> None:
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)
    init = add_parser(
        commands,
        "init",
        "make deploy.enc, deploy.key and an SSH key pair",
        "Makes deploy.enc, deploy.key and an SSH key pair inside the config, and "
        "names the key in .gitignore and .dockerignore. A file that exists is never overwritten.",
        epilog=EXAMPLES["init"],
    )
    init.add_argument("--name", required=True, help="the app's name: a-z, 0-9, - and _")
    add_options(init, INIT)


def add_credentials_options(parser: Parser) -> None:
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)
    show = add_parser(commands, "show", "print the config")
    edit = add_parser(commands, "edit", "open the config in $VISUAL or $EDITOR")
    setter = add_parser(commands, "set", "write one value", epilog=EXAMPLES["credentials"])
    getter = add_parser(commands, "get", "print one value")
    rotate = add_parser(
        commands,
        "rotate-key",
        "encrypt the config with a new key",
        "Makes a new key, encrypts the config with it, and puts it in the place of the "
        "file that the key was read from.",
    )
    for each in (show, edit, setter, getter, rotate):
        add_place_options(each)
    for each in (setter, getter):
        each.add_argument("path", metavar="PATH", help="keys joined by dots")
    setter.add_argument("value", metavar="VALUE", help="the value, or - to read it from stdin")


def add_dashboard_options(parser: Parser) -> None:
    add_options(parser.add_argument_group("server"), SERVER)
    add_options(parser.add_argument_group("keeping"), KEEPING)
    add_options(parser, DATABASE)
    add_place_options(parser)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    project = add_parser(
        commands,
        "project",
        "serve several apps, each with its own key",
        "The apps that the dashboard takes deploys of, each with its own key.",
        epilog=EXAMPLES["project"],
    )
    project.set_defaults(module="projects", packages=())
    add_project_options(project)


def add_project_options(parser: Parser) -> None:
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)
    found = {
        name: add_parser(commands, name, text, f"{text[0].upper()}{text[1:]}.", is_inheriting=True)
        for name, text in (
            ("add", "add an app, and print its callback_url"),
            ("list", "list the apps"),
            ("rm", "remove an app and its deploys"),
            ("rotate-key", "give an app a new key"),
        )
    }
    for name, each in found.items():
        if name != "list":
            each.add_argument("name", metavar="NAME", help="a-z, 0-9, - and _")
        add_options(each, DATABASE)
        if name in {"add", "rotate-key"}:
            add_place_options(each)
    found["rm"].add_argument("-y", "--yes", action="store_true", default=False, help="do not ask")
    found["rotate-key"].add_argument(
        "--grace",
        type=parse_hours,
        default=24.0,
        metavar="HOURS",
        help="how long the earlier key is taken as well (24)",
    )


def add_completion_options(parser: Parser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("shell", nargs="?", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")
    # What the scripts ask.
    what.add_argument("--words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


_ASKING = (add_place_options, add_log_options)
_RUNNING = (*_ASKING, BRANCH, RUN)
_DASHBOARD = ("starlette", "uvicorn", "jinja2", "msgspec")

#: In the order of the help.
COMMANDS = (
    Subcommand(
        "demo",
        "see two deploys live in a browser, on this machine",
        "Start a dashboard, deploy an app twice on this machine, once with a mistake in it, and "
        "show both deploys live in a browser.",
        [add_demo_options],
        ("supervisor", "psutil", *_DASHBOARD),
    ),
    Subcommand(
        "onboard",
        "make a config by answering questions",
        "Make a config that can be deployed, from your answers or from what the checkout has.",
        [add_onboard_options, add_place_options],
    ),
    Subcommand(
        "deploy",
        "deploy the app",
        "Deploy the app that the config describes from its checkout.",
        [*_RUNNING, DEPLOY, DATA],
        module="operations",
    ),
    Subcommand(
        "delete",
        "take the app down",
        "Take the app down and remove its releases. Its data stays, unless you say otherwise.",
        [*_RUNNING, DELETE],
        module="operations",
    ),
    Subcommand(
        "rollback",
        "run a kept release again",
        "Run a kept release again: its image, commands and settings. Data stays as it is.",
        [STAMP, DATA, *_RUNNING],
        module="operations",
    ),
    Subcommand(
        "releases",
        "list the releases that are kept",
        "List the releases that are kept for a rollback.",
        [*_ASKING, BRANCH],
        module="operations",
    ),
    Subcommand(
        "unlock",
        "end the run that holds the lock of the servers",
        "End the run that holds the lock of the servers.",
        [*_ASKING, BRANCH],
        module="operations",
    ),
    Subcommand(
        "resend",
        "send the lines that a run could not deliver",
        "Send the lines a run could not deliver to its dashboard: in order, with their times, "
        "and nothing twice that was acknowledged.",
        ["FILE  the file that the run named", *_ASKING],
    ),
    Subcommand("config", "make a config and its key", None, [add_config_options]),
    Subcommand(
        "credentials",
        "show or change the encrypted config",
        None,
        [add_credentials_options],
    ),
    Subcommand(
        "dashboard",
        "receive deploys and show them live in a browser",
        "Receives what deploys send to their callback_url, keeps it in a SQLite file, and shows "
        "it live in a browser. The app's deploy key says which deploys are believed.",
        [add_dashboard_options],
        _DASHBOARD,
    ),
    Subcommand(
        "completion",
        "print a script that completes commands in a shell",
        "Print a script that completes nvoi's commands and options in a shell.",
        [add_completion_options],
    ),
)
