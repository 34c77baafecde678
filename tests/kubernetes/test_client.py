"""How the API server is reached, and what is made of what it says: ways in, certificates, tokens, answers of others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kubernetes.config import incluster_config
from pydantic import ValidationError

from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, ThrottledError, UnavailableError
from keyturn.kubernetes.access import Wanted
from keyturn.kubernetes.answer import Answer
from keyturn.kubernetes.client import KubernetesClient
from keyturn.kubernetes.settings import ConnectionSettings
from keyturn.material import KeyMaterial
from keyturn.references import resolver
from keyturn.testing.kubernetes_double import Kind, KubernetesDouble
from keyturn.testing.processes import free_port
from keyturn.testing.store_scene import new_key, refused
from tests.stores.kubernetes_scene import SPACE, Operator, kubeconfig_of
from tests.wire import Request, Wire

PATH = f"/api/v1/namespaces/{SPACE}/secrets/keys"
WANTED = Wanted("get", SPACE, "keys")


@pytest.fixture
def double() -> Iterator[KubernetesDouble]:
    with KubernetesDouble(namespaces=[SPACE]) as running:
        Operator.of(running).put("keys", {"A": "1"})
        yield running


def client(environ: dict[str, str] | None = None, **settings: Any) -> KubernetesClient:
    return KubernetesClient(ConnectionSettings.model_validate(settings), resolver(environ=environ or {"TOKEN": "x"}))


async def ask(made: KubernetesClient) -> Answer:
    try:
        return await made.request("GET", PATH, WANTED)
    finally:
        await made.aclose()


# The ways in.


async def test_at_an_address_with_a_token(double: KubernetesDouble) -> None:
    assert (await ask(client({"TOKEN": double.admin_token}, server=double.url, token="env:TOKEN"))).status == 200


async def test_by_a_kubeconfig_and_one_of_its_contexts(double: KubernetesDouble, tmp_path: Path) -> None:
    file = kubeconfig_of(double, tmp_path / "config")
    assert (await ask(client(kubeconfig=file, context="here"))).status == 200
    await refused(ask(client(kubeconfig=file)), UnavailableError)  # its current one leads nowhere


@pytest.mark.parametrize("text", ["", "[]", "{", "clusters: 7", "users:\n- name: secret-word\n", "\x00"])
async def test_a_kubeconfig_that_is_none_is_told_and_not_quoted(text: str, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(text)
    for file, context in ((tmp_path / "config", None), (tmp_path / "config", "nope"), (tmp_path / "absent", None)):
        error = await refused(ask(client(kubeconfig=file, context=context)), MisconfiguredError)
        assert str(file) in str(error)
        assert "secret-word" not in str(error)


async def test_from_inside_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files and variables are where the kubelet puts them; here the client is told of other places."""
    await refused(ask(client()), MisconfiguredError)
    certificate, key = own_certificate(tmp_path)
    with KubernetesDouble(namespaces=[SPACE], certificate=(certificate, key)) as running:
        operator_over_tls(running, certificate).put("keys", {"A": "1"})
        (tmp_path / "token").write_text(running.account("worker", [rule("get")], namespace=SPACE))
        monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
        monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", running.url.rpartition(":")[2])
        made = client()
        assert (await made.request("GET", PATH, WANTED)).status == 200
        running.access.forget((tmp_path / "token").read_text())
        (tmp_path / "token").write_text(running.access.add_account(SPACE, "worker"))  # as the kubelet does each hour
        assert (await ask(made)).status == 200


def rule(*verbs: str) -> dict[str, Any]:
    return {"apiGroups": [""], "resources": ["secrets"], "verbs": list(verbs)}


def operator_over_tls(double: KubernetesDouble, certificate: Path) -> Operator:
    configuration = kubernetes.client.Configuration(host=double.url, ssl_ca_cert=str(certificate))
    configuration.api_key["BearerToken"] = f"Bearer {double.admin_token}"
    return Operator(kubernetes.client.ApiClient(configuration))


@pytest.mark.parametrize(
    "settings",
    [
        {"server": "https://x", "kubeconfig": "/x", "token": "env:X"},
        {"server": "https://x", "context": "x", "token": "env:X"},
        {"server": "https://x"},
        {"token": "env:X"},
        {"context": "x"},
        {"ca_file": "/x"},
        {"verify": False},
        {"server": "https://x", "token": "a literal"},
        {"unknown": 1},
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        ConnectionSettings.model_validate(settings)
    assert "a literal" not in str(caught.value)


# Certificates.


def own_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback that is its own authority, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, none))
    return files


async def test_a_certificate_is_checked_against_the_authority_that_is_named(tmp_path: Path) -> None:
    files = own_certificate(tmp_path)
    with KubernetesDouble(namespaces=[SPACE], certificate=files) as running:
        environ, way_in = {"TOKEN": running.admin_token}, {"server": running.url, "token": "env:TOKEN"}
        assert (await ask(client(environ, **way_in, ca_file=files[0]))).status == 404
        assert (await ask(client(environ, **way_in, verify=False))).status == 404
        calls = sum(running.calls.values())
        error = await refused(ask(client(environ, **way_in)), MisconfiguredError)
        assert "ca_file" in error.remedy
        await refused(ask(client(environ, **way_in, ca_file=tmp_path / "absent")), MisconfiguredError)
        (tmp_path / "no.pem").write_text("no certificate")
        await refused(ask(client(environ, **way_in, ca_file=tmp_path / "no.pem")), KeyturnError)
        assert sum(running.calls.values()) == calls, "nothing was sent, and no token"


# Tokens.


