"""``nvoi deploy``, ``delete``, ``rollback``, ``releases``, ``unlock``: from options to a target."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nvoi import ci
from nvoi.cli import job, results
from nvoi.cli.inputs import Inputs, ask_name, ask_yes, find_home, load_inputs, open_console
from nvoi.config.schema import LocalProvider, SSHProvider
from nvoi.config.sensitive import collect_secrets
from nvoi.errors import UsageError
from nvoi.invocation import set_branch
from nvoi.log.levels import Logger, get_logger
from nvoi.naming import check_branch
from nvoi.operation import KeptRelease, Operation, Report, Request, Target, tell_plan, tell_steps
from nvoi.operation import run as run_operation
from nvoi.outcome import LOGGER, Outcome
from nvoi.signals import interruptible
from nvoi.targets import get_target

if TYPE_CHECKING:
    from nvoi.log.stream import CallbackStream

#: Characters of a commit's sha that are shown.
SHORT_SHA = 7

#: What no dashboard is told of, as it changes nothing of the app.
_QUESTIONS = {"releases", "unlock"}


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    logger = open_console(options, environ)
    with interruptible() as signals:
        inputs = load_inputs(options, environ, logger)
        branch = getattr(options, "branch", None)
        set_branch(branch)
        if branch is not None:
            config = inputs.config.for_branch(check_branch(branch))
            inputs = replace(inputs, config=config)
        if options.log_format == "text":
            job.register_secrets(collect_secrets(inputs.config), environ)
        target = get_target(inputs.config)
        request = build_request(options, environ, inputs)
        if options.command in _QUESTIONS:
            answer(options, request, target)
            return 0
        operation = build_operation(options.command, target)
        if options.dry_run:
            tell_plan(operation, request)
            if options.log_format == "json":
                results.write_plan(operation.title, request.config.application.name)
            return 0
        if options.command == "delete" and not confirm_deletion(options, operation, request):
            logger.info("Nothing was deleted")
            return 1
        found = ci.find_context(environ, request.directory)
        if options.command == "deploy":
            request = replace(request, commit=describe_commit(found))
        stream = build_stream(options, inputs, request, logger, found)
        report = Report(stream, verbose=options.verbose, settle=signals.settle)
        try:
            run_operation(operation, request, report)
        finally:
            if report.outcome is not None:
                show_outcome(options, environ, request, report.outcome)
    return 0


def show_outcome(
    options: argparse.Namespace, environ: Mapping[str, str], request: Request, outcome: Outcome
) -> None:
    """Tell programs and the CI's page how a run ended, behind the last line of its log."""
    page = job.find_page(request.config.callback_url, request.deploy_id)
    job.write_files(outcome, environ, page)
    if options.log_format == "json":
        results.write_outcome(outcome, request.deploy_id, page)


def build_request(
    options: argparse.Namespace, environ: Mapping[str, str], inputs: Inputs
) -> Request:
    """What the options ask for. A command that lacks one of them asks for the usual."""
    dockerfile: Path | None = getattr(options, "dockerfile_path", None)
    return Request(
        config=inputs.config,
        directory=options.dir.absolute(),
        home=find_home(environ),
        deploy_id=ci.choose_deploy_id(environ),
        environ=environ,
        key_file=inputs.key.path if inputs.key else None,
        config_file=inputs.file,
        delete_volumes=getattr(options, "delete_volumes", False),
        lock_wait=getattr(options, "lock_wait", 0.0),
        dockerfile=dockerfile.absolute() if dockerfile else None,
        require_all_servers=getattr(options, "require_all_servers", False),
        with_cluster=getattr(options, "cluster", False),
        stamp=getattr(options, "stamp", None),
        accept_data_move=getattr(options, "accept_data_move", False),
        adopt=getattr(options, "adopt", False),
        confirm=ask_meanwhile if has_terminal() else lambda _: True,
    )


