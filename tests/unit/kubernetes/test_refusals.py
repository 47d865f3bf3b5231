from __future__ import annotations

from typing import Any

import pytest

from nvoi.errors import RequestError
from nvoi.kubernetes.refusals import explain, find_conflicts, is_temporary
from tests.unit.kubernetes.configs import build


def refuse(message: str, code: int = 422, reason: str = "Invalid", **details: Any) -> RequestError:
    """What the API says, as its conventions have it."""
    status = {"kind": "Status", "message": message, "reason": reason, "code": code}
    document = status | ({"details": details} if details else {})
    return RequestError(f"HTTP {code}: {message}", status=code, document=document)


def invalidate(*causes: tuple[str, str]) -> RequestError:
    found = [{"field": field, "message": message} for field, message in causes]
    return refuse('Job.batch "x" is invalid: s3cret', kind="Job", name="x", causes=found)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            invalidate(
                (
                    "spec.selector",
                    (
                        "Invalid value: v1.LabelSelector{"
                        'MatchLabels:map[string]string{"a: b":"c"}, '
                        "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable"
                    ),
                )
            ),
            "job x: spec.selector: field is immutable",
        ),
        (refuse('deployments.apps "x" not found', 404), 'deployments.apps "x" not found'),
        (
            invalidate(
                (
                    "spec.a.restartPolicy",
                    'Unsupported value: "Always": supported values: "OnFailure", "Never"',
                )
            ),
            'job x: spec.a.restartPolicy: supported values: "OnFailure", "Never"',
        ),
        (invalidate(("metadata.name", "Required value")), "job x: metadata.name: Required value"),
        (
            invalidate(("spec.ports[0].port", 'Invalid value: "s3cret: it"')),
            "job x: spec.ports[0].port",
        ),
        (
            refuse(
                "failed to create typed patch object (x; /v1, Kind=Secret): .data.A: expected "
                'string, got &value.valueUnstructured{Value:"s3cret"}'
            ),
            "failed to create typed patch object (x; /v1, Kind=Secret): .data.A: expected string",
        ),
        (refuse("cannot patch map[]{s3cret} here"), "cannot patch map[]… here"),
        (RequestError("the connection was lost"), "the connection was lost"),
    ],
)
def test_an_error_is_one_sentence_without_values(error: RequestError, sentence: str) -> None:
    assert explain(error) == (sentence,)


def test_all_causes_of_an_object_are_told_at_it() -> None:
    error = invalidate(("spec.a", "Required value"), ("spec.b", 'Invalid value: 3: must be "less"'))
    assert explain(error) == ("job x: spec.a: Required value", 'job x: spec.b: must be "less"')


def test_no_secret_of_a_manifest_is_in_a_sentence_in_any_form() -> None:
    manifests = build("postgres").secrets
    data: Any = manifests[0]["data"]
    encoded = data["POSTGRES_PASSWORD"]
    (sentence,) = explain(refuse(f"what of pa55 word and {encoded}"), manifests)
    assert "pa55" not in sentence
    assert encoded not in sentence


def test_a_sentence_has_an_end() -> None:
    (sentence,) = explain(refuse("long " * 1000))
    assert len(sentence) == 301


@pytest.mark.parametrize(
    "error",
    [
        refuse("apiserver not ready", 503, "ServiceUnavailable"),
        refuse("the server was unable to return a response in the time allotted", 504, "Timeout"),
        refuse("rpc error: code = Unknown desc = database is locked", 500, ""),
        refuse("etcdserver: leader changed", 500, ""),
        refuse("cannot complete", 500, "ServerTimeout"),
    ],
)
def test_what_may_be_gone_the_next_moment_is_known(error: RequestError) -> None:
    assert is_temporary(error)


@pytest.mark.parametrize(
    "error",
    [
        invalidate(("spec.a", "Required value")),
        refuse('pods "x" not found', 404, "NotFound"),
        refuse("Unauthorized", 401, "Unauthorized"),
        refuse("failed to create typed patch object", 500, ""),
        RequestError("its certificate is not to be trusted"),
    ],
)
def test_what_will_be_the_same_again_is_told_at_once(error: RequestError) -> None:
    assert not is_temporary(error)


@pytest.mark.parametrize(
    "document",
    [
        None,
        "no",
        ["no"],
        {"details": None},
        {"details": ["x"]},
        {"details": {"kind": "job", "name": "x", "causes": "x"}},
        {"details": {"kind": "job", "name": "x", "causes": ["x", None]}},
        {"details": {"kind": "job", "name": "x", "causes": {"reason": "FieldManagerConflict"}}},
    ],
)
def test_a_refusal_of_another_form_is_told_all_the_same(document: Any) -> None:
    error = RequestError("HTTP 409: no", status=409, document=document)
    assert explain(error) == ("HTTP 409: no",)
    assert find_conflicts(error) == []
    assert not is_temporary(error)
