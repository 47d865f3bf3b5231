"""Sending what a run left undelivered."""

from __future__ import annotations

import logging
import time

from nvoi.errors import DeliveryError
from nvoi.log import levels, masking
from nvoi.log.callback import check_url
from nvoi.log.delivery import Delivery, Stats
from nvoi.log.transport import Transport
from nvoi.log.undelivered import Undelivered, strip_auth
from nvoi.log.wire import check_deploy_id

#: Seconds that one request may take with all its retries.
REQUEST_SECONDS = 30.0


def resend(undelivered: Undelivered, key: str, *, request_seconds: float = REQUEST_SECONDS) -> None:
    """Send the file's requests in order, and remove it when the last is acknowledged.

    Args:
        undelivered: the file's content.
        key: the deploy key's text.
        request_seconds: how long one request may take with all its retries.

    Raises:
        DeliveryError: some are still to be sent, or were refused; the file says which.
        UsageError: the file's URL or deploy id cannot be used.
    """
    logger = levels.get_logger("nvoi.resend")
    masking.add_secrets(key)
    check_url(undelivered.callback_url)
    total, refused = len(undelivered.requests), 0
    place = strip_auth(undelivered.callback_url)
    delivery = Delivery(
        undelivered.callback_url,
        key,
        check_deploy_id(undelivered.deploy_id),
        Transport(undelivered.callback_url),
        tell=lambda text: logger.log(logging.WARNING, "Dashboard %s: %s", place, text),
        count_logged=lambda: undelivered.logged,
        note_delivered=undelivered.acknowledge,
        note_parted=undelivered.part,
    )
    delivery.stats = Stats(delivered=undelivered.delivered)
    try:
        for number, request in enumerate(undelivered.requests):
            until = time.monotonic() + request_seconds
            delivery.end_by(until, until)
            given_up = delivery.deliver(request)
            if given_up and (delivery.stopped or not delivery.answered):
                raise DeliveryError(
                    f"{total - number} of {total} requests are still to be sent to {place}",
                    hint=f"later: nvoi resend {undelivered.path}",
                )
            refused += len(given_up)
    finally:
        delivery.close()
    if refused:
        raise DeliveryError(
            f"{place} refused {refused} requests, which stay in {undelivered.path}",
            hint="all else is delivered; remove the file when they are of no use",
        )
    undelivered.path.unlink()
    lines = delivery.stats.delivered - undelivered.delivered
    logger.success("Delivered %d log lines in %d requests to %s", lines, total, place)
