"""``nvoi credentials``: reads and changes deploy.enc."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nvoi.cli.editor import edit_text, find_editor
from nvoi.cli.options import add_place_options
from nvoi.config.credentials import (
    KEY_FILE,
    DeployKey,
    decrypt,
    encrypt,
    generate_key,
    get_config_file,
    get_key,
)
from nvoi.config.document import Document, Value, decode
from nvoi.config.loader import is_plain, load, read
from nvoi.config.nodes import Scalar, to_data
from nvoi.config.rewriting import write_node
from nvoi.errors import CredentialsError, UsageError
from nvoi.files import read_file, write_private

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
    store = open_store(arguments, environ)
    if arguments.action == "show":
        sys.stdout.write(store.read())
    elif arguments.action == "edit":
        edit(store, environ)
    elif arguments.action == "rotate-key":
        rotate_key(store)
    elif arguments.action == "set":
        write_value(store, arguments.path, read_value(arguments.value))
    else:
        sys.stdout.write(
            describe(Document.parse(store.read(), filename=store.name), arguments.path)
        )
    return 0


@dataclass(frozen=True)
class Store:
    """An encrypted config and its key."""

    path: Path
    key: DeployKey

    @property
    def name(self) -> str:
        """What faults call the file."""
        return str(self.path)

    def read(self) -> str:
        """The text of the config."""
        return self.open(read_file(self.path))

    def open(self, content: bytes) -> str:
        """The text that ``content`` of the file stands for."""
        return decode(decrypt(content, self.key.value, filename=self.name), self.name)

    def opens_with_its_key(self) -> bool:
        """Whether the file, as it is now, is opened by the key it was opened with."""
        try:
            self.read()
        except CredentialsError:
            return False
        return True

    def holds(self, content: bytes) -> bool:
        """Whether the file is there and is still ``content``."""
        try:
            return read_file(self.path) == content
        except CredentialsError:
            return False

    def check(self, text: str) -> None:
        """Raises ConfigError where ``text`` is no valid config."""
        load(text, filename=self.name, environ=None)

    def write(self, text: str) -> None:
        """Replaces the config."""
        write_private(self.path, encrypt(text.encode(), self.key.value))

    def keep(self, text: str) -> Path:
        """Writes a text that is not to be lost beside the config, encrypted with the same key."""
        paths = (
            self.path.with_name(f"{self.path.stem}.edited-{number}{self.path.suffix}")
            for number in itertools.count(1)
        )
        path = next(path for path in paths if not path.exists())
        write_private(path, encrypt(text.encode(), self.key.value), replace=False)
        return path


def open_store(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Store:
    """The config and key that the command line means."""
    path = get_config_file(arguments.dir, arguments.config)
    if is_plain(path):
        raise UsageError(f"{path} is not encrypted", hint="read and edit the file as it is")
    key = get_key(arguments.dir, environ=environ, config_file=path, key_file=arguments.key_file)
    if key.warning:
        sys.stderr.write(f"warning: {key.warning}\n")
    return Store(path, key)


def edit(store: Store, environ: Mapping[str, str]) -> None:
    """Lets the user change the config until it is valid.

    Raises:
        UsageError: the file was changed by others meanwhile; the user's text is kept beside it.
    """
    before = read_file(store.path)
    text = edit_text(store.open(before), editor=find_editor(environ), check=store.check)
    if text is None:
        sys.stdout.write(f"{store.name} is as it was\n")
        return
    if not store.holds(before):
        kept = store.keep(text)
        raise UsageError(
            f"{store.name} was changed by others meanwhile and is left as it is now",
            hint=f"your text is in {kept}, encrypted with the same key: print it with "
            f"`nvoi credentials show --config {kept}`, edit again, then remove it",
        )
    store.write(text)
    sys.stdout.write(f"{store.name} is saved\n")


def read_value(argument: str) -> str:
    """The value to be set; ``-`` is all of stdin but one line end."""
    if argument != "-":
        return argument
    content = sys.stdin.buffer.read()
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError("the value on stdin is not UTF-8") from None


def write_value(store: Store, path: str, value: str) -> None:
    """Sets one value, where that leaves a valid config."""
    document = Document.parse(store.read(), filename=store.name)
    document.set(path, value)
    document.set(path, convert(document, path, value))
    store.check(document.dump())
    store.write(document.dump())
    sys.stdout.write(f"{path} is set in {store.name}\n")


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


def rotate_key(store: Store) -> None:
    """Encrypts the config with a new key, which takes the place of the one in its file.

    At every moment the config's key is in one of the two files: the new one is on the disk
    before the config is written, and beside the old one until it has replaced it.

    Raises:
        InputError: the key is in no file, or another rotation was cut off; nothing was changed.
    """
    key_file = store.key.path
    if key_file is None:
        raise UsageError(
            f"the key comes from {store.key.source}, where a new one cannot be put",
            hint=f"write it to {store.path.with_name(KEY_FILE)}, and give that with --key-file",
        )
    content, new_key = store.read(), generate_key()
    new_file = key_file.with_name(f"{key_file.name}.new")
    if os.path.lexists(new_file):
        raise UsageError(
            f"{new_file} is there: an earlier rotation was cut off",
            hint=f"where it opens the config (nvoi credentials show --key-file {new_file}), "
            f"rename it to {key_file}; else remove it",
        )
    data = f"{new_key.reveal()}\n".encode()
    write_private(new_file, data, replace=False)
    try:
        write_private(store.path, encrypt(content.encode(), new_key))
    except BaseException:
        if store.opens_with_its_key():
            new_file.unlink(missing_ok=True)
        raise
    write_private(key_file, data)
    new_file.unlink(missing_ok=True)
    sys.stdout.write(describe_rotation(store.path, key_file))


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
