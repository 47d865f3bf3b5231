"""Why Scaleway's API refuses, in plain words with what to do.

Types of refusals and their fields are those that its own clients read: scaleway-sdk-go,
``scw/errors.go``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvoi.errors import RequestError
from nvoi.http import clean_line, list_objects

SERVER_FAULT = 500
#: What errors say of an API that does not answer.
STATUS_PAGE = "see https://status.scaleway.com"
#: What an API key needs, all of them for the project.
RIGHTS = (
    "InstancesFullAccess",
    "BlockStorageFullAccess",
    "VPCFullAccess",
    "PrivateNetworksFullAccess",
    "IPAMReadOnly",
)
#: Refusals of the key, whatever is asked with it.
KEY_REFUSALS = frozenset({"denied_authentication", "permissions_denied"})
KEY_PATH = "application.compute_provider.scaleway.secret_key"
AGAIN = "what was made stays: run nvoi again, and it goes on from there"
HINTS = {
    "denied_authentication": f"make an API key in the console under IAM, as {KEY_PATH}",
    "permissions_denied": f"its policy needs, for the project: {', '.join(RIGHTS)}",
    "quotas_exceeded": "free some, or ask for more in the console under Organization > Quotas; "
    + AGAIN,
    "out_of_stock": f"name another server type or zone; {AGAIN}",
}


def explain(error: RequestError, what: str, url: str) -> RequestError:
    """``error`` with what cannot be done, why not, and what to do.

    Args:
        what: as it reads after "cannot".
        url: where the API is.
    """
    if error.is_silence:
        message = f"Scaleway's API ({url}) does not answer, and cannot {what}"
        reason, hint = error.message, f"{STATUS_PAGE}; {AGAIN}"
    else:
        document = error.document if isinstance(error.document, dict) else {}
        message = f"Scaleway cannot {what}"
        reason = describe_refusal(document) or error.message
        hint = HINTS.get(find_type(error), AGAIN)
    return RequestError(
        f"{message}: {reason}",
        hint=hint,
        status=error.status,
        is_silence=error.is_silence,
        document=error.document,
    )


def find_type(error: RequestError) -> str:
    """The API's word for what kind of refusal it is."""
    document = error.document
    found = document.get("type") if isinstance(document, dict) else None
    return found if isinstance(found, str) else ""


def is_transient(error: RequestError) -> bool:
    """Whether it has done nothing, as something else goes on with the resource."""
    return find_type(error) == "transient_state"


def may_pass(error: RequestError) -> bool:
    """Whether the same may be asked again with more success, where that does no harm."""
    return is_transient(error) or (error.status or 0) >= SERVER_FAULT


def is_lost(error: RequestError) -> bool:
    """Whether what was asked may have been done all the same."""
    return error.is_silence or (error.status or 0) >= SERVER_FAULT


def describe_refusal(document: Mapping[str, Any]) -> str:
    """Why the API refuses, by the fields that each type has; empty for those without."""
    details = list_objects(document, "details")
    texts = {
        "denied_authentication": "the secret key is refused",
        "permissions_denied": "the API key may not "
        + (
            " and ".join(f"{one.get('action')} {one.get('resource')}" for one in details) or "do it"
        ),
        "quotas_exceeded": "the quota is reached: "
        + ", ".join(
            f"{one.get('resource')} ({one.get('current')} of {one.get('quota')})" for one in details
        ),
        "out_of_stock": f"{document.get('resource')} is out of stock",
        "invalid_arguments": "; ".join(
            f"{one.get('argument_name')}: {one.get('help_message')}" for one in details
        ),
        "precondition_failed": str(document.get("help_message") or ""),
    }
    text = clean_line(texts.get(str(document.get("type")), ""))
    reasons = {"not_found": "no such key exists", "expired": "it has expired"}
    reason = reasons.get(str(document.get("reason")), "")
    return f"{text}: {reason}" if reason and text else text
