"""``nvoi resend``: send the lines that a run could not deliver, in order, and remove their file.

Each request that is acknowledged is noted on the disk before the next one goes out, so that nothing
is sent twice. The ids of a request's parts come from its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from nvoi import protocol
from nvoi.cli.inputs import load_inputs, open_console
from nvoi.cli.undelivered import Undelivered, open_undelivered
from nvoi.config.credentials import get_config_file, get_key
from nvoi.errors import CredentialsError, DeliveryError, UsageError
from nvoi.log import masking
from nvoi.log.clock import read_seconds
from nvoi.log.counts import Counts
from nvoi.log.delivery import Delivery, Destination
from nvoi.log.levels import Logger, get_logger
from nvoi.log.rendering import format_count
from nvoi.log.transport import Transport
from nvoi.network import strip_auth
from nvoi.signals import interruptible

log = get_logger("nvoi.resend")

#: Seconds that one request may take with all its retries.
REQUEST_SECONDS = 30.0


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    logger = open_console(options, environ)
    with interruptible(), open_undelivered(options.file) as undelivered:
        url, key = get_destination(undelivered, options, environ, logger)
        resend(undelivered, url, key)
    return 0


def get_destination(
    undelivered: Undelivered,
    options: argparse.Namespace,
    environ: Mapping[str, str],
    logger: Logger,
) -> tuple[str, str]:
    """The callback URL, with the user and password that only a config has, and the key's text."""
    if not (undelivered.has_credentials or has_config(options)):
        key = get_key(options.dir, environ=environ, key_file=options.key_file)
        if key.warning:
            logger.warning("%s", key.warning)
        return undelivered.callback_url, key.value.reveal()
    inputs = load_inputs(options, environ, logger)
    url = inputs.config.callback_url
    if not (url and inputs.key) or strip_auth(url) != undelivered.callback_url:
        raise UsageError(
            f"{undelivered.path} is for {undelivered.callback_url}, which is not the callback_url "
            f"of {inputs.file}",
            hint="name the config that the run had with --config",
        )
    return url, inputs.key.value.reveal()


def has_config(options: argparse.Namespace) -> bool:
    """Whether a config is named, or found in the checkout."""
    try:
        get_config_file(options.dir, options.config)
    except CredentialsError:
        return options.config is not None
    return True


def resend(
    undelivered: Undelivered, url: str, key: str, *, request_seconds: float = REQUEST_SECONDS
) -> None:
    """Send the file's requests in order, and remove it when the last is acknowledged.

    Raises:
        DeliveryError: some are still to be sent, or were refused; the file says which.
        UsageError: the URL or the file's deploy id cannot be used.
    """
    masking.add_secrets(key)
    place = strip_auth(protocol.check_url(url))
    before = undelivered.delivered
    delivery = build_delivery(undelivered, url, key, place)
    try:
        refused = send_all(undelivered, delivery, place, request_seconds)
    finally:
        delivery.close()
    if refused:
        raise DeliveryError(
            f"{place} refused {format_count(refused, 'request')}, kept in {undelivered.path}",
            hint="all else is delivered; remove the file when it is of no use",
        )
    undelivered.remove()
    log.success(
        "Delivered %s in %s to %s",
        format_count(delivery.counts.delivered - before, "log line"),
        format_count(undelivered.count, "request"),
        place,
    )


def build_delivery(undelivered: Undelivered, url: str, key: str, place: str) -> Delivery:
    deploy_id = protocol.check_deploy_id(undelivered.deploy_id)
    return Delivery(
        Destination(url, key, deploy_id, undelivered.run),
        Transport(url),
        Counts(
            tell=lambda text: log.warning("Dashboard %s: %s", place, text),
            numbered=undelivered.logged,
            delivered=undelivered.delivered,
        ),
        note_delivered=undelivered.acknowledge,
    )


def send_all(
    undelivered: Undelivered, delivery: Delivery, place: str, request_seconds: float
) -> int:
    """Send each request; returns how many, or parts of how many, were refused."""
    refused, total = 0, undelivered.count
    for number, request in enumerate(undelivered.read_requests()):
        until = read_seconds() + request_seconds
        delivery.end_by(until, until)
        given_up = delivery.deliver(request)
        if given_up and (delivery.stopped or not delivery.answered):
            requests = format_count(total, "request")
            raise DeliveryError(
                f"{total - number} of {requests} are still to be sent to {place}",
                hint=f"later: nvoi resend {undelivered.path}",
            )
        refused += len(given_up)
    return refused
