"""Logins by a JSON Web Token, as a pod's: a real server takes what the lean reader sends."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from keyturn.delivery.lean.declined import Declined
from keyturn.delivery.lean.plan import Secret
from keyturn.delivery.lean.vault import VaultReader
from keyturn.delivery.lean.wire import _DETOURS
from keyturn.testing.openbao import OpenBao
from tests.delivery.lean.conftest import POLICY, vault_scene
from tests.wire import Request, Wire


@pytest.fixture(autouse=True)
def _no_detours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower() in _DETOURS]:
        monkeypatch.delenv(name)


def signed(claims: dict[str, object], key: ec.EllipticCurvePrivateKey) -> str:
    """A JSON Web Token, ES256 (RFC 7518, 3.4)."""
    parts = [_plain(json.dumps(part).encode()) for part in ({"alg": "ES256", "typ": "JWT"}, claims)]
    r, s = decode_dss_signature(key.sign(".".join(parts).encode(), ec.ECDSA(hashes.SHA256())))
    return ".".join([*parts, _plain(r.to_bytes(32, "big") + s.to_bytes(32, "big"))])


def _plain(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@pytest.mark.real
def test_a_server_takes_a_jwt_that_was_made_for_it(bao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = vault_scene(bao, tmp_path)
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    bao.root.sys.enable_auth_method("jwt", path="proxies")
    bao.root.write("auth/proxies/config", jwt_validation_pubkeys=[public.decode()])
    bao.root.sys.create_or_update_policy("reader", POLICY)
    bao.root.write(
        "auth/proxies/role/proxy",
        role_type="jwt",
        user_claim="sub",
        bound_audiences=["vault"],
        bound_subject="proxy",
        token_policies=["reader"],
    )
    token = signed({"sub": "proxy", "aud": "vault", "iat": int(time.time()), "exp": int(time.time()) + 600}, key)
    (tmp_path / "jwt").write_text(token)
    monkeypatch.setenv("JWT", token)
    for auth in (
        {"method": "jwt", "role": "proxy", "token": "env:JWT", "mount": "proxies"},
        # What a pod sends is of the same form, but for the method's name.
        {"method": "kubernetes", "role": "proxy", "token_file": str(tmp_path / "jwt"), "mount": "proxies"},
    ):
        with VaultReader({"address": bao.address, "auth": auth}) as reader:
            _, material = reader.current(Secret("store", "litellm/providers", "OPENAI_API_KEY"))
        assert material.reveal() == scene.keys["OPENAI_API_KEY"]


@pytest.mark.parametrize(
    ("auth", "path"),
    [
        ({"method": "jwt", "role": "a", "token": "env:JWT"}, "/v1/auth/jwt/login"),
        ({"method": "kubernetes", "role": "a", "token_file": "token"}, "/v1/auth/kubernetes/login"),
        ({"method": "approle", "role_id": "env:JWT", "secret_id": "env:JWT"}, "/v1/auth/approle/login"),
    ],
    ids=lambda value: value["method"] if isinstance(value, dict) else "",
)
def test_a_method_is_where_its_name_says(
    auth: dict[str, str], path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT", "a-token")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text("a-token\n")
    asked: list[Request] = []

    def respond(request: Request) -> bytes:
        asked.append(request)
        return b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"

    with (
        Wire(respond) as server,
        VaultReader({"address": server.url, "auth": auth}) as reader,
        pytest.raises(Declined),
    ):
        reader.current(Secret("store", "a", None))
    assert [request.target for request in asked] == [path]
    assert set(json.loads(asked[0].body).values()) <= {"a", "a-token"}
