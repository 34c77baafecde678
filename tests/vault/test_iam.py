"""The AWS login. OpenBao has no such method, so its shape is held to Vault's page, and its signature to botocore."""

from __future__ import annotations

import json
import secrets
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from keyturn.errors import DeniedError, MisconfiguredError
from keyturn.testing.store_scene import refused
from tests.hostile import Answer, said
from tests.vault.conftest import client
from tests.wire import Request, Wire

ENVIRON = {"ID": "AKIDEXAMPLE", "SECRET": secrets.token_hex(20), "SESSION": secrets.token_hex(30)}
AUTH = {
    "method": "aws",
    "role": "keyturn",
    "access_key_id": "env:ID",
    "secret_access_key": "env:SECRET",
    "session_token": "env:SESSION",
    "iam_server_id": "vault.example.com",
}
TOKEN = secrets.token_hex(12)
LOGIN = {"auth": {"client_token": TOKEN, "lease_duration": 600, "renewable": True}}
LIFE = {"data": {"ttl": 600, "renewable": True}}


class Vault:
    """Takes one kind of login, as Vault's page describes it, and remembers it."""

    def __init__(self) -> None:
        self.logins: list[dict[str, Any]] = []
        self.answer: Answer = said(LOGIN)

    def __call__(self, request: Request) -> bytes:
        if not request.target.startswith("/v1/auth/aws/login"):
            return said(LIFE).raw
        self.logins.append(json.loads(request.body))
        return self.answer.raw


@pytest.fixture
def vault() -> Iterator[tuple[Vault, str]]:
    made = Vault()
    with Wire(made) as wire:
        yield made, wire.url


async def login(vault: tuple[Vault, str], environ: dict[str, str] = ENVIRON, **auth: Any) -> dict[str, Any]:
    asking = client(vault[1], {**AUTH, **auth}, environ)
    try:
        await asking.request("GET", "auth/token/lookup-self")
    finally:
        await asking.aclose()
    return vault[0].logins[-1]


def decoded(sent: dict[str, Any], name: str) -> str:
    return b64decode(sent[name], validate=True).decode()


async def test_the_request_is_what_vault_describes(vault: tuple[Vault, str]) -> None:
    sent = await login(vault)
    names = {f"iam_{part}" for part in ("http_request_method", "request_url", "request_body", "request_headers")}
    assert set(sent) == {"role", *names}
    assert (sent["role"], sent["iam_http_request_method"]) == ("keyturn", "POST")
    assert decoded(sent, "iam_request_url") == "https://sts.amazonaws.com/"
    assert decoded(sent, "iam_request_body") == "Action=GetCallerIdentity&Version=2011-06-15"
    headers = json.loads(decoded(sent, "iam_request_headers"))
    assert headers["X-Vault-AWS-IAM-Server-ID"] == "vault.example.com"
    assert headers["X-Amz-Security-Token"] == ENVIRON["SESSION"]
    signed = headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {"host", "x-amz-date", "x-amz-security-token", "x-vault-aws-iam-server-id"} <= set(signed)
    assert ENVIRON["SECRET"] not in json.dumps(sent) + json.dumps(headers)


@pytest.mark.parametrize(
    ("region", "url"),
    [
        (None, "https://sts.amazonaws.com/"),
        ("eu-west-1", "https://sts.eu-west-1.amazonaws.com/"),
        ("cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn/"),
    ],
)
async def test_the_signature_is_the_one_that_botocore_finds_for_the_same_request(
    vault: tuple[Vault, str], region: str | None, url: str
) -> None:
    sent = await login(vault, region=region)
    assert decoded(sent, "iam_request_url") == url
    headers = json.loads(decoded(sent, "iam_request_headers"))
    told = headers.pop("Authorization")
    keys = Credentials(ENVIRON["ID"], ENVIRON["SECRET"], ENVIRON["SESSION"])
    signer: Any = SigV4Auth(keys, "sts", region or "us-east-1")
    again: Any = AWSRequest("POST", url, headers, decoded(sent, "iam_request_body"))
    again.context["timestamp"] = headers["X-Amz-Date"]
    text = signer.string_to_sign(again, signer.canonical_request(again))
    assert told.endswith(f"Signature={signer.signature(text, again)}")
    assert f"Credential={ENVIRON['ID']}/{headers['X-Amz-Date'][:8]}/{region or 'us-east-1'}/sts/aws4_request" in told


async def test_without_a_server_id_there_is_no_such_header(vault: tuple[Vault, str]) -> None:
    sent = await login(vault, iam_server_id=None)
    assert "X-Vault-AWS-IAM-Server-ID" not in json.loads(decoded(sent, "iam_request_headers"))


async def test_credentials_that_cannot_be_had_are_told(
    vault: tuple[Vault, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    none: dict[str, Any] = dict.fromkeys(("access_key_id", "secret_access_key", "session_token"))
    error = await refused(login(vault, **none), MisconfiguredError)
    assert "NoCredentialsError" in error.message
    error = await refused(login(vault, **none, profile="absent"), MisconfiguredError)
    assert "ProfileNotFound" in error.message
    assert vault[0].logins == []


async def test_a_refusal_names_what_to_check(vault: tuple[Vault, str]) -> None:
    vault[0].answer = said({"errors": ["permission denied"]}, 403)
    error = await refused(login(vault), DeniedError)
    assert "bound_iam_principal_arn" in error.remedy
    assert ENVIRON["SESSION"] not in str(error)
