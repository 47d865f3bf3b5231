"""Whom nvoi trusts at AWS, by which proxies it asks, and how it reads pages."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from pytest_httpserver import HTTPServer

from nvoi.config.schema import AWSProvider
from nvoi.errors import NvoiError
from nvoi.providers.aws.api import EC2, Pace
from nvoi.providers.aws.refusals import EC2Error
from nvoi.secret import Secret

ACCOUNT = AWSProvider(
    Secret("AKIAEXAMPLE"), Secret("s3cr3t-s3cr3t"), "eu-central-1", "t3.small", "x86"
)
NOTHING = b"<DescribeVpcsResponse><vpcSet/></DescribeVpcsResponse>"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def api(authority: trustme.CA) -> Iterator[HTTPServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with HTTPServer("127.0.0.1", ssl_context=context) as server:
        server.expect_request("/").respond_with_data(NOTHING)
        yield server


def ask(api: HTTPServer, **environ: str) -> list[object]:
    pace = Pace(connect=5.0, patience=0.0)
    ec2 = EC2(ACCOUNT, {"AWS_ENDPOINT_URL": api.url_for("/"), **environ}, pace)
    return [*ec2.find("vpc", {})]


def test_a_folder_of_authorities_is_enough_and_one_that_lacks_it_is_not(
    api: HTTPServer, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    found = subprocess.run(
        ["openssl", "x509", "-noout", "-hash", "-in", str(file)], check=True, capture_output=True
    )
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / f"{found.stdout.decode().strip()}.0").write_bytes(file.read_bytes())
    assert ask(api, SSL_CERT_DIR=str(folder)) == []
    assert ask(api, SSL_CERT_FILE=str(file)) == []
    # A variable of botocore's own counts as little as its bundle.
    monkeypatch.setenv("AWS_CA_BUNDLE", str(file))
    with pytest.raises(EC2Error, match="its certificate is not to be trusted"):
        ask(api)


def test_only_the_proxies_of_the_environment_that_is_given_count(
    api: HTTPServer, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    # It would not be asked for this machine's own addresses either.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert ask(api, SSL_CERT_FILE=str(file)) == []


def test_a_page_without_a_list_is_empty_and_the_next_one_is_read(
    api: HTTPServer, authority: trustme.CA, tmp_path: Path
) -> None:
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    api.clear()
    empty = "<DescribeVpcsResponse><nextToken>more</nextToken></DescribeVpcsResponse>"
    vpc = "<vpcSet><item><vpcId>vpc-1</vpcId></item></vpcSet>"
    pages = (empty, f"<DescribeVpcsResponse>{vpc}</DescribeVpcsResponse>")
    for page in pages:
        api.expect_ordered_request("/").respond_with_data(page)
    [found] = ask(api, SSL_CERT_FILE=str(file))
    assert str(found).endswith("(vpc-1)")


def test_an_answer_of_another_form_is_told_in_words_that_show_nothing_of_it(
    api: HTTPServer, authority: trustme.CA, tmp_path: Path
) -> None:
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    api.clear()
    vpc = "<vpcSet><item><cidrBlock>s3cr3t</cidrBlock></item></vpcSet>"
    answer = f"<DescribeVpcsResponse>{vpc}</DescribeVpcsResponse>"
    api.expect_request("/").respond_with_data(answer)
    with pytest.raises(NvoiError) as raised:
        ask(api, SSL_CERT_FILE=str(file))
    assert raised.value.message == "AWS: the answer cannot be read: KeyError"
