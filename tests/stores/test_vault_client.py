"""The edge to Vault: each refusal becomes an error of ours, and no answer is quoted."""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, ThrottledError, UnavailableError
from keyturn.model import SecretRef
from keyturn.references import resolver
from keyturn.stores.vault_kv2 import VaultKV2, policy
from keyturn.testing.store_scene import new_key, new_token, refused

ROOT = Path(__file__).parents[2]
SECRET = SecretRef("vault", "litellm/providers", "OPENAI_API_KEY")


class Canned(ThreadingHTTPServer):
    """Answers every request alike, and quotes in each answer what it was sent, as no server should."""

    daemon_threads = True
    status = 200
    body: Any = {}
    headers: dict[str, str] = {}

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str, dict[str, str]]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Canned

    def answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.server.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        body = self.server.body
        if isinstance(body, dict):
            body = json.dumps({"sent": sent, "token": self.headers.get("X-Vault-Token"), **body})
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_POST = do_PATCH = answer

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def canned() -> Iterator[Canned]:
    server = Canned()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def store(address: str, **settings: Any) -> VaultKV2:
    token = secrets.token_hex(12)
    auth = {"method": "token", "token": "env:BAO_TOKEN"}
    return VaultKV2(
        VaultKV2.Settings.model_validate({"address": address, "auth": auth, **settings}),
        resolver(environ={"BAO_TOKEN": token}),
    )


@pytest.mark.parametrize(
    ("status", "errors", "error", "says"),
    [
        (400, ["malformed"], MisconfiguredError, "(400)"),
        (400, ["Upgrading from non-versioned to versioned data"], UnavailableError, "(400)"),
        (401, [], DeniedError, "policy needs"),
        (403, ["permission denied"], DeniedError, "policy needs"),
        (405, [], MisconfiguredError, "(405)"),
        (412, [], UnavailableError, "(412)"),
        (429, [], ThrottledError, "rate"),
        (473, [], UnavailableError, "(473)"),
        (500, ["internal"], UnavailableError, "(500)"),
        (501, [], UnavailableError, "initialise"),
        (502, [], UnavailableError, "(502)"),
        (503, ["Vault is sealed"], UnavailableError, "unseal"),
        (503, [], UnavailableError, "(503)"),
    ],
)
async def test_each_status_has_an_error_of_ours(
    canned: Canned, status: int, errors: list[str], error: type[KeyturnError], says: str
) -> None:
    canned.status, canned.body = status, {"errors": errors}
    raised = await refused(store(canned.address).current(SECRET), error)
    assert says in str(raised)
    assert canned.address in str(raised)
    assert not any(text and text in str(raised) for text in errors)


async def test_a_limit_on_the_rate_says_when_to_come_again(canned: Canned) -> None:
    canned.status, canned.headers = 429, {"Retry-After": "7"}
    raised = await refused(store(canned.address).current(SECRET), ThrottledError)
    assert isinstance(raised, ThrottledError)
    assert raised.retry_after == 7


@pytest.mark.parametrize("body", ["<html>Please log in</html>", "[]", ""])
async def test_a_page_in_the_place_of_an_answer_is_a_misconfiguration(canned: Canned, body: str) -> None:
    canned.body = body
    raised = await refused(store(canned.address).current(SECRET), MisconfiguredError)
    assert "does not speak Vault's API" in str(raised)


@pytest.mark.parametrize("status", [400, 403, 500])
async def test_a_refused_write_quotes_nothing_of_what_it_sent(canned: Canned, status: int) -> None:
    key, there = new_key(), new_key()
    vault = store(canned.address)
    canned.body = {"data": {"data": {"OPENAI_API_KEY": there.reveal()}, "metadata": {"version": 1}}}
    assert (await vault.current(SECRET)).material == there
    documents = vault._documents
    main = await documents.main(SECRET)
    canned.status = status
    await refused(documents.write_main(SECRET, main, key), KeyturnError, key, there)


async def test_a_denial_is_tried_again_once_with_a_fresh_token(canned: Canned) -> None:
    canned.status = 403
    await refused(store(canned.address).current(SECRET), DeniedError)
    assert len(canned.requests) == 2


async def test_the_token_and_the_namespace_go_with_every_request(canned: Canned) -> None:
    canned.status = 500
    await refused(store(canned.address, namespace="team-a").stage(SECRET, new_key(), new_token()), UnavailableError)
    (_, path, headers), *_ = canned.requests
    assert path == "/v1/secret/data/litellm/providers"
    assert headers["x-vault-namespace"] == "team-a"
    assert headers["x-vault-token"]


async def test_a_token_from_the_environment_is_never_picked_up(canned: Canned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "not-ours")
    canned.status = 400
    settings = {"auth": {"method": "approle", "role_id": "env:A", "secret_id": "env:B"}, "address": canned.address}
    vault = VaultKV2(VaultKV2.Settings.model_validate(settings), resolver(environ={"A": "a", "B": "b"}))
    await refused(vault.current(SECRET), DeniedError)
    assert "x-vault-token" not in canned.requests[0][2]


async def test_a_missing_ca_file_is_a_misconfiguration(canned: Canned, tmp_path: Path) -> None:
    vault = store(canned.address, ca_file=str(tmp_path / "absent.pem"))
    assert "absent.pem" in str(await refused(vault.current(SECRET), MisconfiguredError))


@pytest.mark.parametrize(
    "settings",
    [
        {"auth": {"method": "token", "token": "a-literal-secret"}},
        {"auth": {"method": "approle", "role_id": "env:A", "secret_id": "a-literal-secret"}},
        {"auth": {"method": "a-literal-secret"}},
        {"mount": "a-literal-secret/../sys"},
        {"staging_prefix": "a-literal-secret/.."},
        {"unknown": "a-literal-secret"},
    ],
)
def test_wrong_settings_are_refused_and_not_printed(settings: dict[str, Any]) -> None:
    good = {"address": "https://vault:8200", "auth": {"method": "token", "token": "env:A"}}
    VaultKV2.Settings.model_validate(good)
    with pytest.raises(ValidationError) as caught:
        VaultKV2.Settings.model_validate({**good, **settings})
    assert "a-literal-secret" not in str(caught.value)


def test_the_policy_for_users_is_the_one_the_code_gives() -> None:
    text = (ROOT / "deployments" / "vault-policy.hcl").read_text()
    assert re.findall(r"^path .*$", text, re.MULTILINE) == policy("litellm/providers").splitlines()
