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
from nvoi.log.wire import LogBatch, check_deploy_id

#: Seconds that one request may take with all its retries.
REQUEST_SECONDS = 30.0


def resend(undelivered: Undelivered, key: str, *, request_seconds: float = REQUEST_SECONDS) -> None:
    """Send the file's requests in order, and remove it when the last is acknowledged.

    Args:
        undelivered: the file's content.
        key: the deploy key's text.
        request_seconds: how long one request may take with all its retries.

    Raises:
        DeliveryError: some are still to be sent; the file says which.
        UsageError: the file's URL or deploy id cannot be used.
    """
    logger = levels.get_logger("nvoi.resend")
    masking.add_secrets(key)
    check_url(undelivered.callback_url)
    total, lines = len(undelivered.requests), 0
    place = strip_auth(undelivered.callback_url)
    delivery = Delivery(
        undelivered.callback_url,
        key,
        check_deploy_id(undelivered.deploy_id),
        Transport(undelivered.callback_url),
        tell=lambda text: logger.log(logging.WARNING, "Dashboard %s: %s", place, text),
        count_logged=lambda: undelivered.logged,
    )
    delivery.stats = Stats(delivered=undelivered.delivered)
    try:
        for number, request in enumerate(undelivered.requests):
            until = time.monotonic() + request_seconds
            delivery.end_by(until, until)
            if delivery.deliver(request):
                raise DeliveryError(
                    f"{total - number} of {total} requests are still to be sent to {place}",
                    hint=f"later: nvoi resend {undelivered.path}",
                )
            undelivered.acknowledge(request)
            lines += len(request.lines) if isinstance(request, LogBatch) else 0
    finally:
        delivery.close()
    undelivered.path.unlink()
    logger.success("Delivered %d log lines in %d requests to %s", lines, total, place)
