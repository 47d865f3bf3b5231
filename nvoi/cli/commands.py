"""The table of commands: each with its line in the help, its options, and what runs it.

Nothing of what a command does is imported here, so that ``--help`` is there at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nvoi.cli import VERSION
from nvoi.cli.examples import EXAMPLES
from nvoi.cli.options import (
    add_branch_option,
    add_database_option,
    add_log_options,
    add_place_options,
    add_run_options,
    parse_amount,
    parse_count,
    parse_hours,
    parse_path,
    parse_port,
    parse_stamp,
)
from nvoi.cli.parser import Parser

SHELLS = ("bash", "zsh", "fish", "powershell")
PROVIDERS = ("local", "ssh", "hetzner", "aws", "scaleway")
#: Hours for which an app's earlier key is taken as well.
GRACE_HOURS = 24.0


class Command(NamedTuple):
    """A command: ``run(options, environ)`` of a module below ``nvoi.cli``.

    ``packages`` are what it cannot do without, and the extra of its name installs.
    """

    name: str
    help: str
    module: str
    description: str | None
    add_options: Sequence[Callable[[Parser], None]]
    packages: tuple[str, ...] = ()


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
            for add_options in command.add_options:
                add_options(subparser)
            subparser.set_defaults(
                command=command.name, module=command.module, packages=command.packages
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


def add_demo_options(parser: Parser) -> None:
    parser.add_argument(
        "--no-wait",
        dest="wait",
        action="store_false",
        help="end when both deploys are done; 0 means that both went as expected",
    )
    parser.add_argument(
        "--port",
        type=parse_port,
        metavar="N",
        help="the dashboard's port; 0 takes any that is free (default: 8787 where it is free)",
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
    parser.add_argument(
        "--name", metavar="NAME", help="the app's name (default: asked, or what the checkout says)"
    )
    parser.add_argument(
        "--host",
        action="append",
        metavar="[USER@]HOST[:PORT]",
        help="a server of yours that the app runs on; may be given several times (default: asked "
        "at a terminal, else this machine)",
    )


def add_deploy_options(parser: Parser) -> None:
    parser.add_argument(
        "--dockerfile-path",
        type=parse_path,
        metavar="FILE",
        help="the file to build the image from (default: Dockerfile in DIR)",
    )
    parser.add_argument(
        "--require-all-servers",
        action="store_true",
        help="fail if a server is away, even one that the app can do without",
    )
    parser.add_argument(
        "--delete-volumes",
        action="store_true",
        help="give back rented volumes, with their data, of servers that left the config",
    )
    parser.add_argument(
        "--adopt",
        action="store_true",
        help="take over what the Ruby gem nvoi 0.2 has made, after it was shown; asks first where "
        "there is a terminal",
    )
    add_data_option(parser)


def add_delete_options(parser: Parser) -> None:
    parser.add_argument(
        "-y", "--yes", action="store_true", help="do not ask; needed without a terminal"
    )
    parser.add_argument(
        "--delete-volumes", action="store_true", help="remove the app's data as well"
    )
    parser.add_argument(
        "--cluster",
        action="store_true",
        help="also remove k3s from the servers, if no other app uses it; give back rented ones "
        "also where they cannot say whether one does",
    )


def add_rollback_options(parser: Parser) -> None:
    parser.add_argument(
        "stamp",
        nargs="?",
        type=parse_stamp,
        metavar="STAMP",
        help="the release, as `nvoi releases` shows it (default: the one before the current one)",
    )
    add_data_option(parser)


def add_data_option(parser: Parser) -> None:
    parser.add_argument(
        "--accept-data-move",
        action="store_true",
        help="go on where services would not find the data that they have now; it stays on its "
        "server",
    )


def add_resend_options(parser: Parser) -> None:
    parser.add_argument("file", type=parse_path, metavar="FILE", help="the file that the run named")


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
    init.add_argument(
        "-d", "--dir", type=parse_path, default=".", metavar="DIR", help="the app's checkout"
    )
    init.add_argument(
        "--provider",
        choices=PROVIDERS,
        default="local",
        help="where the app runs: this machine (local, the default), servers of yours (ssh), or "
        "servers that nvoi rents (hetzner, aws, scaleway)",
    )


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
    add_server_options(parser.add_argument_group("server"))
    keeping = parser.add_argument_group("keeping")
    keeping.add_argument(
        "--keep",
        type=parse_count,
        default=200,
        metavar="N",
        help="deploys kept of each project; 0 keeps all (200)",
    )
    keeping.add_argument(
        "--keep-days", type=parse_amount, metavar="D", help="days for which they are kept"
    )
    add_database_option(parser)
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


def add_server_options(server: argparse._ArgumentGroup) -> None:
    """Where it listens, and who may read and send."""
    server.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    server.add_argument(
        "--port", type=parse_port, default=8787, help="the port; 0 takes any that is free (8787)"
    )
    server.add_argument(
        "--password-file",
        type=parse_path,
        metavar="FILE",
        help="the file with the readers' password, on one line; needed beyond this machine",
    )
    server.add_argument(
        "--trust-proxy",
        action="store_true",
        help="a reverse proxy stands before it, and decides who may read",
    )
    server.add_argument(
        "--public-url",
        metavar="URL",
        help="where senders and readers reach it (default: its own address)",
    )
    server.add_argument(
        "--rate",
        type=parse_amount,
        default=200.0,
        metavar="N",
        help="requests a second that a project may send for long (200)",
    )


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
        add_database_option(each)
        if name in {"add", "rotate-key"}:
            add_place_options(each)
    found["rm"].add_argument("-y", "--yes", action="store_true", default=False, help="do not ask")
    found["rotate-key"].add_argument(
        "--grace",
        type=parse_hours,
        default=GRACE_HOURS,
        metavar="HOURS",
        help="how long the earlier key is taken as well (24)",
    )


def add_completion_options(parser: Parser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("shell", nargs="?", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")
    # What the scripts ask.
    what.add_argument("--words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


_ASKING_OPTIONS = (add_place_options, add_log_options)
_DASHBOARD = ("starlette", "uvicorn", "jinja2", "msgspec")

#: In the order of the help.
COMMANDS = (
    Command(
        "demo",
        "see two deploys live in a browser, on this machine",
        "demo",
        "Start a dashboard, deploy an app twice on this machine, once with a mistake in it, and "
        "show both deploys live in a browser.",
        [add_demo_options],
        ("supervisor", "psutil", *_DASHBOARD),
    ),
    Command(
        "onboard",
        "make a config by answering questions",
        "onboard",
        "Make a config that can be deployed, from your answers or from what the checkout has.",
        [add_onboard_options, add_place_options],
    ),
    Command(
        "deploy",
        "deploy the app",
        "operations",
        "Deploy the app that the config describes from its checkout.",
        [add_run_options, add_deploy_options],
    ),
    Command(
        "delete",
        "take the app down",
        "operations",
        "Take the app down and remove its releases. Its data stays, unless you say otherwise.",
        [add_run_options, add_delete_options],
    ),
    Command(
        "rollback",
        "run a kept release again",
        "operations",
        "Run a kept release again: its image, commands and settings. Data stays as it is.",
        [add_rollback_options, add_run_options],
    ),
    Command(
        "releases",
        "list the releases that are kept",
        "operations",
        "List the releases that are kept for a rollback.",
        [*_ASKING_OPTIONS, add_branch_option],
    ),
    Command(
        "unlock",
        "end the run that holds the lock of the servers",
        "operations",
        "End the run that holds the lock of the servers.",
        [*_ASKING_OPTIONS, add_branch_option],
    ),
    Command(
        "resend",
        "send the lines that a run could not deliver",
        "resend",
        "Send the lines a run could not deliver to its dashboard: in order, with their times, "
        "and nothing twice that was acknowledged.",
        [add_resend_options, *_ASKING_OPTIONS],
    ),
    Command("config", "make a config and its key", "config", None, [add_config_options]),
    Command(
        "credentials",
        "show or change the encrypted config",
        "credentials",
        None,
        [add_credentials_options],
    ),
    Command(
        "dashboard",
        "receive deploys and show them live in a browser",
        "dashboard",
        "Receives what deploys send to their callback_url, keeps it in a SQLite file, and shows "
        "it live in a browser. The app's deploy key says which deploys are believed.",
        [add_dashboard_options],
        _DASHBOARD,
    ),
    Command(
        "completion",
        "print a script that completes commands in a shell",
        "completion",
        "Print a script that completes nvoi's commands and options in a shell.",
        [add_completion_options],
    ),
)
