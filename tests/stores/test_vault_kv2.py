"""The Vault store against a real server of Vault's API."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import pytest

from keyturn.errors import ConflictError, DeniedError, MisconfiguredError, NotFoundError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import Finding, SecretRef, Stage, VersionRef
from keyturn.ports import SecretStore
from keyturn.references import resolver
from keyturn.stores.vault_documents import Documents
from keyturn.stores.vault_kv2 import VaultKV2, policy
from keyturn.testing.openbao import AppRole, OpenBao
from keyturn.testing.processes import free_port, wait_for_http
from keyturn.testing.store_scene import new_key, new_token, refused
from keyturn.testing.store_suite import StoreSuite

pytestmark = pytest.mark.real

SUITE_POLICY = policy("suite/+/openai", creating=True) + policy("suite/+/missing")


class Operator:
    """Somebody else at the same server, with hvac and without our adapter."""

    def __init__(self, server: OpenBao, mount: str = "secret") -> None:
        self.server, self.mount = server, mount

    async def write(self, path: str, fields: Mapping[str, Any]) -> None:
        kv = self.server.root.secrets.kv.v2
        await asyncio.to_thread(kv.create_or_update_secret, path, dict(fields), mount_point=self.mount)

    async def read(self, path: str) -> dict[str, Any]:
        kv = self.server.root.secrets.kv.v2
        answer = await asyncio.to_thread(kv.read_secret_version, path, mount_point=self.mount, raise_on_deleted_version=True)
        fields: dict[str, Any] = answer["data"]["data"]
        return fields

    async def set_field(self, path: str, field: str, value: Any) -> None:
        await asyncio.to_thread(
            self.server.root.adapter.request,
            "PATCH",
            f"/v1/{self.mount}/data/{path}",
            headers={"Content-Type": "application/merge-patch+json"},
            json={"data": {field: value}},
        )


class VaultSuite(StoreSuite):
    server: OpenBao
    operator: Operator

    @pytest.fixture(autouse=True)
    def _server(self, openbao: OpenBao) -> None:
        self.server, self.operator = openbao, Operator(openbao)

    async def write_whole(self, path: str, text: str) -> None:
        await self.operator.write(path, {"key": text})

    async def read_whole(self, path: str) -> str:
        fields = await self.operator.read(path)
        assert set(fields) == {"key"}
        return str(fields["key"])

    async def write_bundle(self, path: str, fields: Mapping[str, Any]) -> None:
        await self.operator.write(path, fields)

    async def read_bundle(self, path: str) -> dict[str, Any]:
        return await self.operator.read(path)

    async def set_field(self, path: str, field: str, value: Any) -> None:
        await self.operator.set_field(path, field, value)


APP_ROLE = {"method": "approle", "role_id": "env:ROLE_ID", "secret_id": "env:SECRET_ID"}
TOKEN = {"method": "token", "token": "env:BAO_TOKEN"}


def vault_store(server: OpenBao, environ: Mapping[str, str], **settings: Any) -> VaultKV2:
    auth = APP_ROLE if "ROLE_ID" in environ else TOKEN
    return VaultKV2(
        VaultKV2.Settings.model_validate({"address": server.address, "auth": auth, **settings}), resolver(environ=environ)
    )


def ids(role: AppRole) -> dict[str, str]:
    return {"ROLE_ID": role.role_id, "SECRET_ID": role.secret_id}


class TestWithAppRole(VaultSuite):
    async def make_store(self) -> SecretStore:
        return vault_store(self.server, ids(self.server.app_role(SUITE_POLICY, name="suite-role")))


class TestWithToken(VaultSuite):
    async def make_store(self) -> SecretStore:
        return vault_store(self.server, {"BAO_TOKEN": self.server.token(SUITE_POLICY, name="suite-token")})


@dataclass
class Setting:
    """A bundle at a path of its own, the least policy for it, and a store that logs in by AppRole."""

    server: OpenBao
    operator: Operator
    store: VaultKV2
    secret: SecretRef
    value: KeyMaterial
    environ: dict[str, str]


@pytest.fixture
async def setting(openbao: OpenBao) -> AsyncIterator[Setting]:
    name = f"case-{secrets.token_hex(6)}"
    operator, value = Operator(openbao), new_key()
    await operator.write(f"{name}/providers", {"OPENAI_API_KEY": value.reveal(), "OTHER": "other"})
    environ = ids(openbao.app_role(policy(f"{name}/providers"), name=name))
    store = vault_store(openbao, environ)
    yield Setting(openbao, operator, store, SecretRef("vault", f"{name}/providers", "OPENAI_API_KEY"), value, environ)
    await store.aclose()


async def rotate(store: SecretStore, secret: SecretRef, key: KeyMaterial) -> None:
    old = (await store.current(secret)).version
    await store.promote(secret, await store.stage(secret, key, new_token()), old)


async def wrong(store: SecretStore, secret: SecretRef) -> list[Finding]:
    return [finding for finding in await store.preflight(secret) if finding.ok is not True]


# What may go wrong at the server.


async def test_a_sealed_server_is_unavailable_until_it_is_unsealed(setting: Setting) -> None:
    version = await setting.store.stage(setting.secret, new_key(), new_token())
    old = (await setting.store.current(setting.secret)).version
    setting.server.seal()
    try:
        for call in (
            setting.store.current(setting.secret),
            setting.store.promote(setting.secret, version, old),
            setting.store.annotate(setting.secret, {"attempt": "1"}),
            vault_store(setting.server, setting.environ).current(setting.secret),  # it would have to log in
        ):
            error = await refused(call, UnavailableError, setting.value)
            assert "unseal" in error.remedy
    finally:
        setting.server.unseal()
    await setting.store.promote(setting.secret, version, old)
    assert (await setting.store.stages(setting.secret))[Stage.CURRENT] == version


async def test_an_expired_token_is_followed_by_a_new_login(openbao: OpenBao, setting: Setting) -> None:
    environ = ids(openbao.app_role(policy(setting.secret.path), name="short", ttl="1s"))
    store = vault_store(openbao, environ)
    assert (await store.current(setting.secret)).material == setting.value
    # A token of the same role, made later: when it has run out, the store's has, too.
    later = openbao.root.auth.approle.login(environ["ROLE_ID"], environ["SECRET_ID"], use_token=False)["auth"][
        "client_token"
    ]
    wait_for_http(
        f"{openbao.address}/v1/auth/token/lookup-self",
        seconds=30,
        headers={"X-Vault-Token": later},
        accept=lambda answer: answer.status_code == 403,
    )
    assert (await store.current(setting.secret)).material == setting.value
    await rotate(store, setting.secret, new_key())


async def test_a_login_that_is_refused_is_denied_and_names_the_remedy(setting: Setting) -> None:
    environ = {**setting.environ, "SECRET_ID": secrets.token_hex(16)}
    error = await refused(vault_store(setting.server, environ).current(setting.secret), DeniedError)
    assert "secret id" in error.remedy
    assert environ["SECRET_ID"] not in str(error)


async def test_a_renewed_token_is_picked_up(setting: Setting) -> None:
    environ = {"BAO_TOKEN": setting.server.token(policy(setting.secret.path), name="renewed")}
    store = vault_store(setting.server, environ)
    await store.current(setting.secret)
    setting.server.root.auth.token.revoke(environ["BAO_TOKEN"])
    await refused(store.current(setting.secret), DeniedError)
    environ["BAO_TOKEN"] = setting.server.token(policy(setting.secret.path), name="renewed")
    assert (await store.current(setting.secret)).material == setting.value


async def test_a_server_that_is_not_there_is_unavailable(setting: Setting) -> None:
    store = vault_store(setting.server, setting.environ, address=f"http://127.0.0.1:{free_port()}")
    await refused(store.current(setting.secret), UnavailableError)


async def test_tls_to_a_server_without_it_is_a_misconfiguration(setting: Setting) -> None:
    store = vault_store(setting.server, setting.environ, address=setting.server.address.replace("http:", "https:"))
    error = await refused(store.current(setting.secret), MisconfiguredError)
    assert "ca_file" in error.remedy


async def test_a_namespace_is_used(openbao: OpenBao, setting: Setting) -> None:
    openbao.root.adapter.request("POST", "/v1/sys/namespaces/team-a")
    store = vault_store(openbao, {"BAO_TOKEN": openbao.root.token}, namespace="team-a")
    # The same address holds the secret; the namespace has not even an engine.
    assert "no engine" in str(await refused(store.current(setting.secret), DeniedError))


# Permissions.


async def test_preflight_names_each_missing_permission_as_lines_of_a_policy(setting: Setting) -> None:
    path = setting.secret.path
    poor = f'path "secret/data/{path}" {{ capabilities = ["read"] }}'
    store = vault_store(setting.server, {"BAO_TOKEN": setting.server.token(poor, name="poor")})
    findings = await wrong(store, setting.secret)
    assert [finding.ok for finding in findings] == [False, False, False]
    assert findings[0].detail == "not granted: update"
    granted = "\n".join(finding.remedy[finding.remedy.index("path ") :] for finding in findings)
    store = vault_store(setting.server, {"BAO_TOKEN": setting.server.token(granted, name="granted")})
    assert await wrong(store, setting.secret) == []
    await rotate(store, setting.secret, new_key())
    await store.annotate(setting.secret, {"attempt": "1"})
    assert await store.annotations(setting.secret) == {"attempt": "1"}


async def test_a_policy_without_patch_is_named_before_anything_is_written(setting: Setting) -> None:
    """Vault merges notes. Merged here and written, they would take with them what another worker noted meanwhile."""
    poor = policy(setting.secret.path).replace(', "patch"', "")
    store = vault_store(setting.server, {"BAO_TOKEN": setting.server.token(poor, name="no-patch")})
    (finding,) = await wrong(store, setting.secret)
    assert (finding.ok, finding.detail) == (False, "not granted: patch")
    await rotate(store, setting.secret, new_key())
    error = await refused(store.annotate(setting.secret, {"attempt": "1"}), DeniedError)
    assert "patch" in error.remedy


async def test_preflight_of_another_secret_is_denied(setting: Setting) -> None:
    await setting.operator.write("foreign", {"key": "theirs"})
    foreign = SecretRef("vault", "foreign")
    assert len(await wrong(setting.store, foreign)) == 4
    error = await refused(setting.store.current(foreign), DeniedError)
    assert 'path "secret/data/foreign" { capabilities = ["read"] }' in error.remedy


async def test_current_needs_to_read_the_main_document_alone(setting: Setting) -> None:
    poor = f'path "secret/data/{setting.secret.path}" {{ capabilities = ["read"] }}'
    store = vault_store(setting.server, {"BAO_TOKEN": setting.server.token(poor, name="reader")})
    held = await store.current(setting.secret)
    assert held.material == setting.value
    assert await store.read(setting.secret, held.version) == setting.value
    await refused(store.stages(setting.secret), DeniedError, setting.value)


async def test_a_refused_stage_leaves_no_key_text_in_its_error(setting: Setting) -> None:
    poor = policy(setting.secret.path).replace('"create", ', "").replace(', "update"', "")
    store = vault_store(setting.server, {"BAO_TOKEN": setting.server.token(poor, name="no-update")})
    key = new_key()
    error = await refused(store.stage(setting.secret, key, new_token()), DeniedError, key)
    assert "keyturn/" in error.remedy


# The engine and its documents.


async def test_kv_version_1_is_refused_and_nothing_is_written_to_it(setting: Setting) -> None:
    mount = f"kv1-{secrets.token_hex(4)}"
    setting.server.enable_kv(mount, version=1)
    root = setting.server.root
    root.secrets.kv.v1.create_or_update_secret("data/old", {"key": new_key().reveal()}, mount_point=mount)
    store = vault_store(setting.server, {"BAO_TOKEN": root.token}, mount=mount)
    for path in ("old", "absent"):
        secret = SecretRef("vault", path)
        for call in (
            store.current(secret),
            store.stage(secret, new_key(), new_token()),
            store.annotate(secret, {"attempt": "1"}),
        ):
            error = await refused(call, MisconfiguredError)
            assert "enable-versioning" in error.remedy
        assert "is not a KV v2 engine" in (await wrong(store, secret))[0].detail
    assert root.secrets.kv.v1.list_secrets("", mount_point=mount)["data"]["keys"] == ["data/"]


async def test_an_engine_with_cas_required_works(setting: Setting) -> None:
    mount = f"strict-{secrets.token_hex(4)}"
    setting.server.enable_kv(mount)
    root = setting.server.root
    root.secrets.kv.v2.configure(cas_required=True, mount_point=mount)
    value, key = new_key(), new_key()
    root.secrets.kv.v2.create_or_update_secret("whole", {"key": value.reveal()}, cas=0, mount_point=mount)
    store, secret = vault_store(setting.server, {"BAO_TOKEN": root.token}, mount=mount), SecretRef("vault", "whole")
    await rotate(store, secret, key)
    await store.annotate(secret, {"attempt": "1"})
    assert await Operator(setting.server, mount).read("whole") == {"key": key.reveal()}
    pending = await store.stage(secret, new_key(), new_token())
    await store.discard(secret, pending)
    assert await store.annotations(secret) == {"attempt": "1"}


async def test_a_deleted_secret_is_not_found_and_can_be_undeleted(setting: Setting) -> None:
    kv, path = setting.server.root.secrets.kv.v2, setting.secret.path
    kv.delete_latest_version_of_secret(path)
    error = await refused(setting.store.current(setting.secret), NotFoundError)
    assert f"vault kv undelete -mount=secret -versions=1 {path}" in error.remedy
    kv.undelete_secret_versions(path, [1])
    assert (await setting.store.current(setting.secret)).material == setting.value
    kv.destroy_secret_versions(path, [1])
    error = await refused(setting.store.stages(setting.secret), NotFoundError)
    assert "destroyed" in str(error)


async def test_a_value_that_is_no_key_is_refused_without_being_printed(setting: Setting) -> None:
    text = new_key().reveal()
    for value in (f"{text}\n", "", {"nested": text}, [text]):
        await setting.operator.set_field(setting.secret.path, "OTHER", value)
        error = await refused(setting.store.current(replace(setting.secret, field="OTHER")), MisconfiguredError)
        assert text not in str(error)


async def test_a_document_beside_that_somebody_spoilt_is_refused(setting: Setting) -> None:
    beside = f"keyturn/{setting.secret.path}/OPENAI_API_KEY"
    await setting.operator.write(beside, {"pending": "a text, and no mapping"})
    error = await refused(setting.store.stages(setting.secret), MisconfiguredError)
    assert beside in str(error)
    setting.server.root.secrets.kv.v2.delete_latest_version_of_secret(beside)
    await rotate(setting.store, setting.secret, new_key())


async def test_a_whole_secret_keeps_what_others_put_beside_it(setting: Setting) -> None:
    key = new_key()
    await setting.operator.write(setting.secret.path, {"key": setting.value.reveal(), "owner": "platform team"})
    await rotate(setting.store, replace(setting.secret, field=None), key)
    assert await setting.operator.read(setting.secret.path) == {"key": key.reveal(), "owner": "platform team"}


async def test_the_document_beside_keeps_no_history(setting: Setting) -> None:
    for _ in range(3):
        await rotate(setting.store, setting.secret, new_key())
    kv = setting.server.root.secrets.kv.v2
    metadata = kv.read_secret_metadata(f"keyturn/{setting.secret.path}/OPENAI_API_KEY")["data"]
    assert len(metadata["versions"]) == 1


async def test_the_order_in_which_tokens_were_used_survives_the_server(setting: Setting) -> None:
    """The oldest are forgotten first. (Vault gives the names of a mapping back sorted.)"""
    tokens = sorted((new_token() for _ in range(4)), reverse=True)
    for token in tokens[:3]:
        await setting.store.spend(setting.secret, token)
    await setting.store.stage(setting.secret, new_key(), tokens[3])
    document = await setting.operator.read(f"keyturn/{setting.secret.path}/OPENAI_API_KEY")
    assert [token for token, _ in document["issued"]] == tokens
    assert list((await Documents(setting.store._vault, "secret", "keyturn").beside(setting.secret)).issued) == tokens


async def test_a_promote_of_what_is_barred_says_so(setting: Setting) -> None:
    old = (await setting.store.current(setting.secret)).version
    await rotate(setting.store, setting.secret, new_key())
    await setting.store.bar(setting.secret, old)
    new = (await setting.store.current(setting.secret)).version
    assert "barred" in str(await refused(setting.store.promote(setting.secret, old, new), ConflictError, setting.value))
    document = await setting.operator.read(f"keyturn/{setting.secret.path}/OPENAI_API_KEY")
    assert document["barred"] == [old.fingerprint]


@pytest.mark.parametrize("path", ["../sys/seal", "a//b", "a/./b", "/a", "a/"])
async def test_a_path_that_leads_elsewhere_is_refused(setting: Setting, path: str) -> None:
    await refused(setting.store.current(SecretRef("vault", path)), MisconfiguredError)
    await refused(setting.store.annotate(SecretRef("vault", path), {"attempt": "1"}), MisconfiguredError)


async def test_a_path_with_characters_of_urls_is_one_secret(setting: Setting) -> None:
    root = setting.server.root
    for path in ("with space", "a?version=1", "a#b", "50%25", "a+b=c@d:e!"):
        value = new_key()
        root.adapter.request("POST", f"/v1/secret/data/{quote(path)}", json={"data": {"key": value.reveal()}})
        store, secret = vault_store(setting.server, {"BAO_TOKEN": root.token}), SecretRef("vault", path)
        assert (await store.current(secret)).material == value
        await rotate(store, secret, new_key())
        assert (await store.stages(secret))[Stage.PREVIOUS].fingerprint == value.fingerprint()


async def test_nothing_is_logged_at_debug(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    key, loser = new_key(), new_key()
    with caplog.at_level(logging.DEBUG):
        await rotate(setting.store, setting.secret, key)
        await setting.store.annotate(setting.secret, {"attempt": "1"})
        gone = VersionRef("gone", loser.fingerprint())
        await refused(setting.store.promote(setting.secret, gone, gone), ConflictError, key, loser)
    assert [record.name for record in caplog.records if record.name.startswith("keyturn")] == []
    printed = caplog.text + "".join(repr(record.args) for record in caplog.records)
    assert not any(text in printed for text in (key.reveal(), setting.value.reveal(), *setting.environ.values()))


async def test_notes_set_at_the_same_moment_are_all_kept(setting: Setting) -> None:
    other_worker = vault_store(setting.server, setting.environ)
    notes = {f"note_{letter}": letter for letter in "abcdefghij"}
    await asyncio.gather(
        *(
            (setting.store, other_worker)[n % 2].annotate(setting.secret, {key: text})
            for n, (key, text) in enumerate(notes.items())
        )
    )
    assert await setting.store.annotations(setting.secret) == notes
