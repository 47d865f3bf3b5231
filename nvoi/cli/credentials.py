"""``nvoi credentials``: reads and changes deploy.enc."""

from __future__ import annotations

import argparse
import logging
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nvoi.cli.editor import edit_text, find_editor
from nvoi.cli.options import add_place_options
from nvoi.config.credentials import KEY_FILE, EncryptedConfig, get_config_file, get_key
from nvoi.config.document import Document, Value, write_node
from nvoi.config.loader import is_plain, read
from nvoi.config.nodes import Scalar, to_data
from nvoi.errors import InputError, UsageError
from nvoi.log.console import build_handler
from nvoi.log.levels import ROOT, get_logger

EXAMPLES = """\
examples:
  nvoi credentials show
  nvoi credentials edit
  nvoi credentials get application.app.web.port
  nvoi credentials set application.app.web.port 3000
  printf %s "$TOKEN" | nvoi credentials set application.secrets.API_TOKEN -
  nvoi credentials rotate-key

A path is keys joined by dots. An argument can be seen by other users of this machine while
the command runs: give secrets through `-`.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``credentials`` and what it can do."""
    options = argparse.ArgumentParser(add_help=False)
    add_place_options(options)
    parser = subparsers.add_parser(
        "credentials",
        help="read and change the encrypted config",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)
    commands.add_parser("show", parents=[options], help="print the config")
    commands.add_parser("edit", parents=[options], help="open the config in $VISUAL or $EDITOR")
    setter = commands.add_parser(
        "set",
        parents=[options],
        help="write one value",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    setter.add_argument("path", metavar="PATH", help="keys joined by dots")
    setter.add_argument("value", metavar="VALUE", help="the value, or - to read it from stdin")
    getter = commands.add_parser("get", parents=[options], help="print one value")
    getter.add_argument("path", metavar="PATH", help="keys joined by dots")
    commands.add_parser(
        "rotate-key",
        parents=[options],
        help="encrypt the config with a new key",
        description="Makes a new key, encrypts the config with it, and puts it in the place of the "
        "file that the key was read from.",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Does what was asked for; the exit code is 0.

    Raises:
        InputError: the file, the key, the path or the new config is wrong; nothing was changed.
    """
    with warned(environ):
        act(arguments, environ, open_config(arguments, environ))
    return 0


def act(arguments: argparse.Namespace, environ: Mapping[str, str], config: EncryptedConfig) -> None:
    """Does it."""
    if arguments.action == "edit":
        edit(config, environ)
    elif arguments.action == "rotate-key":
        rotate_key(config)
    elif arguments.action == "set":
        write_value(config, arguments.path, read_value(arguments.value))
    else:
        with config.held() as held:
            text = held.read()
        if arguments.action == "get":
            text = describe(Document(text, config.name), arguments.path)
        sys.stdout.write(text)


@contextmanager
def warned(environ: Mapping[str, str]) -> Iterator[None]:
    """Inside, warnings of the log go to standard error: what is printed is the config."""
    handler = build_handler(sys.stderr, environ, level=logging.WARNING)
    logger = get_logger(ROOT)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def open_config(arguments: argparse.Namespace, environ: Mapping[str, str]) -> EncryptedConfig:
    """The config and key that the command line means."""
    path = get_config_file(arguments.dir, arguments.config)
    if is_plain(path):
        raise UsageError(f"{path} is not encrypted", hint="read and edit the file as it is")
    key = get_key(arguments.dir, environ=environ, config_file=path, key_file=arguments.key_file)
    if key.warning:
        sys.stderr.write(f"warning: {key.warning}\n")
    return EncryptedConfig(path, key)


def edit(config: EncryptedConfig, environ: Mapping[str, str]) -> None:
    """Lets the user change the config until it is valid.

    Others may change it and its key meanwhile: nothing is held while the editor is open.

    Raises:
        UsageError: it cannot be saved; the user's text is kept beside it.
    """
    with config.held() as held:
        before = held.read()
    text = edit_text(before, editor=find_editor(environ), check=config.check)
    if text is None:
        sys.stdout.write(f"{config.name} is as it was\n")
        return
    save(config, before, text)
    sys.stdout.write(f"{config.name} is saved\n")


def save(config: EncryptedConfig, before: str, text: str) -> None:
    """Writes what the user has made of ``before``; what cannot be saved is kept beside it."""
    held = config
    with ExitStack() as stack:
        try:
            held = stack.enter_context(config.held())
            held.change(before, text)
        except InputError as error:
            kept = held.keep(text)
            raise UsageError(
                error.message,
                hint=f"your text is in {kept}, encrypted with the same key: print it with "
                f"`nvoi credentials show --config {kept}`, edit again, then remove it",
            ) from error


def read_value(argument: str) -> str:
    """The value to be set; ``-`` is all of stdin but one line end."""
    if argument != "-":
        return argument
    content = sys.stdin.buffer.read()
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError("the value on stdin is not UTF-8") from None


def write_value(config: EncryptedConfig, path: str, value: str) -> None:
    """Sets one value, where that leaves a valid config."""
    with config.held() as held:
        document = Document(held.read(), held.name)
        document.set(path, value)
        document.set(path, convert(document, path, value))
        held.check(document.text)
        held.write(document.text)
    sys.stdout.write(f"{path} is set in {config.name}\n")


def convert(document: Document, path: str, value: str) -> Value:
    """``value`` as what the key at ``path`` holds; text where that is not known."""
    kind = read(document, None).kinds.get(path, "text")
    if kind == "integer":
        return int(value)
    if kind == "boolean":
        return value.lower() in {"true", "yes", "on", "y"}
    if kind == "list":
        return [item.strip() for item in value.strip("[]").split(",") if item.strip()]
    return value


def rotate_key(config: EncryptedConfig) -> None:
    """Encrypts the config with a new key, which takes the place of the one in its file.

    Raises:
        InputError: the key is in no file, or one of them cannot be written; nothing was changed.
    """
    key_file = config.key.path
    if key_file is None:
        raise UsageError(
            f"the key comes from {config.key.source}, where a new one cannot be put",
            hint=f"write it to {config.path.with_name(KEY_FILE)}, and give that with --key-file",
        )
    with config.held() as held:
        held.rotate(key_file)
    sys.stdout.write(describe_rotation(config.path, key_file))


def describe_rotation(config_file: Path, key_file: Path) -> str:
    """What was done, and who else needs the new key."""
    return textwrap.dedent(f"""\
        {config_file} has a new key, in {key_file}. Commit the config, and give the key to
        whoever deploys: the CI's secret DEPLOY_KEY, and your team. A dashboard takes both keys
        for a while:
          nvoi dashboard project rotate-key NAME --key-file {key_file}

        The old key still opens the config as it was in earlier commits. Where others may have
        it, change the secrets in the config as well.
        """)


def describe(document: Document, path: str) -> str:
    """The value at ``path``, a section or a list as YAML."""
    node = document.get(path)
    return f"{to_data(node)}\n" if isinstance(node, Scalar) else write_node(node)