async def test_a_token_that_is_refused_is_read_anew_once(double: KubernetesDouble) -> None:
    environ = {"TOKEN": double.account("worker", [rule("get")], namespace=SPACE)}
    made = client(environ, server=double.url, token="env:TOKEN")
    assert (await made.request("GET", PATH, WANTED)).status == 200
    double.access.forget(environ["TOKEN"])
    environ["TOKEN"] = double.access.add_account(SPACE, "worker")
    assert (await made.request("GET", PATH, WANTED)).status == 200
    double.access.forget(environ["TOKEN"])
    error = await refused(made.request("GET", PATH, WANTED), DeniedError, KeyMaterial(environ["TOKEN"]))
    assert "(401)" in str(error)
    await made.aclose()


async def test_a_permission_that_is_missing_is_named_as_the_rule_that_grants_it(double: KubernetesDouble) -> None:
    environ = {"TOKEN": double.account("worker", [], namespace=SPACE)}
    error = await refused(ask(client(environ, server=double.url, token="env:TOKEN")), DeniedError)
    assert '{apiGroups: [""], resources: [secrets], resourceNames: [keys], verbs: [get]}' in error.remedy


# What is said.


def status(code: int, reason: str, **details: Any) -> tuple[int, Any]:
    return code, {"kind": "Status", "apiVersion": "v1", "message": "SECRET WORDS", "reason": reason, "details": details}


ANSWERS: list[tuple[tuple[int, Any], type[KeyturnError], str]] = [
    ((200, {}), MisconfiguredError, "does not speak"),
    ((200, None), MisconfiguredError, "does not speak"),
    ((204, None), MisconfiguredError, "does not speak"),
    ((404, {"message": "SECRET WORDS"}), MisconfiguredError, "does not speak"),
    ((409, {"message": "SECRET WORDS"}), MisconfiguredError, "does not speak"),
    ((302, None), MisconfiguredError, "does not follow"),
    ((307, None), MisconfiguredError, "does not follow"),
    (status(400, "BadRequest"), MisconfiguredError, "(400)"),
    (status(401, "Unauthorized"), DeniedError, "(401)"),
    (status(403, "Forbidden"), DeniedError, "resourceNames"),
    (status(403, "Forbidden", causes=[{"reason": "NamespaceTerminating"}]), MisconfiguredError, "being deleted"),
    ((403, {**status(403, "Forbidden")[1], "message": "exceeded quota: x"}), MisconfiguredError, "quota"),
    (status(405, "MethodNotAllowed"), MisconfiguredError, "(405)"),
    (status(410, "Expired"), UnavailableError, "(410)"),
    (status(413, "RequestEntityTooLarge"), MisconfiguredError, "size"),
    (status(422, "Invalid", causes=[{"reason": "FieldValueTooLong"}]), MisconfiguredError, "size"),
    (status(422, "Invalid", causes=[{"reason": "FieldValueForbidden"}]), MisconfiguredError, "immutable"),
    (status(422, "Invalid", causes=7), MisconfiguredError, "(422)"),
    (status(429, "TooManyRequests"), ThrottledError, "(429)"),
    (status(500, "InternalError"), UnavailableError, "(500)"),
    (status(503, "ServiceUnavailable"), UnavailableError, "(503)"),
    (status(504, "Timeout"), UnavailableError, "(504)"),
]


@pytest.mark.parametrize(("answer", "error", "words"), ANSWERS, ids=[f"{a[0]}-{n}" for n, (a, _, _) in enumerate(ANSWERS)])
async def test_each_refusal_is_told_in_our_words(answer: tuple[int, Any], error: type[KeyturnError], words: str) -> None:
    asked: list[Request] = []

    def serve(request: Request) -> bytes:
        asked.append(request)
        body = b"" if answer[1] is None else json.dumps(answer[1]).encode()
        head = f"HTTP/1.1 {answer[0]} SECRET WORDS\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    token = new_key()
    with Wire(serve) as wire:
        found = await refused(ask(client({"TOKEN": token.reveal()}, server=wire.url, token="env:TOKEN")), error, token)
    assert words in str(found)
    assert "SECRET WORDS" not in str(found)
    assert len(asked) == (2 if answer[0] == 401 else 1), "no request is repeated unasked"


async def test_a_write_is_never_repeated_by_the_client(double: KubernetesDouble) -> None:
    made = client({"TOKEN": double.admin_token}, server=double.url, token="env:TOKEN")
    for kind in (Kind.LOST, Kind.RESET, Kind.THROTTLED, Kind.UNAVAILABLE):
        double.calls.clear()
        double.inject("update secrets", kind)
        with pytest.raises(KeyturnError):
            await made.request("PUT", PATH, WANTED, {"metadata": {"name": "keys"}})
        assert double.calls["update secrets"] == 1, kind
    await made.aclose()


async def test_a_server_that_is_silent_is_not_waited_for() -> None:
    with Wire(lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{") as wire:  # and no more
        await refused(ask(client(server=wire.url, token="env:TOKEN", timeout="1s")), UnavailableError)
    error = await refused(ask(client(server=f"http://127.0.0.1:{free_port()}", token="env:TOKEN")), UnavailableError)
    assert error.remedy


@pytest.mark.parametrize("text", ["a\nb", "é", "a b\x00"])
async def test_a_token_that_no_header_carries_is_told_and_not_printed(text: str, double: KubernetesDouble) -> None:
    found = await refused(ask(client({"TOKEN": f"secret{text}"}, server=double.url, token="env:TOKEN")), KeyturnError)
    assert "secret" + text not in str(found)
