"""What AWS refuses, in words that name the remedy.

Facts are of the Amazon EC2 API Reference, "Error codes for the Amazon EC2 API", "Eventual
consistency" and "Query throttling", and of the AWS STS API Reference, "Common errors".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import (
    ClientError,
    ConnectionError,  # noqa: A004 - it is botocore's own
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from nvoi.errors import RequestError
from nvoi.http import clean_line

#: A refusal, and all by which there is no answer or none that can be read.
FAILURES = (ClientError, ConnectionError, HTTPClientError, ResponseParserError)
#: By these AWS says that it has done nothing, and may do it the next moment.
THROTTLED = frozenset(
    {
        "EC2ThrottledException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
#: What was just made is not known everywhere yet, or what goes is not quite gone.
SETTLING = re.compile(
    r"Invalid\w+\.NotFound|DependencyViolation|Incorrect(Instance)?State|VolumeInUse"
)
#: What is to be deleted is gone.
GONE = r"Invalid\w+\.NotFound"
TAKEN = re.compile(r"Invalid\w+\.(Duplicate|Conflict)|IdempotentParameterMismatch")
#: Nothing of the kind is to be had now; the status of some is that of a server's error.
SOLD_OUT = re.compile(r"Insufficient\w*Capacity|Unsupported")
CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "OptInRequired",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
#: By their actions, as policies call them; all others are EC2.
SERVICES = {"GetProducts": "pricing", "GetServiceQuota": "servicequotas"}
FORBIDDEN = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})
#: Seconds by which a request's time may differ from AWS' own (Signature Version 4).
SKEW = 300
#: The code of an error that this machine's clock is the reason of.
SKEWED = "ClockSkew"
SERVER_ERROR = 500


class EC2Error(RequestError):
    """AWS refused, or did not answer.

    Args:
        code: as AWS has it; empty without an answer.
        may_pass: whether the next moment may bring another answer.
        may_have_acted: whether it is not known if the request was carried out.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str = "",
        status: int | None = None,
        may_pass: bool = False,
        may_have_acted: bool = False,
    ) -> None:
        is_silence = not code or code in THROTTLED or may_have_acted
        super().__init__(message, hint=hint, status=status, is_silence=is_silence)
        self.code = code
        self.may_pass = may_pass
        self.may_have_acted = may_have_acted

    @property
    def is_taken(self) -> bool:
        return TAKEN.fullmatch(self.code) is not None

    @property
    def is_sold_out(self) -> bool:
        return SOLD_OUT.fullmatch(self.code) is not None


def read_failure(failure: Exception, url: str) -> EC2Error:
    """The error of a request that AWS at ``url`` refused or did not answer."""
    if isinstance(failure, ClientError):
        return read_refusal(failure)
    if isinstance(failure, SSLError):
        return EC2Error(f"{url}: its certificate is not to be trusted")
    is_lost = isinstance(failure, ConnectTimeoutError | EndpointConnectionError)
    # Their own text may quote the request.
    reason = "there is no connection" if is_lost else "no answer came, or none that can be read"
    return EC2Error(
        f"{url}: {reason}",
        hint="see whether this machine reaches it, and what https://health.aws.amazon.com says",
        may_pass=True,
        may_have_acted=not is_lost,
    )


def read_refusal(failure: ClientError) -> EC2Error:
    answer: Any = failure.response
    code, text = (str(answer["Error"].get(key, "")) for key in ("Code", "Message"))
    status = int(answer["ResponseMetadata"].get("HTTPStatusCode", 0))
    is_sold_out = SOLD_OUT.fullmatch(code) is not None
    is_unsure = status >= SERVER_ERROR and code not in THROTTLED and not is_sold_out
    if code in CREDENTIALS and (skew := find_skew(answer)):
        message = f"this machine's clock is {skew} AWS' own: AWS takes no requests so far off"
        return EC2Error(message, hint="set the clock", code=SKEWED, status=status)
    message, hint = describe_refusal(failure.operation_name or "", clean(code), clean(text))
    return EC2Error(
        message,
        hint=hint,
        code=code or "Unknown",
        status=status,
        may_pass=is_unsure or code in THROTTLED or SETTLING.fullmatch(code) is not None,
        may_have_acted=is_unsure,
    )


def describe_refusal(operation: str, code: str, text: str) -> tuple[str, str]:
    """What went wrong, and what to do next."""
    if code in CREDENTIALS:
        return f"AWS does not take the credentials: {code}: {text}", "see them at IAM, Users"
    if code in FORBIDDEN:
        hint = "docs/providers.md has the policy that the user of access_key_id needs"
        service = SERVICES.get(operation, "ec2")
        return f"the credentials may not do {service}:{operation}", hint
    message = f"AWS: {operation}: {code}: {text}"
    if code in THROTTLED:
        return message, "others use the account's API as well: try again in a minute"
    if code.endswith("LimitExceeded"):
        return message, "delete what is not used, or ask for more: Service Quotas, Amazon EC2"
    return message, ""


def find_skew(answer: Any) -> str:
    """``10 minutes behind``, where this machine's clock differs by more than AWS allows."""
    date = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
    try:
        there = parsedate_to_datetime(date) if date else None
    except ValueError:
        there = None
    if there is None:
        return ""
    seconds = (datetime.now(UTC) - there.astimezone(UTC)).total_seconds()
    if abs(seconds) < SKEW:
        return ""
    return f"{abs(seconds) / 60:.0f} minutes {'ahead of' if seconds > 0 else 'behind'}"


def clean(text: str) -> str:
    """What AWS says, without the encoded part that only its own tools can read."""
    return clean_line(text.partition("Encoded authorization")[0])
