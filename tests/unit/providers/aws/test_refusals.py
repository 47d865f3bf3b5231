"""What AWS' answers mean: what may pass, what may have been carried out, and how it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from nvoi.providers.aws.refusals import EC2Error, read_failure

URL = "https://ec2.eu-central-1.amazonaws.com"


def refuse(code: str, status: int = 400, message: str = "it is so", **headers: str) -> EC2Error:
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return read_failure(ClientError(answer, "RunInstances"), URL)


@pytest.mark.parametrize(
    ("code", "status", "may_pass", "may_have_acted"),
    [
        ("RequestLimitExceeded", 503, True, False),
        ("EC2ThrottledException", 400, True, False),
        ("InternalError", 500, True, True),
        ("502", 502, True, True),
        ("InsufficientInstanceCapacity", 500, False, False),
        ("InvalidVpcID.NotFound", 400, True, False),
        ("DependencyViolation", 400, True, False),
        ("InvalidParameterValue", 400, False, False),
        ("VcpuLimitExceeded", 400, False, False),
        ("UnauthorizedOperation", 403, False, False),
    ],
)
def test_only_what_passes_is_asked_again(
    code: str, status: int, may_pass: bool, may_have_acted: bool
) -> None:
    error = refuse(code, status)
    assert (error.may_pass, error.may_have_acted) == (may_pass, may_have_acted)


def test_what_aws_says_is_one_line() -> None:
    error = refuse("InvalidParameterValue", message="no\r\n[ERROR] such\x1b[31m type\x07")
    assert error.message.endswith("InvalidParameterValue: no [ERROR] such type\ufffd")


@pytest.mark.parametrize(
    ("failure", "may_pass", "may_have_acted"),
    [
        (EndpointConnectionError(endpoint_url=URL), True, False),
        (ConnectTimeoutError(endpoint_url=URL), True, False),
        (ReadTimeoutError(endpoint_url=URL), True, True),
        (ResponseParserError("<html>Bad Gateway"), True, True),
        (SSLError(endpoint_url=URL, error=ValueError("self-signed")), False, False),
    ],
)
def test_without_an_answer_it_may_have_been_carried_out(
    failure: Exception, may_pass: bool, may_have_acted: bool
) -> None:
    error = read_failure(failure, URL)
    assert error.message.startswith(f"{URL}: ")
    assert error.is_silence
    assert (error.may_pass, error.may_have_acted) == (may_pass, may_have_acted)


def test_a_right_that_is_missing_is_named_without_what_only_aws_can_read() -> None:
    error = refuse("UnauthorizedOperation", 403, "No. Encoded authorization failure message: AQID")
    assert str(error) == (
        "the credentials may not do ec2:RunInstances "
        "(docs/providers.md has the policy that the user of access_key_id needs)"
    )
    assert "AQID" not in str(refuse("Other", 400, "No. Encoded authorization message: AQID"))


@pytest.mark.parametrize("code", ["AuthFailure", "RequestExpired", "SignatureDoesNotMatch"])
def test_a_clock_that_is_wrong_is_the_reason_that_credentials_are_not_taken(code: str) -> None:
    there = format_datetime(datetime.now(UTC) - timedelta(minutes=30), usegmt=True)
    error = refuse(code, 401, date=there)
    assert "this machine's clock is 30 minutes ahead of AWS' own" in error.message
    now = format_datetime(datetime.now(UTC), usegmt=True)
    for headers in ({"date": now}, {"date": "never"}, {}):
        assert "AWS does not take the credentials" in refuse(code, 401, **headers).message


def test_what_aws_says_is_cut() -> None:
    assert len(refuse("Other", 400, "long " * 1000).message) < 400
