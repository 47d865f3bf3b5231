"""What Hetzner's refusals mean: which may pass, and what to do about the others. Pure.

Facts are of Hetzner's API reference, "Errors".
"""

from __future__ import annotations

from nvoi.errors import Fault, NvoiError, RequestError

ACCOUNT = "application.compute_provider.hetzner"
#: Refusals that may be none the next moment, and those of them by which nothing was done.
UNDONE = frozenset({"locked", "conflict"})
PASSING = UNDONE | {"server_error", "service_error", "unavailable", "timeout", "bad_gateway"}
#: Those that a look at what there is now may explain.
OTHERS = frozenset({"uniqueness_error", "resource_in_use", "rate_limit_exceeded"})
#: There is none left of what was asked for.
SHORTAGES = frozenset({"resource_unavailable", "placement_error", "no_space_left_in_location"})
FAULT, NOT_FOUND = 500, 404

CONSOLE = "https://console.hetzner.com"
TOKEN_HINT = (
    f"make an API token with the permission Read & Write in the project at {CONSOLE}, under "
    "Security, API tokens"
)
HINTS = {
    "resource_limit_exceeded": f"the project has all it may have: ask for more at {CONSOLE}, "
    "under Limits, or delete what is no longer needed",
    "protected": f"it is protected: lift that at {CONSOLE}",
    "uniqueness_error": "something of that name is there that has no label of this app",
    "rate_limit_exceeded": "the project has made too many requests; wait a few minutes",
    "maintenance": "Hetzner works on it: see status.hetzner.com",
    **dict.fromkeys(SHORTAGES, "take another server type or location"),
}
SILENCE_HINT = "see status.hetzner.com; the next run goes on from here"


class ActionError(NvoiError):
    """What Hetzner did in the background has failed."""


def find_code(error: RequestError) -> str | None:
    """The code of Hetzner's errors, None where the answer has none."""
    match error.document:
        case {"error": {"code": str(code)}}:
            return code
    return None


def is_gone(error: RequestError) -> bool:
    return error.status == NOT_FOUND


def may_pass(error: NvoiError) -> bool:
    """Whether a look at what there is now, and another try, may help."""
    if not isinstance(error, RequestError):
        return isinstance(error, ActionError)
    is_down = error.is_silence or (error.status or 0) >= FAULT
    return is_down or find_code(error) in PASSING | OTHERS


def find_config_fault(error: RequestError) -> Fault | None:
    """What of the config it is about, where it is about the token."""
    path = f"{ACCOUNT}.api_token"
    match find_code(error):
        case "unauthorized":
            return Fault(0, 0, path, f"Hetzner does not know this token; {TOKEN_HINT}")
        case "forbidden" | "token_readonly":
            return Fault(0, 0, path, f"the token may only read; {TOKEN_HINT}")
    return None


def explain(error: NvoiError, thing: str) -> NvoiError:
    """The error with what it is about, and with a remedy."""
    place = f"{thing}: " if thing else "Hetzner: "
    if not isinstance(error, RequestError):
        return NvoiError(f"{place}{error.message}" if thing else error.message, hint=error.hint)
    fault = find_config_fault(error)
    if fault is not None:
        return NvoiError(f"{place}{error.message}", hint=TOKEN_HINT)
    hint = HINTS.get(find_code(error) or "", "")
    if error.is_silence or (not hint and (error.status or 0) >= FAULT):
        return RequestError(
            f"{place}{error.message}",
            hint=SILENCE_HINT,
            status=error.status,
            is_silence=error.is_silence,
        )
    return NvoiError(f"{place}{error.message}", hint=hint)
