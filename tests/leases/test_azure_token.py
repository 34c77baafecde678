"""Entra's tokens: asked for as Microsoft's own library does, by each kind of identity, and told to nobody."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, ThrottledError, UnavailableError
from keyturn.leases.azure_assertion import assertion
from keyturn.leases.azure_token import AzureToken
from keyturn.references import resolver
from keyturn.testing.loopback import LoopbackServer
from tests.delivery.test_supervisor import traces
from tests.providers.sdk import run

NOW = datetime(2026, 11, 29, 17, 45, tzinfo=UTC)
SCOPE = "https://cognitiveservices.azure.com/.default"
APPLICATION = {"tenant": "contoso", "client_id": "litellm", "proxies": ["local"]}
SECRET = {**APPLICATION, "client_secret": "env:SECRET"}
MACHINE = {"managed_identity": True, "proxies": ["local"]}


class Microsoft:
    """Entra, and the metadata service of a machine. `answer`: what it gives instead of a token."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.lives: Any = 3599
        self.answer: Callable[[], Response] | None = None

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/{tenant}/oauth2/v2.0/token", self.entra, methods=["POST"]),
                Route("/metadata/identity/oauth2/token", self.machine),
            ]
        )

    async def entra(self, request: Request) -> Response:
        self.asked.append({"path": request.url.path, "form": dict(parse_qsl((await request.body()).decode()))})
        return self.given()

    async def machine(self, request: Request) -> Response:
        self.asked.append({"params": dict(request.query_params), "metadata": request.headers.get("metadata")})
        return self.given()

    def given(self) -> Response:
        if self.answer is not None:
            return self.answer()
        self.tokens.append(secrets.token_urlsafe(60))
        return JSONResponse({"token_type": "Bearer", "expires_in": self.lives, "access_token": self.tokens[-1]})


@pytest_asyncio.fixture
async def microsoft() -> AsyncIterator[Microsoft]:
    there = Microsoft()
    with LoopbackServer(there.app()) as running:
        there.url = running.url  # type: ignore[attr-defined]
        yield there


