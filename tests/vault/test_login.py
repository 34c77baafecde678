"""Each way to log in, against a real server; and what each refusal says."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from pydantic import ValidationError

from keyturn.errors import DeniedError, MisconfiguredError
from keyturn.testing.store_scene import refused
from keyturn.vault.settings import ConnectionSettings
from tests.vault.conftest import Server, Watched, client
from tests.vault.tokens import AUDIENCE, Issuer, token_reviews

WRAPPED = {"method": "approle", "role_id": "env:ROLE", "wrapped_secret_id": "env:WRAPPED"}

NOTHING = 'path "nothing/*" { capabilities = ["read"] }'

Open = Callable[..., Watched]


@pytest.fixture
async def opened(server: Server) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        def open_one(auth: dict[str, Any], environ: dict[str, str], **settings: Any) -> Watched:
            made = client(server.bao.address, auth, environ, **settings)
            stack.push_async_callback(made.aclose)
            return made

        yield open_one


async def asked(vault: Watched) -> list[str]:
    """The policies that the login gave."""
    policies: list[str] = (await vault.request("GET", "auth/token/lookup-self")).data["policies"]
    return policies


# AppRole with a wrapped secret id ---------------------------------------------------------------------------------------


def wrapped(server: Server, name: str, ttl: str = "60s") -> dict[str, str]:
    role = server.bao.app_role(NOTHING, name=name)
    root = server.bao.root
    made = root.auth.approle.generate_secret_id(name, wrap_ttl=ttl)
    return {"ROLE": role.role_id, "WRAPPED": made["wrap_info"]["token"]}


@pytest.mark.real
async def test_a_wrapped_secret_id_is_unwrapped_once_and_good_for_many_logins(server: Server, opened: Open) -> None:
    vault = opened(WRAPPED, wrapped(server, "wrapped"))
    assert "wrapped" in await asked(vault)
    server.bao.root.auth.token.revoke((await vault._tokens.get()).reveal())
    assert "wrapped" in await asked(vault)
    assert (vault.count("auth/approle/login"), vault.count("sys/wrapping/unwrap")) == (2, 1)


@pytest.mark.real
async def test_a_wrapping_token_that_somebody_else_has_used_is_told_as_an_interception(server: Server, opened: Open) -> None:
    environ = wrapped(server, "intercepted")
    server.bao.root.sys.unwrap(environ["WRAPPED"])
    error = await refused(asked(opened(WRAPPED, environ)), DeniedError)
    assert "was used before" in error.message
    assert "intercepted" in error.remedy
    assert environ["WRAPPED"] not in str(error)


@pytest.mark.real
async def test_what_an_interceptor_has_wrapped_again_is_not_taken(server: Server, opened: Open) -> None:
    """It may hold a secret id of theirs. The path that it was wrapped at cannot be forged."""
    environ = wrapped(server, "swapped")
    stolen = server.bao.root.sys.unwrap(environ["WRAPPED"])["data"]["secret_id"]
    again = server.bao.root.adapter.request("POST", "/v1/sys/wrapping/wrap", json={"secret_id": stolen}, wrap_ttl="60s")
    environ["WRAPPED"] = again["wrap_info"]["token"]
    vault = opened(WRAPPED, environ)
    error = await refused(asked(vault), DeniedError)
    assert "swapped" in error.message
    assert vault.count("sys/wrapping/unwrap") == 0
    assert vault.count("/login") == 0


def wait_until_expired(server: Server, wrapping_token: str) -> None:
    address, deadline = f"{server.bao.address}/v1/sys/wrapping/lookup", time.monotonic() + 30
    while requests.post(address, json={"token": wrapping_token}, timeout=10).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.real
async def test_a_wrapping_token_that_has_expired_is_told(server: Server, opened: Open) -> None:
    environ = wrapped(server, "expired", ttl="1s")
    await asyncio.to_thread(wait_until_expired, server, environ["WRAPPED"])
    assert "has expired" in str(await refused(asked(opened(WRAPPED, environ)), DeniedError))


# Kubernetes and JWT -----------------------------------------------------------------------------------------------------


@pytest.mark.real
async def test_kubernetes_with_a_token_that_is_read_anew_at_each_login(server: Server, opened: Open, tmp_path: Path) -> None:
    issuer, good, file = Issuer(), set[str](), tmp_path / "token"
    auth = {"method": "kubernetes", "role": "keyturn", "mount": "cluster", "token_file": str(file)}
    root = server.bao.root
    root.sys.enable_auth_method("kubernetes", path="cluster")
    with token_reviews(good, server.certificate, server.key) as api:
        root.auth.kubernetes.configure(
            kubernetes_host=api,
            kubernetes_ca_cert=server.ca.read_text(),
            token_reviewer_jwt=issuer.account_token("reviewer"),
            disable_local_ca_jwt=True,
            mount_point="cluster",
        )
        root.auth.kubernetes.create_role(
            "keyturn",
            bound_service_account_names=["keyturn"],
            bound_service_account_namespaces=["keyturn"],
            policies=["of-the-cluster"],
            audience=AUDIENCE,
            mount_point="cluster",
        )
        vault = opened(auth, {})
        error = await refused(asked(vault), MisconfiguredError)
        assert str(file) in error.message
        for _ in range(2):
            token = issuer.account_token("keyturn", jti=secrets.token_hex(4))
            good.clear()
            good.add(token)
            file.write_text(token + "\n")
            assert "of-the-cluster" in await asked(vault)
            root.auth.token.revoke((await vault._tokens.get()).reveal())
        other = issuer.account_token("somebody-else")
        good.add(other)
        file.write_text(other)
        error = await refused(asked(opened(auth, {})), DeniedError)
        assert "service account" in error.remedy
        assert other not in str(error)


@pytest.mark.real
async def test_jwt_at_a_mount_of_any_name(server: Server, opened: Open) -> None:
    issuer, root = Issuer(), server.bao.root
    root.sys.enable_auth_method("jwt", path="ci")
    root.write("auth/ci/config", jwt_validation_pubkeys=[issuer.public])
    role = {"role_type": "jwt", "bound_audiences": [AUDIENCE], "user_claim": "sub", "bound_subject": "ci"}
    root.write("auth/ci/role/keyturn", **role, token_policies=["of-ci"])
    auth = {"method": "jwt", "role": "keyturn", "mount": "ci", "token": "env:JWT"}
    assert "of-ci" in await asked(opened(auth, {"JWT": issuer.token(sub="ci")}))
    for wrong in (issuer.token(sub="other"), issuer.token(sub="ci", exp=1), Issuer().token(sub="ci")):
        error = await refused(asked(opened(auth, {"JWT": wrong})), DeniedError)
        assert "bound audiences" in error.remedy
        assert wrong not in str(error)


@pytest.mark.real
async def test_a_method_that_is_not_mounted_is_a_refusal(opened: Open) -> None:
    auth = {"method": "jwt", "role": "keyturn", "mount": "nowhere", "token": "env:JWT"}
    error = await refused(asked(opened(auth, {"JWT": Issuer().token(sub="ci")})), DeniedError)
    assert "auth/nowhere/login" in error.message


# Settings ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "auth",
    [
        {"method": "approle", "role_id": "env:A"},
        {"method": "approle", "role_id": "env:A", "secret_id": "env:B", "wrapped_secret_id": "env:C"},
        {"method": "approle", "role_id": "env:A", "wrapped_secret_id": "a-literal-secret"},
        {"method": "kubernetes"},
        {"method": "kubernetes", "role": "a-literal-secret/../x"},
        {"method": "kubernetes", "role": "a", "token": "a-literal-secret"},
        {"method": "jwt", "role": "a", "token": "a-literal-secret"},
        {"method": "jwt", "role": "a", "token": "env:A", "mount": "a-literal-secret/../../sys"},
        {"method": "aws", "role": "a", "access_key_id": "env:A"},
        {"method": "aws", "role": "a", "session_token": "env:A"},
        {"method": "aws", "role": "a", "access_key_id": "env:A", "secret_access_key": "env:B", "profile": "p"},
        {"method": "aws", "role": "a", "region": "a-literal-secret"},
        {"method": "aws", "role": "a", "iam_server_id": "a-literal-secret\r\nX-Other: 1"},
        {"method": "ldap"},
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused_and_not_printed(auth: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        ConnectionSettings.model_validate({"address": "https://vault:8200", "auth": auth})
    assert "a-literal-secret" not in str(caught.value)
