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
from keyturn.stores.two_documents import Main
from keyturn.stores.vault_kv2 import VaultKV2, policy
from keyturn.testing.store_scene import new_key, new_token, refused
from tests.wire import Wire

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


NO_OBJECTS: list[Any] = [{}, [], "x", None]
NO_SLOTS: list[Any] = [*NO_OBJECTS, {"token": "t"}, {"value": "v"}]
NO_PAIRS: list[Any] = [{}, "x", None, ["ab"], [["a"]], [["a", 1]], [["a", None]], [[["a"], "b"]]]


@pytest.mark.parametrize("after", ["\u00b2", "-1", "9" * 400, "soon"])
async def test_a_pause_that_is_no_number_is_none(canned: Canned, after: str) -> None:
    canned.status, canned.headers = 429, {"Retry-After": after}
    raised = await refused(store(canned.address).current(SECRET), ThrottledError)
    assert isinstance(raised, ThrottledError)
    assert raised.retry_after is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_told_and_not_followed(canned: Canned, status: int) -> None:
    """It would take the token with it; and what is answered to a write that became a read is no answer to the write."""
    canned.status, canned.headers = status, {"Location": f"{canned.address}/v1/elsewhere"}
    raised = await refused(store(canned.address).stage(SECRET, new_key(), new_token()), MisconfiguredError)
    assert f"({status})" in str(raised)
    assert [path for _, path, _ in canned.requests] == ["/v1/secret/data/litellm/providers"]


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"data": {"OPENAI_API_KEY": "x"}, "metadata": {"version": 2}}},  # what a read gives
        *({"data": {"version": number}} for number in (1, 0, -1, True, "2", None)),
        *({"data": each} for each in NO_OBJECTS),
    ],
    ids=str,
)
async def test_a_write_is_done_only_where_it_got_a_later_number(canned: Canned, body: dict[str, Any]) -> None:
    """The answer to a read was taken for that to a write, and a promote for done."""
    documents = store(canned.address)._documents
    canned.body = body
    await refused(documents.write_main(SECRET, Main("1", content={}), new_key()), MisconfiguredError)


@pytest.mark.parametrize("body", ["<html>404</html>", "{}", "[]", {"error": "not found"}])
async def test_what_is_not_there_is_so_in_vaults_own_words(canned: Canned, body: Any) -> None:
    """Else a page of a proxy in between would say that nothing is staged: a key that may be revoked."""
    canned.status, canned.body = 404, body
    vault = store(canned.address)
    await refused(vault._documents.beside(SECRET), MisconfiguredError)
    await refused(vault.annotations(SECRET), MisconfiguredError)
    canned.body = {"errors": []}
    assert await vault.annotations(SECRET) == {}
    assert (await vault._documents.beside(SECRET)).number == ""


@pytest.mark.parametrize(
    "notes", [*({"custom_metadata": each} for each in ([], ["ab"], "x", {"a": 1}, {"a": None}, {"a": ["x"]})), {}], ids=str
)
async def test_notes_are_texts_or_no_answer_of_vaults(canned: Canned, notes: dict[str, Any]) -> None:
    canned.body = {"data": notes}
    await refused(store(canned.address).annotations(SECRET), MisconfiguredError)
    canned.body = {"data": {"custom_metadata": None}}
    assert await store(canned.address).annotations(SECRET) == {}


@pytest.mark.parametrize(
    "document",
    [
        *({"issued": each} for each in NO_PAIRS),
        *({"issued": [], "pending": each} for each in NO_SLOTS),
        *({"issued": [], "previous": {"token": each, "value": "v"}} for each in (7, None, "", ["t"])),
        *({"issued": [], "displaced": {"token": "t", "value": each}} for each in (7, None, "", ["v"], "v\n", "\ud800")),
    ],
    ids=str,
)
async def test_a_second_document_that_is_not_ours_is_told(canned: Canned, document: dict[str, Any]) -> None:
    canned.body = {"data": {"data": document, "metadata": {"version": 1}}}
    raised = await refused(store(canned.address)._documents.beside(SECRET), MisconfiguredError)
    assert "changed by somebody else" in str(raised)


async def test_an_answer_that_http_forbids_is_in_no_chain_of_errors() -> None:
    """urllib3 quotes what it could not read."""
    key = new_key()
    chunks = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + key.reveal().encode() + b"\r\n\r\n"
    with Wire(lambda _: chunks) as wire:
        raised = await refused(store(wire.url).current(SECRET), UnavailableError)
    assert "ChunkedEncodingError" in str(raised)
    assert raised.__context__ is None


async def test_an_answer_without_end_is_not_read_to_it() -> None:
    body = b'{"data": "' + b"x" * 9_000_000
    with Wire(lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n" + body) as wire:
        await refused(store(wire.url).current(SECRET), MisconfiguredError)


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