def lease(microsoft: Microsoft, settings: dict[str, Any], environ: dict[str, str] | None = None) -> AzureToken:
    url = microsoft.url  # type: ignore[attr-defined]
    model = AzureToken.Settings.model_validate({**settings, "login_url": url, "metadata_url": url})
    return AzureToken(model, resolver(environ={"SECRET": "a-client-secret"} if environ is None else environ), lambda: NOW)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its certificate, made at run time."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "litellm")])
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW, NOW + timedelta(days=90)).sign(
        key, hashes.SHA256()
    )
    path = tmp_path_factory.mktemp("certificate") / "application.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    )
    return path


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, without those that chance and the clock decide."""
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    assert claims.pop("exp") - claims.pop("iat") == 600
    claims.pop("jti")
    return header, claims


@pytest.mark.real
async def test_each_identity_asks_as_microsofts_own_library_does(microsoft: Microsoft, pem: Path, tmp_path: Path) -> None:
    (tmp_path / "projected").write_text("a-projected-token")
    for settings in (
        SECRET,
        {**APPLICATION, "federated_token_file": tmp_path / "projected"},
        {**APPLICATION, "certificate_file": pem},
        MACHINE,
        {**MACHINE, "client_id": "litellm"},
    ):
        await lease(microsoft, settings).token()
    asked = {"tenant": "contoso", "client_id": "litellm", "scope": SCOPE, "certificate_file": str(pem)}
    theirs = (await run("azure_token", json.dumps(asked)))["sent"]
    forms = [(each["form"], there["form"]) for each, there in zip(microsoft.asked[:3], theirs[:3], strict=True)]
    ours, their_proof = forms[2][0].pop("client_assertion"), forms[2][1].pop("client_assertion")
    for our_form, their_form in forms:
        assert our_form == their_form
    (header, claims), (their_header, their_claims) = parts(ours), parts(their_proof)
    assert claims == {**their_claims, "aud": f"{microsoft.url}/contoso/oauth2/v2.0/token"}  # type: ignore[attr-defined]
    their_header.pop("x5c", None)  # the whole certificate, which Entra needs of those alone that it knows by their name
    assert header == their_header
    for each, there in zip(microsoft.asked[3:], theirs[3:], strict=True):
        assert each == {"params": there["params"], "metadata": there["metadata"]}
        assert there["url"].endswith("/metadata/identity/oauth2/token")


def test_the_proof_is_signed_by_the_certificates_key(pem: Path) -> None:
    made = assertion(pem, "litellm", "https://login/token", NOW).reveal()
    text, _, signature = made.rpartition(".")
    certificate = x509.load_pem_x509_certificate(pem.read_bytes())
    key: Any = certificate.public_key()
    salted = PSS(MGF1(hashes.SHA256()), hashes.SHA256().digest_size)
    key.verify(base64.urlsafe_b64decode(signature + "=="), text.encode(), salted, hashes.SHA256())


async def test_a_token_tells_when_it_ends_and_when_the_next_is_due(microsoft: Microsoft) -> None:
    made = await lease(microsoft, SECRET).token()
    assert made.material.reveal() == microsoft.tokens[0]
    assert made.ends - made.asked == timedelta(seconds=3599)
    assert made.ends - made.last == timedelta(seconds=30)
    assert made.ends - made.due == timedelta(seconds=3599) / 3
    made = await lease(microsoft, {**SECRET, "refresh_before": "5m"}).token()
    assert made.ends - made.due == timedelta(minutes=5)
    made = await lease(microsoft, {**SECRET, "refresh_before": "59m"}).token()
    assert made.due - made.asked == (made.last - made.asked) / 2, "half of it is used at least"


async def test_the_machine_says_the_life_as_a_text(microsoft: Microsoft) -> None:
    microsoft.lives = "86399"
    made = await lease(microsoft, MACHINE).token()
    assert made.ends - made.asked == timedelta(seconds=86399)


async def test_a_projected_token_is_read_anew_each_time(microsoft: Microsoft, tmp_path: Path) -> None:
    path = tmp_path / "projected"
    made = lease(microsoft, {**APPLICATION, "federated_token_file": path})
    for text in ("first", "second"):
        path.write_text(text)
        await made.token()
        assert microsoft.asked[-1]["form"]["client_assertion"] == text


@pytest.mark.parametrize("settings", [SECRET, MACHINE])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda: JSONResponse({"error": "invalid_client"}, 401), DeniedError),
        (lambda: JSONResponse({"error": "invalid_request"}, 400), DeniedError),
        (lambda: JSONResponse({}, 429), ThrottledError),
        (lambda: JSONResponse({}, 503), UnavailableError),
        (lambda: JSONResponse({"token_type": "Bearer", "access_token": "t"}), UnavailableError),
        (lambda: JSONResponse({"token_type": "Bearer", "access_token": "t", "expires_in": 0}), UnavailableError),
        (lambda: JSONResponse({"token_type": "Bearer", "access_token": "t", "expires_in": 30}), UnavailableError),
        (lambda: JSONResponse({"token_type": "Bearer", "expires_in": 3599}), UnavailableError),
    ],
)
async def test_what_is_no_token_is_an_error_of_ours(
    microsoft: Microsoft, settings: dict[str, Any], answer: Callable[[], Response], kind: type[KeyturnError]
) -> None:
    microsoft.answer = answer
    with pytest.raises(kind) as caught:
        await lease(microsoft, settings).token()
    assert "a-client-secret" not in f"{caught.value!r} {caught.value.__context__!r}"


async def test_the_metadata_service_is_asked_past_the_proxy_of_the_environment(
    microsoft: Microsoft, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    await lease(microsoft, MACHINE).token()


@pytest.mark.parametrize("content", ["", "no PEM at all", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_file_that_is_no_key_with_its_certificate_is_refused_unquoted(tmp_path: Path, content: str) -> None:
    path = tmp_path / "application.pem"
    path.write_text(content)
    with pytest.raises(MisconfiguredError, match="not a PEM file with an RSA key") as caught:
        assertion(path, "litellm", "https://login/token", NOW)
    assert "AAAA" not in f"{caught.value!r} {caught.value.__context__!r}"
    with pytest.raises(MisconfiguredError, match="cannot be read"):
        assertion(tmp_path / "nowhere.pem", "litellm", "https://login/token", NOW)


async def test_a_token_is_in_no_text_of_ours(microsoft: Microsoft) -> None:
    made = lease(microsoft, SECRET)
    token = await made.token()
    assert traces(f"{token!r} {token} {made!r}", [token.material]) == []


@pytest.mark.parametrize(
    "settings",
    [
        APPLICATION,
        {**SECRET, "managed_identity": True},
        {**SECRET, "federated_token_file": "/run/token"},
        {**MACHINE, "tenant": "contoso"},
        {"client_secret": "env:SECRET", "client_id": "litellm", "proxies": ["local"]},
        {**SECRET, "scope": "https://cognitiveservices.azure.com"},
        {**SECRET, "refresh_before": "10s"},
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AzureToken.Settings.model_validate(settings)
