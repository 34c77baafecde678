"""The store of Kubernetes Secrets at the double, which test_kubernetes_double holds to a real API server's answers."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import secrets
from dataclasses import replace

import pytest
from pydantic import ValidationError

from keyturn.errors import (
    ConflictError,
    DeniedError,
    KeyturnError,
    MisconfiguredError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
)
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage, VersionRef
from keyturn.ports import SecretStore
from keyturn.quiet import hold_vendor_loggers
from keyturn.stores.kubernetes_documents import place_of
from keyturn.stores.kubernetes_secret import KubernetesSecret
from keyturn.testing.kubernetes_double import Kind, KubernetesDouble
from keyturn.testing.kubernetes_requests import Call
from keyturn.testing.store_scene import new_key, new_token, refused
from tests.stores.kubernetes_scene import BINARY, SPACE, KubernetesSuite, Operator, Setting, store_of


class TestSuite(KubernetesSuite):
    double: KubernetesDouble

    @pytest.fixture(autouse=True)
    def _server(self, cluster: KubernetesDouble) -> None:
        self.double, self.operator = cluster, Operator.of(cluster)

    async def make_store(self) -> SecretStore:
        return store_of(self.double)


async def rotate(store: KubernetesSecret, secret: SecretRef, key: KeyMaterial) -> None:
    old = (await store.current(secret)).version
    await store.promote(secret, await store.stage(secret, key, new_token()), old)


# What stands where.


async def test_only_the_one_key_of_the_first_secret_changes(setting: Setting) -> None:
    before = setting.operator.get(setting.secret.path)
    key = new_key()
    await rotate(setting.store, setting.secret, key)
    after = setting.operator.get(setting.secret.path)
    assert setting.operator.data(setting.secret.path) == {
        "OPENAI_API_KEY": key.reveal().encode(),
        "BINARY": BINARY,
        "LINES": b"a\r\nb\n\n",
        "EMPTY": b"",
    }
    for each in (before, after):
        each.data = each.metadata.resource_version = None
    assert after == before, "nothing of ours where nothing has to be touched"


async def test_what_is_not_served_stands_in_a_second_secret_and_notes_hold_no_key(setting: Setting) -> None:
    pending = new_key()
    await rotate(setting.store, setting.secret, new_key())
    await setting.store.stage(setting.secret, pending, new_token())
    await setting.store.annotate(setting.secret, {"attempt": "1", "_": "", "_a_": "x"})
    second = setting.operator.get(setting.beside)
    assert second.type == "Opaque"
    assert second.metadata.labels == {"app.kubernetes.io/managed-by": "keyturn"}
    assert list(setting.operator.data(setting.beside)) == ["state"]
    assert pending.reveal().encode() in setting.operator.data(setting.beside)["state"]
    told = second.metadata.annotations
    assert {name: text for name, text in told.items() if name.startswith("note.")} == {
        "note.keyturn/attempt": "1",
        "note.keyturn/x-_-x": "",
        "note.keyturn/x-_a_-x": "x",
    }
    assert not any(key.reveal() in str(second.metadata) for key in (pending, setting.value))


async def test_labels_and_annotations_that_others_put_on_the_second_secret_stay(setting: Setting) -> None:
    await setting.store.stage(setting.secret, new_key(), new_token())
    theirs = {"labels": {"team": "platform"}, "annotations": {"why": "asked"}}
    setting.operator.core.patch_namespaced_secret(setting.beside, SPACE, {"metadata": theirs})
    await rotate(setting.store, setting.secret, new_key())
    await setting.store.annotate(setting.secret, {"attempt": "1"})
    second = setting.operator.get(setting.beside).metadata
    assert second.labels["team"] == "platform"
    assert second.annotations["why"] == "asked"


async def test_a_whole_secret_keeps_what_others_put_beside_it(setting: Setting) -> None:
    name, key = f"whole-{secrets.token_hex(4)}", new_key()
    setting.operator.put(name, {"key": setting.value.reveal(), "owner": "platform team"})
    await rotate(setting.store, SecretRef("k8s", name), key)
    assert setting.operator.data(name) == {"key": key.reveal().encode(), "owner": b"platform team"}


async def test_a_whole_secret_and_its_one_field_are_the_same_value(setting: Setting) -> None:
    name, key = f"whole-{secrets.token_hex(4)}", new_key()
    setting.operator.put(name, {"token": setting.value.reveal()})
    store = store_of(setting.double, key="token")
    staged = await store.stage(SecretRef("k8s", name), key, new_token())
    assert (await store.stages(SecretRef("k8s", name, "token")))[Stage.PENDING] == staged


async def test_a_path_may_name_the_namespace(setting: Setting) -> None:
    elsewhere, key = Operator(setting.operator.core.api_client, "other"), new_key()
    elsewhere.put(setting.secret.path, {"OPENAI_API_KEY": setting.value.reveal()})
    secret = replace(setting.secret, path=f"other/{setting.secret.path}")
    await rotate(setting.store, secret, key)
    assert elsewhere.data(setting.secret.path) == {"OPENAI_API_KEY": key.reveal().encode()}
    assert elsewhere.get(setting.beside).metadata.namespace == "other"
    assert (await setting.store.current(setting.secret)).material == setting.value


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("Capital", "A"),
        ("a_b", "A"),
        ("-a", "A"),
        ("a/b/c", "A"),
        ("/a", "A"),
        ("a/", "A"),
        ("..", "A"),
        ("a/..", "A"),
        ("a?watch=1", "A"),
        ("x" * 254, "A"),
        ("x" * 240, "A"),
        ("A/a", "A"),
        ("a", "a b"),
        ("a", "a/b"),
        ("a", ".."),
        ("a", "x" * 254),
        ("x" * 250, None),
    ],
)
async def test_what_kubernetes_has_no_name_for_is_refused_before_it_is_asked(
    path: str, field: str | None, setting: Setting
) -> None:
    setting.double.calls.clear()
    secret = SecretRef("k8s", path, field)
    for call in (setting.store.current(secret), setting.store.stage(secret, new_key(), new_token())):
        assert (await refused(call, MisconfiguredError)).remedy
    assert [finding.ok for finding in await setting.store.preflight(secret)] == [False]
    assert setting.double.calls == {}


async def test_fields_that_look_alike_without_capitals_have_second_secrets_of_their_own() -> None:
    names = {
        place_of(SecretRef("k8s", "a", field), SPACE, "key").beside for field in ("A_B", "a_b", "A-B", "a.b", "__", None)
    }
    assert len(names) == 6
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name) for name in names)


# What others do to them.


async def test_a_second_secret_made_ahead_is_used(setting: Setting) -> None:
    setting.operator.put(setting.beside, {})
    assert set(await setting.store.stages(setting.secret)) == {Stage.CURRENT}
    assert await setting.store.annotations(setting.secret) == {}
    await rotate(setting.store, setting.secret, new_key())
    assert Stage.PREVIOUS in await setting.store.stages(setting.secret)


async def test_a_second_secret_that_is_something_else_is_refused_and_kept(setting: Setting) -> None:
    for fields, marks in (
        ({"PASSWORD": "theirs"}, {}),
        ({"state": "no JSON"}, {}),
        ({"state": '{"pending": 7, "issued": []}'}, {}),
        ({"state": b"\xff"}, {}),
        ({"state": json.dumps({"pending": setting.value.reveal(), "n": 1})}, {}),
        ({}, {"keyturn/is-for": "another#KEY"}),
        ({"state": '{"issued": []}'}, {"keyturn/is-for": "another#KEY"}),
    ):
        setting.operator.put(setting.beside, fields, {"annotations": marks})
        for call in (setting.store.stages(setting.secret), setting.store.stage(setting.secret, new_key(), new_token())):
            error = await refused(call, MisconfiguredError, setting.value)
            assert setting.beside in str(error)
        assert set(setting.operator.data(setting.beside)) == set(fields)


async def test_a_first_secret_that_is_deleted_and_made_anew_is_another_one(setting: Setting) -> None:
    """A promote that was decided before goes no further than looking again."""
    old = (await setting.store.current(setting.secret)).version
    new = await setting.store.stage(setting.secret, new_key(), new_token())
    theirs = new_key()

    def act(call: Call) -> None:
        if (call.verb, call.name) == ("update", setting.secret.path):
            setting.double.before = None
            setting.operator.delete(setting.secret.path)
            setting.operator.put(setting.secret.path, {"OPENAI_API_KEY": theirs.reveal()})

    setting.double.before = act
    await refused(setting.store.promote(setting.secret, new, old), ConflictError)
    assert (await setting.store.current(setting.secret)).material == theirs


async def test_a_first_secret_that_is_gone_is_not_made_anew_by_a_promote(setting: Setting) -> None:
    old = (await setting.store.current(setting.secret)).version
    new = await setting.store.stage(setting.secret, new_key(), new_token())
    setting.operator.delete(setting.secret.path)
    await refused(setting.store.promote(setting.secret, new, old), NotFoundError)


async def test_a_value_that_is_no_key_is_refused_without_being_printed(setting: Setting) -> None:
    text = new_key().reveal()
    for value in (f"{text}\n", "", text.encode() + b"\xff", f"{text}\x00"):
        setting.operator.set_field(setting.secret.path, "OTHER", value)
        error = await refused(setting.store.current(replace(setting.secret, field="OTHER")), MisconfiguredError)
        assert text not in str(error)


async def test_a_value_that_is_too_large_is_refused_before_it_is_staged(setting: Setting) -> None:
    huge = KeyMaterial("x" * (128 * 1024 + 1))
    await refused(setting.store.stage(setting.secret, huge, new_token()), MisconfiguredError)
    await setting.store.stage(setting.secret, KeyMaterial('"' * (128 * 1024)), new_token())


async def test_what_is_immutable_is_never_written(setting: Setting) -> None:
    setting.double.calls.clear()
    old = (await setting.store.current(setting.secret)).version
    new = await setting.store.stage(setting.secret, new_key(), new_token())
    setting.operator.core.patch_namespaced_secret(setting.secret.path, SPACE, {"immutable": True})
    error = await refused(setting.store.promote(setting.secret, new, old), MisconfiguredError)
    assert "its values can never change" in error.message
    assert setting.double.calls["update secrets"] == 1, "the second one, that a promote begins; the first one was not tried"
    assert (await setting.store.current(setting.secret)).material == setting.value, "it can still be read"
    await setting.store.discard(setting.secret, new)


async def test_a_first_secret_without_room_is_told(setting: Setting) -> None:
    old = (await setting.store.current(setting.secret)).version
    new = await setting.store.stage(setting.secret, KeyMaterial("k" * 4096), new_token())
    fields = {"OPENAI_API_KEY": setting.value.reveal(), "BIG": b"x" * (1024 * 1024 - 1024)}
    setting.operator.put(setting.secret.path, fields)
    error = await refused(setting.store.promote(setting.secret, new, old), MisconfiguredError)
    assert "1 MiB" in error.remedy


async def test_a_namespace_that_is_not_there_is_told(cluster: KubernetesDouble) -> None:
    store = store_of(cluster, namespace="nowhere")
    error = await refused(store.create(SecretRef("k8s", "a"), new_key()), MisconfiguredError)
    assert "nowhere" in str(error)
    await store.aclose()


async def test_notes_set_at_the_same_moment_are_all_kept(setting: Setting) -> None:
    other_worker = store_of(setting.double)
    notes = {f"note_{letter}": letter for letter in "abcdefghij"}
    await asyncio.gather(
        *(
            (setting.store, other_worker)[n % 2].annotate(setting.secret, {key: text})
            for n, (key, text) in enumerate(notes.items())
        )
    )
    assert await setting.store.annotations(setting.secret) == notes
    await other_worker.aclose()


async def test_nothing_is_logged_at_debug(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    hold_vendor_loggers()
    key, loser = new_key(), new_key()
    with caplog.at_level(logging.DEBUG):
        await rotate(setting.store, setting.secret, key)
        await setting.store.annotate(setting.secret, {"attempt": "1"})
        gone = VersionRef("gone", loser.fingerprint())
        await refused(setting.store.promote(setting.secret, gone, gone), ConflictError, key, loser)
        await setting.store.preflight(setting.secret)
    printed = caplog.text + "".join(repr(record.args) for record in caplog.records)
    encoded = base64.b64encode(key.reveal().encode()).decode()
    assert not any(text in printed for text in (key.reveal(), encoded, setting.value.reveal(), setting.double.admin_token))


# What the server says.


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (Kind.UNAUTHORIZED, None),  # once: logged in anew
        (Kind.CONFLICT, None),  # looked at again
        (Kind.DENIED, DeniedError),
        (Kind.THROTTLED, ThrottledError),
        (Kind.CROWDED, ThrottledError),
        (Kind.FAILED, UnavailableError),
        (Kind.UNAVAILABLE, UnavailableError),
        (Kind.TIMED_OUT, UnavailableError),
        (Kind.LOST, UnavailableError),
        (Kind.RESET, UnavailableError),
    ],
)
async def test_a_fault_at_any_write_of_a_rotation_is_told_in_our_words_and_a_repeat_ends_it(
    kind: Kind, error: type[KeyturnError] | None, setting: Setting
) -> None:
    for after in range(3):
        token, key = new_token(), new_key()
        setting.double.faults.clear()
        setting.double.inject("update secrets", kind, after=after)
        old = (await setting.store.current(setting.secret)).version
        raised: list[KeyturnError] = []
        for _ in range(3):
            try:
                new = await setting.store.stage(setting.secret, key, token)
                await setting.store.promote(setting.secret, new, old)
                break
            except KeyturnError as each:
                raised.append(each)
        assert [type(each) for each in raised] in ([], [error])
        assert raised or error is None or after == 2, "the last write tidies: its failure is none"
        assert not any(each.reveal() in str(told) for told in raised for each in (key, setting.value))
        assert (await setting.store.current(setting.secret)).material == key
        assert await setting.store.stages(setting.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}
        assert not setting.double.faults, "it was met"


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (Kind.UNAUTHORIZED, DeniedError),
        (Kind.DENIED, DeniedError),
        (Kind.THROTTLED, ThrottledError),
        (Kind.CROWDED, ThrottledError),
        (Kind.FAILED, UnavailableError),
        (Kind.UNAVAILABLE, UnavailableError),
        (Kind.TIMED_OUT, UnavailableError),
        (Kind.LOST, UnavailableError),
        (Kind.RESET, UnavailableError),
    ],
)
async def test_a_fault_that_stays_is_told_wherever_a_stage_meets_it(
    kind: Kind, error: type[KeyturnError], setting: Setting
) -> None:
    for call in ("create secrets", "get secrets"):
        setting.double.faults.clear()
        setting.double.inject(call, kind, times=0)
        key = new_key()
        raised = await refused(setting.store.stage(setting.secret, key, new_token()), error, key, setting.value)
        assert raised.remedy or isinstance(raised, ThrottledError)


async def test_a_stage_whose_answer_is_lost_is_quiet_when_repeated(setting: Setting) -> None:
    setting.double.inject("create secrets", Kind.LOST)
    key, token = new_key(), new_token()
    await refused(setting.store.stage(setting.secret, key, token), UnavailableError, key)
    version = await setting.store.stage(setting.secret, key, token)
    assert (await setting.store.stages(setting.secret))[Stage.PENDING] == version


async def test_how_long_to_wait_is_told(setting: Setting) -> None:
    for kind in (Kind.THROTTLED, Kind.CROWDED):
        setting.double.inject("get secrets", kind)
        error = await refused(setting.store.current(setting.secret), ThrottledError)
        assert isinstance(error, ThrottledError)
        assert error.retry_after == 1.0


@pytest.mark.parametrize("kind", [Kind.LOST, Kind.RESET])
async def test_a_create_whose_answer_is_lost_is_quiet_when_repeated(kind: Kind, setting: Setting) -> None:
    secret, key = SecretRef("k8s", f"made-{secrets.token_hex(4)}"), new_key()
    setting.double.inject("create secrets", kind)
    await refused(setting.store.create(secret, key), UnavailableError, key)
    made = await setting.store.create(secret, key)
    assert made.fingerprint == key.fingerprint()
    assert setting.operator.data(secret.path) == {"key": key.reveal().encode()}


def test_a_namespace_that_there_cannot_be_is_refused_in_the_settings() -> None:
    with pytest.raises(ValidationError):
        KubernetesSecret.Settings.model_validate({"namespace": "Upper"})
