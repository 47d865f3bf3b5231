from __future__ import annotations

from typing import Any

import pytest

from nvoi.kubernetes.answers import explain, is_passing, summarize
from tests.unit.kubernetes.configs import build

IMMUTABLE = (
    'The Deployment "shop-web" is invalid: spec.selector: Invalid value: v1.LabelSelector'
    '{MatchLabels:map[string]string{"a: b":"c"}, MatchExpressions:[]v1.LabelSelectorRequirement'
    "(nil)}: field is immutable"
)
NO_OPENAPI = (
    'error: error validating "STDIN": error validating data: failed to download openapi: Get '
    '"https://127.0.0.1:6443/openapi/v2?timeout=30s": dial tcp 127.0.0.1:6443: connect: connection '
    "refused; if you choose to ignore these errors, turn validation off with --validate=false"
)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (IMMUTABLE, "deployment shop-web: spec.selector: field is immutable"),
        (
            'Error from server (NotFound): deployments.apps "x" not found',
            'deployments.apps "x" not found',
        ),
        (
            'error: no matches for kind "Foo" in version "v1"',
            'no matches for kind "Foo" in version "v1"',
        ),
        (
            (
                'The Job "x" is invalid: spec.a.restartPolicy: Unsupported value: "Always": '
                'supported values: "OnFailure", "Never"'
            ),
            'job x: spec.a.restartPolicy: supported values: "OnFailure", "Never"',
        ),
        (
            'The Secret "x" is invalid: metadata.name: Required value',
            "secret x: metadata.name: Required value",
        ),
        (
            'The Service "x" is invalid: spec.ports[0].port: Invalid value: "s3cret: it"',
            "service x: spec.ports[0].port",
        ),
        (
            (
                "Error from server: failed to create typed patch object (x; /v1, Kind=Secret): "
                '.data.A: expected string, got &value.valueUnstructured{Value:"s3cret"}'
            ),
            ("failed to create typed patch object (x; /v1, Kind=Secret): .data.A: expected string"),
        ),
        ("error: cannot patch map[]{s3cret} here", "cannot patch map[]… here"),
    ],
)
def test_an_error_is_one_sentence_without_values(line: str, sentence: str) -> None:
    assert explain([line]) == (sentence,)


def test_all_causes_of_an_object_are_told_at_it_and_noise_is_not() -> None:
    lines = [
        "E1123 16:58:24.0 1 memcache.go:265] couldn't get current server API group list",
        "Warning: spec.template is deprecated",
        'The Deployment "x" is invalid: ',
        "* spec.a: Required value",
        '* spec.b: Invalid value: 3: must be "less"',
        "Error from server (Forbidden): no",
        "",
    ]
    assert explain(lines) == (
        "deployment x: spec.a: Required value",
        'deployment x: spec.b: must be "less"',
        "no",
    )


def test_no_secret_of_a_manifest_is_in_a_sentence_in_any_form() -> None:
    manifests = build("postgres").secrets
    data: Any = manifests[0]["data"]
    encoded = data["POSTGRES_PASSWORD"]
    (sentence,) = explain([f"error: what of pa55 word and {encoded}"], manifests)
    assert "pa55" not in sentence
    assert encoded not in sentence


def test_a_sentence_has_an_end() -> None:
    (sentence,) = explain(["error: " + "long " * 1000])
    assert len(sentence) == 301


@pytest.mark.parametrize(
    "line",
    [
        (
            "The connection to the server 127.0.0.1:6443 was refused - did you specify the right "
            "host or port?"
        ),
        NO_OPENAPI,
        "Unable to connect to the server: net/http: TLS handshake timeout",
        "Unable to connect to the server: EOF",
        "Unable to connect to the server: http2: client connection lost",
        "Error from server (ServiceUnavailable): apiserver not ready",
        (
            "Error from server (Timeout): the server was unable to return a response in the time "
            "allotted"
        ),
        (
            "Unable to connect to the server: context deadline exceeded (Client.Timeout exceeded "
            "while awaiting headers)"
        ),
        "Error from server: rpc error: code = Unknown desc = database is locked",
    ],
)
def test_what_may_be_gone_the_next_moment_is_known(line: str) -> None:
    assert is_passing(["some other line", line])


@pytest.mark.parametrize(
    "line",
    [
        IMMUTABLE,
        'Error from server (NotFound): pods "x" not found',
        (
            "Unable to connect to the server: tls: failed to verify certificate: x509: certificate "
            "has expired"
        ),
        "error: You must be logged in to the server (Unauthorized)",
    ],
)
def test_what_will_be_the_same_again_is_told_at_once(line: str) -> None:
    assert not is_passing([line])


def test_several_sentences_are_one_line() -> None:
    assert summarize(["a", "b", "c"]) == "a (and 2 more)"
    assert summarize(["a"]) == "a"
    assert summarize([]) == "kubectl failed and did not say why"
