"""JSON Web Tokens of our own making, and a cluster's API server that reviews them."""

from __future__ import annotations

import json
import ssl
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

AUDIENCE = "https://kubernetes.default.svc"


class Issuer:
    """Signs with ES256."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def token(self, **claims: Any) -> str:
        now = int(time.time())
        head = {"alg": "ES256", "typ": "JWT"}
        body = {"iss": AUDIENCE, "aud": [AUDIENCE], "iat": now - 5, "nbf": now - 5, "exp": now + 600, **claims}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (head, body))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def account_token(self, name: str, namespace: str = "keyturn", **claims: Any) -> str:
        """As a cluster gives it to a pod."""
        account = {"namespace": namespace, "serviceaccount": {"name": name, "uid": "u-1"}}
        return self.token(sub=f"system:serviceaccount:{namespace}:{name}", **{"kubernetes.io": account}, **claims)


def _encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


class _TokenReview(BaseHTTPRequestHandler):
    """Takes every token that it was told of (authentication.k8s.io/v1), as the API server of a cluster would."""

    server: Any

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["content-length"])))
        token = review["spec"]["token"]
        account = _claims(token)["kubernetes.io"]
        user = {
            "username": f"system:serviceaccount:{account['namespace']}:{account['serviceaccount']['name']}",
            "uid": account["serviceaccount"]["uid"],
            "groups": ["system:serviceaccounts", "system:authenticated"],
        }
        status = {"authenticated": token in self.server.good, "audiences": review["spec"].get("audiences", []), "user": user}
        body = json.dumps({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status}).encode()
        self.send_response(201)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def token_reviews(good: set[str], certificate: Path, key: Path) -> Iterator[str]:
    """The address of an API server over TLS to which these tokens are good."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _TokenReview)
    server.good = good
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
