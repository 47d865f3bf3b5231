"""``nvoi credentials``: read and change deploy.enc."""

from __future__ import annotations

import argparse
import logging
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from nvoi.cli.editor import edit_text, find_editor
from nvoi.config.credentials import EncryptedConfig, get_config_file, get_key
from nvoi.config.document import Document, Value, write_node
from nvoi.config.loader import is_plain, read
from nvoi.config.nodes import Scalar, to_data
from nvoi.config.sealing import KEY_FILE
from nvoi.errors import InputError, UsageError
from nvoi.log.console import build_handler
from nvoi.log.levels import ROOT, get_logger


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Do what was asked for; where that fails, nothing was changed."""
    with warn_on_stderr(environ):
        config = open_config(options, environ)
        if options.action == "edit":
            edit(config, environ)
        elif options.action == "rotate-key":
            rotate_key(config)
        elif options.action == "set":
            write_value(config, options.path, read_value(options.value))
        else:
            show(config, options.path if options.action == "get" else None)
    return 0


def show(config: EncryptedConfig, path: str | None) -> None:
    """Print the config, or the value at ``path``: a section or a list as YAML."""
    with config.held() as held:
        text = held.read()
    if path is not None:
        node = Document(text, config.name).get(path)
        text = f"{to_data(node)}\n" if isinstance(node, Scalar) else write_node(node)
    sys.stdout.write(text)


@contextmanager
def warn_on_stderr(environ: Mapping[str, str]) -> Iterator[None]:
    """Inside, warnings of the log go to standard error: what is printed is the config."""
    handler = build_handler(sys.stderr, environ, level=logging.WARNING)
    logger = get_logger(ROOT)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def open_config(options: argparse.Namespace, environ: Mapping[str, str]) -> EncryptedConfig:
    path = get_config_file(options.dir, options.config)
    if is_plain(path):
        raise UsageError(f"{path} is not encrypted", hint="read and edit the file as it is")
    key = get_key(options.dir, environ=environ, config_file=path, key_file=options.key_file)
    if key.warning:
        sys.stderr.write(f"warning: {key.warning}\n")
    return EncryptedConfig(path, key)


def edit(config: EncryptedConfig, environ: Mapping[str, str]) -> None:
    """Let the user change the config until it is valid.

    Others may change it and its key meanwhile: nothing is held while the editor is open.
    """
    with config.held() as held:
        before = held.read()
    text = edit_text(before, command=find_editor(environ), check=config.check)
    if text is None:
        sys.stdout.write(f"{config.name} is as it was\n")
        return
    save(config, before, text)
    sys.stdout.write(f"{config.name} is saved\n")


def save(config: EncryptedConfig, before: str, text: str) -> None:
    """Write what the user has made of ``before``; what cannot be saved is kept beside it."""
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
    """Encrypt the config with a new key, which takes the place of the one in its file."""
    key_file = config.key.path
    if key_file is None:
        raise UsageError(
            f"the key comes from {config.key.source}, where a new one cannot be put",
            hint=f"write it to {config.path.with_name(KEY_FILE)}, and give that with --key-file",
        )
    with config.held() as held:
        held.rotate(key_file)
    sys.stdout.write(
        textwrap.dedent(f"""\
        {config.path} has a new key, in {key_file}. Commit the config, and give the key to
        whoever deploys: the CI's secret DEPLOY_KEY, and your team. A dashboard takes both keys
        for a while:
          nvoi dashboard project rotate-key NAME --key-file {key_file}

        The old key still opens the config as it was in earlier commits. Where others may have
        it, change the secrets in the config as well.
        """)
    )
