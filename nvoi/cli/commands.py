"""The table of commands: each with its line in the help, its options, and what runs it.

Nothing of what a command does is imported here, so that ``--help`` is there at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nvoi.cli import VERSION, examples
from nvoi.cli.options import (
    HelpFormatter,
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

SHELLS = ("bash", "zsh", "tcsh")
PROVIDERS = ("local", "ssh", "hetzner", "aws", "scaleway")
#: Hours for which an app's earlier key is taken as well.
GRACE_HOURS = 24.0


class Command(NamedTuple):
    """A command.

    Args:
        name: what is typed.
        help: its line in the help of nvoi.
        module: the one below ``nvoi.cli`` whose ``run(options, environ)`` does it.
        add_options: gives the parser its description, its examples and its options.
        packages: what it cannot do without, and an extra installs.
    """

    name: str
    help: str
    module: str
    add_options: Callable[[argparse.ArgumentParser], None]
    packages: tuple[str, ...] = ()


def build_parser(arguments: Sequence[str], *, complete: bool = False) -> argparse.ArgumentParser:
    """The parser, with the options of the command in ``arguments``, or of all."""
    parser = argparse.ArgumentParser(
        prog="nvoi",
        description="Deploy an app from a checkout to running servers, and watch it live.",
        epilog=examples.NVOI,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    # Where it comes first, the others are not even named: each takes its time.
    first = [command for command in COMMANDS if [command.name] == list(arguments[:1])]
    for command in first or COMMANDS:
        subparser = _add(subparsers, command.name, command.help)
        if complete or command.name in arguments:
            command.add_options(subparser)
            subparser.set_defaults(
                command=command.name, module=command.module, packages=command.packages
            )
    return parser


def _add(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    description: str | None = None,
    **defaults: object,
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        name,
        help=text,
        description=description,
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(**defaults)
    return parser


def _add_demo_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Start a dashboard, deploy an app twice on this machine, once with a mistake in it, and "
        "show both deploys live in a browser."
    )
    parser.epilog = examples.DEMO
    parser.add_argument(
        "--no-wait",
        dest="wait",
        action="store_false",
        help="end when both deploys are done; 0 means that both went as expected",
    )
    parser.add_argument(
        "--port",
        type=parse_port,
        default=0,
        metavar="N",
        help="the dashboard's port; 0 takes any that is free (default: 0)",
    )
    parser.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        help="open the first deploy's page in a browser (default: where there is a screen)",
    )


def _add_onboard_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make a config that can be deployed, by questions."
    parser.epilog = examples.ONBOARD
    add_place_options(parser)


def _add_deploy_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Deploy the app that the config describes from its checkout."
    parser.epilog = examples.DEPLOY
    add_place_options(parser)
    add_log_options(parser)
    add_run_options(parser)
    parser.add_argument(
        "--dockerfile-path",
        type=parse_path,
        metavar="FILE",
        help="the file to build the image from (default: Dockerfile in DIR)",
    )


def _add_delete_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Take the app down and remove its releases. Its data is kept unless asked."
    parser.epilog = examples.DELETE
    add_place_options(parser)
    add_log_options(parser)
    add_run_options(parser)
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--delete-volumes", action="store_true", help="remove the app's data as well"
    )
    parser.add_argument(
        "--cluster",
        action="store_true",
        help="also remove k3s from the servers, if no other app uses it",
    )


def _add_rollback_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run a kept release again: its image, commands and settings. Data stays as it is."
    )
    parser.epilog = examples.ROLLBACK
    parser.add_argument(
        "stamp",
        nargs="?",
        type=parse_stamp,
        metavar="STAMP",
        help="the release, as `nvoi releases` shows it (default: the one before the current one)",
    )
    add_place_options(parser)
    add_log_options(parser)
    add_run_options(parser)


def _add_releases_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "List the releases that are kept for a rollback."
    parser.epilog = examples.RELEASES
    add_place_options(parser)
    add_log_options(parser)
    add_branch_option(parser)


def _add_unlock_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "End the run that holds the lock of the servers."
    parser.epilog = examples.UNLOCK
    add_place_options(parser)
    add_log_options(parser)


def _add_resend_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Send the lines a run could not deliver to its dashboard: in order, with their times, "
        "and nothing twice that was acknowledged."
    )
    parser.epilog = examples.RESEND
    parser.add_argument("file", type=parse_path, metavar="FILE", help="the file that the run named")
    add_place_options(parser)
    add_log_options(parser)


def _add_config_options(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)
    init = _add(
        commands,
        "init",
        "make deploy.enc, deploy.key and an SSH key pair",
        "Makes deploy.enc, deploy.key and an SSH key pair inside the config, and "
        "names the key in .gitignore and .dockerignore. A file that exists is never overwritten.",
    )
    init.epilog = examples.INIT
    init.add_argument("--name", required=True, help="the app's name: a-z, 0-9, - and _")
    init.add_argument(
        "-d", "--dir", type=parse_path, default=".", metavar="DIR", help="the app's checkout"
    )
    init.add_argument(
        "--provider",
        choices=PROVIDERS,
        default="local",
        help="where the app runs: this machine (local, unless told otherwise), or servers",
    )


def _add_credentials_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = examples.CREDENTIALS
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)
    show = _add(commands, "show", "print the config")
    edit = _add(commands, "edit", "open the config in $VISUAL or $EDITOR")
    setter = _add(commands, "set", "write one value")
    getter = _add(commands, "get", "print one value")
    rotate = _add(
        commands,
        "rotate-key",
        "encrypt the config with a new key",
        "Makes a new key, encrypts the config with it, and puts it in the place of the "
        "file that the key was read from.",
    )
    for each in (show, edit, setter, getter, rotate):
        add_place_options(each)
    setter.epilog = examples.CREDENTIALS
    for each in (setter, getter):
        each.add_argument("path", metavar="PATH", help="keys joined by dots")
    setter.add_argument("value", metavar="VALUE", help="the value, or - to read it from stdin")


def _add_dashboard_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Receives what deploys send to their callback_url, keeps it in a SQLite file, and shows "
        "it live in a browser. The app's deploy key says which deploys are believed."
    )
    parser.epilog = examples.DASHBOARD
    _add_server_options(parser.add_argument_group("server"))
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
    _add_project_options(
        _add(
            commands,
            "project",
            "serve several apps, each with its own key",
            "The apps that the dashboard takes deploys of, each with its own key.",
            module="projects",
            packages=(),
        )
    )


def _add_server_options(server: argparse._ArgumentGroup) -> None:
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


def _add_project_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = examples.PROJECT
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)
    found = {
        name: _add(commands, name, text, f"{text[0].upper()}{text[1:]}.")
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
        add_database_option(each, inherited=True)
        if name in {"add", "rotate-key"}:
            add_place_options(each, inherited=True)
    found["rm"].add_argument("-y", "--yes", action="store_true", help="do not ask")
    found["rotate-key"].add_argument(
        "--grace",
        type=parse_hours,
        default=GRACE_HOURS,
        metavar="HOURS",
        help="how long the earlier key is taken as well (24)",
    )


def _add_completion_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Print a script that completes nvoi's commands and options in a shell."
    parser.epilog = examples.COMPLETION
    parser.add_argument("shell", choices=SHELLS)


#: In the order of the help.
COMMANDS = (
    Command(
        "demo",
        "see two deploys live in a browser, on this machine",
        "demo",
        _add_demo_options,
        ("supervisor", "psutil", "starlette", "uvicorn", "jinja2", "msgspec"),
    ),
    Command("onboard", "make a config by answering questions", "onboard", _add_onboard_options),
    Command("deploy", "deploy the app", "operations", _add_deploy_options),
    Command("delete", "take the app down", "operations", _add_delete_options),
    Command("rollback", "run a kept release again", "operations", _add_rollback_options),
    Command("releases", "list the releases that are kept", "operations", _add_releases_options),
    Command(
        "unlock",
        "end the run that holds the lock of the servers",
        "operations",
        _add_unlock_options,
    ),
    Command("resend", "send the lines that a run could not deliver", "resend", _add_resend_options),
    Command("config", "make a config and its key", "config", _add_config_options),
    Command(
        "credentials",
        "show or change the encrypted config",
        "credentials",
        _add_credentials_options,
    ),
    Command(
        "dashboard",
        "receive deploys and show them live in a browser",
        "dashboard",
        _add_dashboard_options,
        ("starlette", "uvicorn", "jinja2", "msgspec"),
    ),
    Command(
        "completion",
        "print a script that completes commands in a shell",
        "completion",
        _add_completion_options,
        ("shtab",),
    ),
)
