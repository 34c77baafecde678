"""The store of Kubernetes Secrets: what stands where, what preflight sees, and what each refusal means."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
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
from keyturn.model import SecretRef, Stage
from keyturn.ports import SecretStore
from keyturn.references import resolver
from keyturn.stores.kubernetes_documents import place_of
from keyturn.stores.kubernetes_secret import KubernetesSecret
from keyturn.testing.kubernetes_double import Kind, KubernetesDouble
from keyturn.testing.kubernetes_requests import Call
from keyturn.testing.store_scene import Place, new_key, new_token, refused

SPACE = "llm"


@pytest.fixture(scope="module")
def double() -> Iterator[KubernetesDouble]:
    with KubernetesDouble(namespaces=["default", SPACE]) as running:
        yield running


@pytest.fixture(autouse=True)
def _healthy(double: KubernetesDouble) -> Iterator[None]:
    yield
    double.heal()


def make_store(double: KubernetesDouble, token: str | None = None, **settings: Any) -> KubernetesSecret:
    given = {"namespace": SPACE, "server": double.url, "token": "env:TOKEN", **settings}
    environ = {"TOKEN": token or double.admin_token}
    return KubernetesSecret(KubernetesSecret.Settings.model_validate(given), resolver(environ=environ))


class Operator:
    """Somebody else at the same API server, without our adapter."""

    def __init__(self, url: str, token: str, namespace: str = SPACE) -> None:
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        self.path = f"/api/v1/namespaces/{namespace}/secrets"

    def write(self, name: str, data: Mapping[str, bytes], **more: Any) -> None:
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        body = {"metadata": {"name": name, **more.pop("metadata", {})}, "data": encoded, **more}
        answer = self.http.put(f"{self.path}/{name}", json=body)
        if answer.status_code == 404:
            answer = self.http.post(self.path, json=body)
        answer.raise_for_status()

    def found(self, name: str) -> dict[str, Any]:
        answer = self.http.get(f"{self.path}/{name}")
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body

    def read(self, name: str) -> dict[str, bytes]:
        return {key: base64.b64decode(value) for key, value in self.found(name).get("data", {}).items()}

    def set_field(self, name: str, field: str, value: str) -> None:
        patch = {"data": {field: base64.b64encode(value.encode()).decode()}}
        kind = {"Content-Type": "application/merge-patch+json"}
        self.http.patch(f"{self.path}/{name}", content=json.dumps(patch), headers=kind).raise_for_status()


@pytest.fixture
def operator(double: KubernetesDouble) -> Iterator[Operator]:
    made = Operator(double.url, double.admin_token)
    yield made
    made.http.close()


# What stands where ------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(double: KubernetesDouble, operator: Operator) -> Place:
    key, name = new_key(), f"keys-{secrets.token_hex(4)}"
    metadata = {"labels": {"app": "litellm"}, "annotations": {"mine": "stays"}}
    data = {"OPENAI_API_KEY": key.reveal().encode(), "BINARY": b"\xff\x00\xfe"}
    operator.write(name, data, metadata=metadata, type="Opaque")
    return Place(make_store(double), SecretRef("kube", name, "OPENAI_API_KEY"), key)


def beside_of(place: Place) -> str:
    return place_of(place.secret, SPACE, "key").beside


async def rotated(place: Place) -> str:
    old = (await place.store.current(place.secret)).version
    key = new_key()
    await place.store.promote(place.secret, await place.store.stage(place.secret, key, new_token()), old)
    return key.reveal()


async def test_all_else_of_the_secret_stays(place: Place, operator: Operator) -> None:
    before = operator.found(place.secret.path)
    new = await rotated(place)
    after = operator.found(place.secret.path)
    assert operator.read(place.secret.path) == {"OPENAI_API_KEY": new.encode(), "BINARY": b"\xff\x00\xfe"}
    for each in (before, after):
        del each["data"], each["metadata"]["resourceVersion"]
    assert after == before


async def test_what_is_not_served_is_a_secret_of_its_own_and_no_annotation_has_key_text(
    place: Place, operator: Operator
) -> None:
    key = new_key()
    await place.store.stage(place.secret, key, new_token())
    await place.store.annotate(place.secret, {"key_a": "svc_1"})
    listed = operator.http.get(operator.path).json()["items"]
    (beside,) = [each for each in listed if each["metadata"]["name"] == beside_of(place)]
    assert beside["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "keyturn"}
    assert key.reveal() not in json.dumps(beside["metadata"])
    assert set(operator.read(place.secret.path)) == {"OPENAI_API_KEY", "BINARY"}


async def test_a_secret_of_another_namespace_is_named_by_its_path(double: KubernetesDouble) -> None:
    other, key = Operator(double.url, double.admin_token, "default"), new_key()
    other.write("elsewhere", {"A": key.reveal().encode()})
    held = await make_store(double).current(SecretRef("kube", "default/elsewhere", "A"))
    assert held.material == key
    other.http.close()


@pytest.mark.parametrize("path", ["Upper", "a_b", "a/b/c", "-a", "a" * 240, "a/"])
async def test_a_path_that_no_secret_has_is_refused(path: str, double: KubernetesDouble) -> None:
    with pytest.raises(MisconfiguredError):
        await make_store(double).current(SecretRef("kube", path, "A"))


async def test_a_value_that_is_no_text_is_told(place: Place, operator: Operator) -> None:
    with pytest.raises(MisconfiguredError):
        await place.store.current(SecretRef("kube", place.secret.path, "BINARY"))


async def test_a_second_document_of_somebody_else_is_told_and_not_quoted(place: Place, operator: Operator) -> None:
    await place.store.stage(place.secret, new_key(), new_token())
    operator.write(beside_of(place), {"state": json.dumps({"pending": place.value.reveal(), "n": 1}).encode()})
    await refused(place.store.stages(place.secret), MisconfiguredError, place.value)


# Preflight --------------------------------------------------------------------------------------------------------------


async def wrong(store: SecretStore, secret: SecretRef) -> dict[str, str]:
    return {finding.what: finding.remedy for finding in await store.preflight(secret) if finding.ok is not True}


@pytest.mark.parametrize(
    ("metadata", "who"),
    [
        ({"labels": {"reconcile.external-secrets.io/managed": "true"}}, "External Secrets Operator"),
        ({"annotations": {"meta.helm.sh/release-name": "litellm"}}, "Helm"),
        (
            {"ownerReferences": [{"apiVersion": "bitnami.com/v1", "kind": "SealedSecret", "name": "x", "uid": "1"}]},
            "Sealed Secrets",
        ),
    ],
)
async def test_a_secret_that_somebody_else_writes_is_told(
    metadata: dict[str, Any], who: str, place: Place, operator: Operator
) -> None:
    operator.write(place.secret.path, {"OPENAI_API_KEY": b"x"}, metadata=metadata)
    (finding,) = [each for each in await place.store.preflight(place.secret) if each.ok is False]
    assert finding.what.startswith("nobody else writes")
    assert who in finding.detail


async def test_an_immutable_secret_is_told_and_never_staged_over(place: Place, operator: Operator) -> None:
    operator.write(place.secret.path, {"OPENAI_API_KEY": place.value.reveal().encode()}, immutable=True)
    assert list(await wrong(place.store, place.secret)) == [f"{place.secret} can be changed"]
    with pytest.raises(MisconfiguredError, match="immutable"):
        await rotated(place)


async def test_preflight_names_the_rule_that_is_missing(place: Place, double: KubernetesDouble) -> None:
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    poor = make_store(double, double.account("reader", [rule], namespace=SPACE))
    told = await wrong(poor, place.secret)
    assert [what.split(" ")[3] for what in told] == ["update", "update", "create"]
    assert f"resourceNames: [{place.secret.path}]" in next(iter(told.values()))


# Refusals ---------------------------------------------------------------------------------------------------------------


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
        (Kind.RESET, UnavailableError),
        (Kind.LOST, UnavailableError),
    ],
)
@pytest.mark.parametrize("call", ["get secrets", "create secrets"])
async def test_every_refusal_is_told_in_our_words(
    call: str, kind: Kind, error: type[KeyturnError], place: Place, double: KubernetesDouble
) -> None:
    double.inject(call, kind, times=0)
    key = new_key()
    raised = await refused(place.store.stage(place.secret, key, new_token()), error, key, place.value)
    assert raised.remedy or isinstance(raised, ThrottledError)


async def test_a_stage_whose_answer_was_lost_is_repeated_quietly(place: Place, double: KubernetesDouble) -> None:
    double.inject("create secrets", Kind.LOST)
    key, token = new_key(), new_token()
    await refused(place.store.stage(place.secret, key, token), UnavailableError, key)
    version = await place.store.stage(place.secret, key, token)
    assert (await place.store.stages(place.secret))[Stage.PENDING] == version


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_promote_whose_answer_was_lost_is_repeated_quietly(
    after: int, place: Place, double: KubernetesDouble
) -> None:
    old = (await place.store.current(place.secret)).version
    new = await place.store.stage(place.secret, new_key(), new_token())
    double.inject("update secrets", Kind.LOST, after=after)
    with suppress(UnavailableError):  # the last write only tidies
        await place.store.promote(place.secret, new, old)
    assert not double.faults
    await place.store.promote(place.secret, new, old)
    assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}


async def test_a_slow_server_is_not_waited_for_for_ever(place: Place, double: KubernetesDouble) -> None:
    double.inject("get secrets", Kind.SLOW, seconds=1)
    store = make_store(double, timeout=timedelta(seconds=0.2))
    await refused(store.current(place.secret), UnavailableError, place.value)


async def test_a_token_that_was_renewed_is_read_again(place: Place, double: KubernetesDouble) -> None:
    environ = {"TOKEN": double.account("short", [RULE], namespace=SPACE)}
    settings = {"namespace": SPACE, "server": double.url, "token": "env:TOKEN"}
    store = KubernetesSecret(KubernetesSecret.Settings.model_validate(settings), resolver(environ=environ))
    await store.current(place.secret)
    double.access.forget(environ["TOKEN"])
    await refused(store.current(place.secret), DeniedError, place.value)
    environ["TOKEN"] = double.account("short", [RULE], namespace=SPACE)
    assert (await store.current(place.secret)).material == place.value


RULE = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}


async def test_a_server_that_is_none_of_kubernetes_is_told(double: KubernetesDouble) -> None:
    store = make_store(double, server=f"{double.url}/_double/nothing")
    with pytest.raises((MisconfiguredError, NotFoundError, UnavailableError)):
        await store.current(SecretRef("kube", "x", "A"))


@pytest.mark.parametrize(
    "settings",
    [
        {"server": "http://127.0.0.1:1"},
        {"token": "env:T"},
        {"server": "http://127.0.0.1:1", "token": "env:T", "context": "x"},
        {"ca_file": "/ca.crt"},
        {"namespace": "Upper"},
        {"server": "http://127.0.0.1:1", "token": "a-literal-secret"},
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        KubernetesSecret.Settings.model_validate(settings)
    assert "a-literal-secret" not in str(caught.value)


async def test_without_any_login_it_says_how_to_give_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    store = KubernetesSecret(KubernetesSecret.Settings(namespace=SPACE), resolver(environ={}))
    with pytest.raises(MisconfiguredError):
        await store.current(SecretRef("kube", "x", "A"))


# Whoever comes in between -----------------------------------------------------------------------------------------------


@dataclass
class Meeting:
    """A promote, and somebody else who acts right before its nth request. `acted`: whether it has so many."""

    place: Place
    double: KubernetesDouble
    operator: Operator
    other: str
    nth: int
    acted: bool = False
    outcomes: list[str] = field(default_factory=list)
    requests: int = 0

    async def happen(self) -> None:
        place = self.place
        self.old = (await place.store.current(place.secret)).version
        self.theirs = new_key()
        self.new = await place.store.stage(place.secret, new_key(), new_token())
        self.double.before = self.before
        try:
            await place.store.promote(place.secret, self.new, self.old)
            self.outcomes.append("promoted")
        except ConflictError:
            self.outcomes.append("conflict")
        finally:
            self.double.before = None

    def before(self, call: Call) -> None:
        if self.acted or call.resource is None or call.resource.plural != "secrets":
            return
        self.requests += 1
        if self.requests > self.nth:
            self.acted = True
            asyncio.run(self.act())

    async def act(self) -> None:
        second, secret = make_store(self.double), self.place.secret
        try:
            match self.other:
                case "discard":
                    await second.discard(secret, self.new)
                case "bar":
                    await second.bar(secret, self.new)
                case "promote":
                    await second.promote(secret, self.new, self.old)
                case _:
                    self.operator.set_field(secret.path, "OPENAI_API_KEY", self.theirs.reveal())
            self.outcomes.append("done")
        except ConflictError:
            self.outcomes.append("refused")
        finally:
            await second.aclose()


@pytest.mark.parametrize("other", ["discard", "bar", "promote", "by hand"])
async def test_somebody_else_before_every_request_of_a_promote(
    other: str, place: Place, double: KubernetesDouble, operator: Operator
) -> None:
    """What came back without an error holds: no promote of what was discarded or barred, no value of a person's lost."""
    for nth in range(40):
        meeting = Meeting(place, double, operator, other, nth)
        await meeting.happen()
        current = (await place.store.current(place.secret)).version
        if not meeting.acted:
            assert nth > 3  # it makes several requests, and each had its turn
            return
        told = (nth, meeting.outcomes)
        if other in ("discard", "bar") and "done" in meeting.outcomes:
            assert current == meeting.old, told
        elif other == "promote":
            assert current == meeting.new, told
        elif other == "by hand":
            assert current.fingerprint == meeting.theirs.fingerprint(), told
        # Back to one value, whatever happened.
        operator.set_field(place.secret.path, "OPENAI_API_KEY", place.value.reveal())
        await place.store.discard(place.secret, meeting.new)
    raise AssertionError("it never ends")
