"""Whose certificate is believed: the authority that ca_file names, for the host that is asked, and nobody else."""

from __future__ import annotations

import json
import os
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keyturn.delivery.lean.wire import _DETOURS, Wire, _authorities


def certificate(folder: Path, *names: x509.GeneralName) -> Path:
    """A certificate that is its own authority, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]), datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = folder / "certificate.pem"
    path.write_bytes(key.private_bytes(*form) + built.public_bytes(serialization.Encoding.PEM))
    return path


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"a": "b"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_detours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower() in _DETOURS]:
        monkeypatch.delenv(name)


@pytest.fixture
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server, and its certificate."""
    path = certificate(tmp_path, *request.param)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}", path
    server.shutdown()
    server.server_close()


RIGHT, WRONG = [x509.IPAddress(ip_address("127.0.0.1"))], [x509.DNSName("vault.example.com")]


@pytest.mark.parametrize("served", [RIGHT], indirect=True)
def test_the_authority_that_is_named_is_believed(served: tuple[str, Path]) -> None:
    with Wire(served[0], str(served[1])) as wire:
        assert wire.ask("GET", "/", {}) == {"a": "b"}


@pytest.mark.parametrize("served", [RIGHT], indirect=True)
def test_without_it_the_certificate_is_of_nobody(served: tuple[str, Path]) -> None:
    with Wire(served[0]) as wire, pytest.raises(ssl.SSLCertVerificationError):
        wire.ask("GET", "/", {})


@pytest.mark.parametrize("served", [WRONG], indirect=True)
def test_a_certificate_for_another_host_is_refused_whatever_its_subject_says(served: tuple[str, Path]) -> None:
    with Wire(served[0], str(served[1])) as wire, pytest.raises(ssl.SSLCertVerificationError):
        wire.ask("GET", "/", {})


def test_the_authorities_are_those_of_the_sdks() -> None:
    assert _authorities() == certifi.where()