def build_operation(command: str, target: Target[Any]) -> Operation[Any]:
    if command == "deploy":
        return Operation("Deploy", target, target.deploy, partial(check_deploy, target))
    if command == "delete":
        return Operation("Delete", target, target.delete, partial(check_deletion, target))
    if not target.rollback:
        raise UsageError(
            f"the {target.name} target has no rollback",
            hint="check an earlier commit out and deploy it",
        )
    return Operation("Rollback", target, target.rollback)


def check_deploy(target: Target[Any], request: Request) -> None:
    provider = request.config.application.compute_provider
    if request.delete_volumes and isinstance(provider, LocalProvider | SSHProvider):
        raise UsageError(
            "--delete-volumes: a deploy gives back volumes of rented servers, and has none here",
            hint="leave it out",
        )
    target.check(request)


def check_deletion(target: Target[Any], request: Request) -> None:
    if request.with_cluster and not target.has_cluster:
        raise UsageError(f"--cluster: the {target.name} target has none", hint="leave it out")


def confirm_deletion(
    options: argparse.Namespace, operation: Operation[Any], request: Request
) -> bool:
    """Say what goes, and ask, unless the options say that it is meant.

    Raises:
        UsageError: nobody can be asked, as in CI.
        NvoiError: the deletion would fail with it.
    """
    if options.yes:
        return True
    if not has_terminal():
        raise UsageError("no terminal is here to ask at", hint="add --yes")
    operation.check(request)
    tell_steps(operation, request)
    name = request.config.application.name
    what = [name]
    what += ["its data"] * options.delete_volumes + ["k3s on its servers"] * options.cluster
    return ask_name(f"Delete {' and '.join(what)}?", name)


def ask_meanwhile(question: str) -> bool:
    """Ask in the middle of a run. A record of this logger ends the line that shows the time."""
    get_logger(LOGGER).info("%s", question)
    return ask_yes("Go on?")


def has_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def describe_commit(found: ci.RunContext) -> str:
    """What a deploy is of: a short sha, and whether the checkout differs from it."""
    sha = (found.git_sha or "")[:SHORT_SHA]
    return f"{sha} with changes" if sha and found.dirty else sha


def build_stream(
    options: argparse.Namespace,
    inputs: Inputs,
    request: Request,
    logger: Logger,
    found: ci.RunContext,
) -> CallbackStream | None:
    """The run's stream, not yet started, or None where the config has no ``callback_url``."""
    if not inputs.config.callback_url or inputs.key is None:
        return None
    # A run without a dashboard begins 60 ms sooner without what sends.
    from nvoi.log.stream import CallbackStream  # noqa: PLC0415

    return CallbackStream(
        logger,
        inputs.config.callback_url,
        inputs.key.value.reveal(),
        request.deploy_id,
        context=found.as_payload(),
        level=logging.DEBUG if options.verbose else logging.INFO,
        # No app has this name: a dot is not allowed in one.
        undelivered=request.home / "undelivered.d",
        budget=options.callback_budget,
        app=inputs.config.application.name,
        command=options.command,
    )


def answer(options: argparse.Namespace, request: Request, target: Target[Any]) -> None:
    if options.command == "unlock":
        target.unlock(request)
        return
    found = target.list_releases(request)
    lines = build_objects(found) if options.log_format == "json" else build_table(found)
    sys.stdout.writelines(f"{line}\n" for line in lines)


def build_table(releases: Sequence[KeptRelease]) -> Iterator[str]:
    """A line each for people: a mark at the one that runs, stamp, images, deploy id."""
    if not releases:
        yield "No release is kept"
    images = [", ".join(release.images) or "-" for release in releases]
    width = max(map(len, images), default=0)
    for release, text in zip(releases, images, strict=True):
        mark = "*" if release.is_running else " "
        yield f"{mark} {release.stamp}  {text:<{width}}  {release.deploy_id}"


def build_objects(releases: Sequence[KeptRelease]) -> Iterator[str]:
    for release in releases:
        yield json.dumps(
            {
                "stamp": release.stamp,
                "running": release.is_running,
                "images": list(release.images),
                "deploy_id": release.deploy_id,
            }
        )
