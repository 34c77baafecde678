"""The Kubernetes double answers as a real API server does: its recordings, the official client, and the documented rules."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException

from keyturn.testing.kubernetes_double import Kind, KubernetesDouble
from keyturn.testing.kubernetes_objects import Resource
from keyturn.testing.kubernetes_refusals import Cause, Object
from keyturn.testing.kubernetes_requests import Call

GOLDEN = Path(__file__).parent.parent / "data" / "kubernetes-1.36.2"
SPACE = "llm"
apis: Any = client
watching: Any = watch


def _not_negative(new: Object, _old: Object | None) -> Iterable[Cause]:
    if new.get("spec", {}).get("replicas", 0) < 0:
        yield Cause("spec.replicas", "Invalid value: -1: must be greater than or equal to 0")


# What the recordings are about. Of a Deployment there is here what a refusal needs: its name, and one rule.
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", causes=_not_negative)
PODS = Resource("", "v1", "pods", "Pod")


@pytest.fixture
def double() -> Iterator[KubernetesDouble]:
    with KubernetesDouble(namespaces=["default", SPACE], further=[DEPLOYMENTS, PODS]) as running:
        yield running


def api(double: KubernetesDouble, token: str | None = None) -> Any:
    """The official client, as its users have it: what it is handed are plain dicts, which it types as its models."""
    configuration = client.Configuration(host=double.url)
    configuration.api_key["BearerToken"] = f"Bearer {token or double.admin_token}"
    return client.ApiClient(configuration)


@pytest.fixture
def core(double: KubernetesDouble) -> Iterator[Any]:
    with api(double) as made:
        yield apis.CoreV1Api(made)


def refused(call: Callable[[], object]) -> ApiException:
    with pytest.raises(ApiException) as caught:
        call()
    return caught.value


def body(error: ApiException) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(str(error.body))
    return found


def secret(name: str = "keys", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "stringData": data}


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


# Held to the recordings -------------------------------------------------------------------------------------------------


def golden(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return found


def as_recorded(error: ApiException, name: str) -> None:
    assert {"status": error.status, "body": body(error)} == golden(name)


def test_refusals_about_objects_are_those_of_the_recordings(double: KubernetesDouble) -> None:
    """Status, headers' status and body, field for field; the object itself is not compared."""
    apps = apis.AppsV1Api(api(double))
    container = {"name": "litellm", "image": "local/litellm"}
    made = {
        "metadata": {"name": "litellm"},
        "spec": {
            "selector": {"matchLabels": {"app": "l"}},
            "template": {"metadata": {"labels": {"app": "l"}}, "spec": {"containers": [container]}},
        },
    }
    apps.create_namespaced_deployment(SPACE, made)

    def patch(sent: Any) -> Callable[[], object]:
        return lambda: apps.patch_namespaced_deployment("litellm", SPACE, sent)

    as_recorded(refused(lambda: apps.read_namespaced_deployment("nope", SPACE)), "err-notfound")
    as_recorded(refused(lambda: apps.create_namespaced_deployment(SPACE, made)), "err-dup")
    as_recorded(refused(patch({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 2}})), "err-conflict")
    as_recorded(refused(patch({"spec": {"replicas": -1}})), "err-invalid")
    stranger = apis.AppsV1Api(api(double, "nope"))
    as_recorded(refused(lambda: stranger.read_namespaced_deployment("litellm", SPACE)), "err-unauthorized")


def test_the_same_refusals_name_a_secret_as_they_name_a_deployment(core: Any) -> None:
    def renamed(name: str) -> Any:
        text = json.dumps(golden(name)).replace("deployments.apps", "secrets").replace("deployments", "secrets")
        found = json.loads(text.replace("Deployment.apps", "Secret").replace("litellm", "keys"))
        found["body"]["details"].pop("group")
        return found

    core.create_namespaced_secret(SPACE, secret(A="1"))
    stale = {"metadata": {"name": "keys", "resourceVersion": "1"}, "stringData": {"A": "2"}}
    for name, call in (
        ("err-notfound", lambda: core.read_namespaced_secret("nope", SPACE)),
        ("err-dup", lambda: core.create_namespaced_secret(SPACE, secret(A="1"))),
        ("err-conflict", lambda: core.replace_namespaced_secret("keys", SPACE, stale)),
        ("err-conflict", lambda: core.patch_namespaced_secret("keys", SPACE, stale)),
    ):
        error = refused(call)
        assert {"status": error.status, "body": body(error)} == renamed(name)


def test_what_rbac_denies_and_whose_token_it_is_are_told_as_in_the_recordings(double: KubernetesDouble) -> None:
    """The scene of the recordings: an account that may get and patch one Deployment, by name."""
    admin = api(double)
    core, rbac = apis.CoreV1Api(admin), apis.RbacAuthorizationV1Api(admin)
    core.create_namespaced_secret(SPACE, secret("llm-keys", API_KEY="1"))
    core.create_namespaced_service_account(SPACE, {"metadata": {"name": "rotator"}})
    named = {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["litellm"], "verbs": ["get", "patch"]}
    rbac.create_namespaced_role(SPACE, {"metadata": {"name": "rotator"}, "rules": [named]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rotator"}
    subject = {"kind": "ServiceAccount", "name": "rotator", "namespace": SPACE}
    bound = {"metadata": {"name": "rotator"}, "roleRef": role, "subjects": [subject]}
    rbac.create_namespaced_role_binding(SPACE, bound)
    asked = {"spec": {"audiences": ["https://kubernetes.default.svc"], "expirationSeconds": 600}}
    token = core.create_namespaced_service_account_token("rotator", SPACE, asked).status.token
    its = api(double, token)
    its_core, its_apps = apis.CoreV1Api(its), apis.AppsV1Api(its)
    scale = {"spec": {"replicas": 1}}
    as_recorded(refused(lambda: its_core.read_namespaced_secret("llm-keys", SPACE)), "rbac-deny-secret")
    as_recorded(refused(lambda: its_core.list_namespaced_pod(SPACE)), "rbac-deny-pods")
    as_recorded(refused(lambda: its_apps.patch_namespaced_deployment_scale("litellm", SPACE, scale)), "rbac-deny-scale")
    assert refused(lambda: its_apps.read_namespaced_deployment("litellm", SPACE)).status == 404, "allowed, and not there"

    reviews = apis.AuthenticationV1Api(admin)
    for name, shown in (("tokenreview-ok", token), ("tokenreview-bad", "x")):
        found = admin.sanitize_for_serialization(reviews.create_token_review({"spec": {"token": shown}}))
        wanted = golden(name)
        found["spec"]["token"] = wanted["spec"]["token"]
        if "uid" in found["status"]["user"]:
            found["status"]["user"]["uid"] = wanted["status"]["user"]["uid"]
            found["status"]["user"]["extra"] = {each: ["JTI=REDACTED"] for each in found["status"]["user"]["extra"]}
        assert found == wanted


# Objects and versions ---------------------------------------------------------------------------------------------------


def test_a_secret_is_made_read_replaced_and_deleted(core: Any) -> None:
    made = core.create_namespaced_secret(SPACE, secret(A="one\n"))
    assert (made.type, made.data, made.string_data) == ("Opaque", {"A": encoded("one\n")}, None)
    assert made.metadata.uid and made.metadata.creation_timestamp
    made.data["B"] = encoded(b"\xff\x00")
    replaced = core.replace_namespaced_secret("keys", SPACE, made)
    assert replaced.metadata.uid == made.metadata.uid
    assert int(replaced.metadata.resource_version) > int(made.metadata.resource_version)
    assert core.read_namespaced_secret("keys", SPACE).data == {"A": encoded("one\n"), "B": encoded(b"\xff\x00")}
    answer: Any = core.delete_namespaced_secret("keys", SPACE)
    assert (answer["status"], answer["details"]["uid"]) == ("Success", made.metadata.uid)
    assert refused(lambda: core.read_namespaced_secret("keys", SPACE)).status == 404
    again = core.create_namespaced_secret(SPACE, secret(A="one\n"))
    assert again.metadata.uid != made.metadata.uid, "another object of that name"


def test_a_version_that_is_stale_is_a_conflict_and_one_that_is_left_out_is_not_asked(core: Any) -> None:
    first = core.create_namespaced_secret(SPACE, secret(A="1"))
    core.replace_namespaced_secret("keys", SPACE, secret(A="2"))
    first.data = {"A": encoded("3")}
    assert refused(lambda: core.replace_namespaced_secret("keys", SPACE, first)).status == 409
    assert core.read_namespaced_secret("keys", SPACE).data == {"A": encoded("2")}


def test_an_update_that_changes_nothing_leaves_the_version(core: Any) -> None:
    made = core.create_namespaced_secret(SPACE, secret(A="1"))
    version = made.metadata.resource_version
    assert core.replace_namespaced_secret("keys", SPACE, made).metadata.resource_version == version
    same = {"stringData": {"A": "1"}}
    assert core.patch_namespaced_secret("keys", SPACE, same).metadata.resource_version == version
    made.metadata.annotations = {"touched": "x"}
    assert core.replace_namespaced_secret("keys", SPACE, made).metadata.resource_version != version


def test_another_uid_under_the_same_name_is_a_conflict(core: Any) -> None:
    made = core.create_namespaced_secret(SPACE, secret(A="1"))
    made.metadata.uid, made.metadata.resource_version = "another", None
    error = refused(lambda: core.replace_namespaced_secret("keys", SPACE, made))
    assert (error.status, body(error)["reason"]) == (409, "Conflict")


def test_what_is_not_there_is_neither_replaced_nor_patched(core: Any) -> None:
    for call in (
        lambda: core.replace_namespaced_secret("keys", SPACE, secret(A="1")),
        lambda: core.patch_namespaced_secret("keys", SPACE, {"data": {}}),
        lambda: core.delete_namespaced_secret("keys", SPACE),
        lambda: core.create_namespaced_secret("nowhere", secret(A="1")),
    ):
        assert refused(call).status == 404


def test_a_delete_may_name_what_it_means(core: Any) -> None:
    made = core.create_namespaced_secret(SPACE, secret(A="1"))
    for precondition in ({"uid": "another"}, {"resourceVersion": "1"}):
        options = {"preconditions": precondition}
        error = refused(lambda: core.delete_namespaced_secret("keys", SPACE, body=options))  # noqa: B023
        assert (error.status, body(error)["reason"]) == (409, "Conflict")
    core.delete_namespaced_secret("keys", SPACE, body={"preconditions": {"uid": made.metadata.uid}})


def test_a_finalizer_holds_what_is_deleted(core: Any) -> None:
    held = secret(A="1")
    held["metadata"]["finalizers"] = ["example.com/held"]
    core.create_namespaced_secret(SPACE, held)
    core.delete_namespaced_secret("keys", SPACE)
    left = core.read_namespaced_secret("keys", SPACE)
    assert left.metadata.deletion_timestamp
    left.metadata.finalizers = None
    core.replace_namespaced_secret("keys", SPACE, left)
    assert refused(lambda: core.read_namespaced_secret("keys", SPACE)).status == 404


def test_lists_are_chosen_by_labels_and_by_name(core: Any) -> None:
    for name, labels in (("a", {"app": "x"}), ("b", {"app": "y", "tier": "1"}), ("c", {})):
        core.create_namespaced_secret(SPACE, {"metadata": {"name": name, "labels": labels}})
    core.create_namespaced_secret("default", {"metadata": {"name": "d", "labels": {"app": "x"}}})

    def names(**selection: str) -> list[str]:
        return [each.metadata.name for each in core.list_namespaced_secret(SPACE, **selection).items]

    assert names() == ["a", "b", "c"]
    assert names(label_selector="app=x") == ["a"]
    assert names(label_selector="app!=x") == ["b", "c"]
    assert names(label_selector="app in (x, y),!tier") == ["a"]
    assert names(label_selector="app notin (x)") == ["b", "c"]
    assert names(label_selector="tier") == ["b"]
    assert names(field_selector="metadata.name=c") == ["c"]
    everywhere = core.list_secret_for_all_namespaces(label_selector="app=x")
    assert [each.metadata.name for each in everywhere.items] == ["d", "a"]
    assert refused(lambda: names(label_selector="a ~ b")).status == 400
    assert refused(lambda: names(field_selector="type=Opaque")).status == 400, "the double says what it does not know"


def test_a_namespace_goes_with_what_is_in_it(core: Any) -> None:
    made = core.create_namespace({"metadata": {"name": "brief"}})
    assert made.status.phase == "Active"
    core.create_namespaced_secret("brief", secret(A="1"))
    core.delete_namespace("brief")
    assert refused(lambda: core.read_namespaced_secret("keys", "brief")).status == 404
    core.create_namespace({"metadata": {"name": "brief"}})
    assert core.list_namespaced_secret("brief").items == []


# Patches ----------------------------------------------------------------------------------------------------------------


def patch(double: KubernetesDouble, kind: str, sent: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {double.admin_token}", "Content-Type": f"application/{kind}+json"}
    url = f"{double.url}/api/v1/namespaces/{SPACE}/secrets/keys"
    return httpx.patch(url, content=json.dumps(sent), headers=headers)


OWNER = {"apiVersion": "v1", "kind": "X", "name": "x"}


@pytest.fixture
def kept(double: KubernetesDouble, core: Any) -> KubernetesDouble:
    metadata = {
        "name": "keys",
        "annotations": {"a": "1", "b": "2"},
        "finalizers": ["example.com/one"],
        "ownerReferences": [{**OWNER, "uid": "1"}],
    }
    core.create_namespaced_secret(SPACE, {"metadata": metadata, "stringData": {"A": "1", "B": "2"}})
    return double


@pytest.mark.parametrize("kind", ["merge-patch", "strategic-merge-patch"])
def test_a_merge_sets_keeps_and_drops(kind: str, kept: KubernetesDouble) -> None:
    found = patch(kept, kind, {"metadata": {"annotations": {"a": None, "c": "3"}}, "data": {"A": encoded("x")}}).json()
    assert found["metadata"]["annotations"] == {"b": "2", "c": "3"}
    assert found["data"] == {"A": encoded("x"), "B": encoded("2")}


def test_lists_are_replaced_by_a_merge_and_merged_by_a_strategic_one(kept: KubernetesDouble) -> None:
    more = {"metadata": {"finalizers": ["example.com/two"], "ownerReferences": [{**OWNER, "uid": "2"}]}}
    found = patch(kept, "strategic-merge-patch", more).json()["metadata"]
    assert found["finalizers"] == ["example.com/one", "example.com/two"]
    assert [each["uid"] for each in found["ownerReferences"]] == ["1", "2"]
    fewer = {
        "metadata": {
            "$deleteFromPrimitiveList/finalizers": ["example.com/one"],
            "ownerReferences": [{"$patch": "delete", "uid": "1"}, {"uid": "2", "name": "y"}],
        }
    }
    found = patch(kept, "strategic-merge-patch", fewer).json()["metadata"]
    assert found["finalizers"] == ["example.com/two"]
    assert found["ownerReferences"] == [{**OWNER, "uid": "2", "name": "y"}]
    found = patch(kept, "merge-patch", {"metadata": {"finalizers": ["example.com/three"]}}).json()["metadata"]
    assert found["finalizers"] == ["example.com/three"]


def test_a_strategic_merge_may_replace(kept: KubernetesDouble) -> None:
    sent = {"data": {"$patch": "replace", "C": encoded("3")}}
    assert patch(kept, "strategic-merge-patch", sent).json()["data"] == {"C": encoded("3")}
    refused = patch(kept, "strategic-merge-patch", {"metadata": {"$retainKeys": ["name"]}})
    assert refused.status_code == 400, "the double says what it does not know"


def test_a_json_patch_tests_and_changes(kept: KubernetesDouble) -> None:
    replace = {"op": "replace", "path": "/data/A", "value": encoded("x")}
    wrong = [{"op": "test", "path": "/data/B", "value": encoded("other")}, replace]
    answer = patch(kept, "json-patch", wrong)
    assert (answer.status_code, answer.json()["reason"]) == (422, "Invalid")
    right = [{"op": "test", "path": "/data/B", "value": encoded("2")}, replace]
    assert patch(kept, "json-patch", right).json()["data"]["A"] == encoded("x")
    assert patch(kept, "json-patch", [{"op": "remove", "path": "/data/nope"}]).status_code == 422


def test_a_patch_that_leaves_no_secret_is_invalid_and_the_server_quotes_it(kept: KubernetesDouble) -> None:
    answer = patch(kept, "merge-patch", {"data": {"A": "!"}})
    assert answer.status_code == 422
    assert encoded("2") in answer.json()["message"], "a neighbour's value: no message of a server is ever repeated"


def test_a_patch_of_another_kind_is_refused(kept: KubernetesDouble) -> None:
    assert patch(kept, "apply-patch", {}).status_code == 415


# Secrets ----------------------------------------------------------------------------------------------------------------


def send(double: KubernetesDouble, sent: Any, method: str = "POST", name: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {double.admin_token}"}
    url = f"{double.url}/api/v1/namespaces/{SPACE}/secrets{name}"
    return httpx.request(method, url, json=sent, headers=headers)


@pytest.mark.parametrize("value", ["!", "a", 7, {}])
def test_what_is_no_base64_is_a_bad_request(value: Any, double: KubernetesDouble) -> None:
    answer = send(double, {"metadata": {"name": "keys"}, "data": {"A": value}})
    assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("changed", "field", "reason"),
    [
        ({"stringData": {"A": "x" * (1024 * 1024), "B": "x"}}, "data", "FieldValueTooLong"),
        ({"stringData": {"a/b": "x"}}, "data[a/b]", "FieldValueInvalid"),
        ({"stringData": {"..x": "x"}}, "data[..x]", "FieldValueInvalid"),
        ({"metadata": {"name": "Keys"}}, "metadata.name", "FieldValueInvalid"),
        ({"metadata": {"name": "k" * 254}}, "metadata.name", "FieldValueInvalid"),
        ({"metadata": {}}, "metadata.name", "FieldValueRequired"),
        ({"metadata": {"name": "k", "labels": {"a": "-"}}}, "metadata.labels", "FieldValueInvalid"),
        ({"metadata": {"name": "k", "annotations": {"_": "x"}}}, "metadata.annotations", "FieldValueInvalid"),
        ({"metadata": {"name": "k", "annotations": {"a": "x" * 262144}}}, "metadata.annotations", "FieldValueTooLong"),
    ],
)
def test_what_is_invalid_is_told_with_its_field(changed: Any, field: str, reason: str, double: KubernetesDouble) -> None:
    answer = send(double, {**secret(A="1"), **changed})
    assert answer.status_code == 422
    assert [(each["field"], each["reason"]) for each in answer.json()["details"]["causes"]] == [(field, reason)]


def test_a_mebibyte_of_values_is_taken(double: KubernetesDouble) -> None:
    assert send(double, secret(A="x" * (1024 * 1024 - 1), B="y")).status_code == 201


def test_a_body_of_more_than_three_mebibytes_is_too_large(double: KubernetesDouble) -> None:
    assert send(double, secret(A="x" * (3 * 1024 * 1024))).status_code == 413


def test_what_is_immutable_stays_so(double: KubernetesDouble, core: Any) -> None:
    send(double, {**secret(A="1"), "immutable": True})
    for sent in ({**secret(A="2"), "immutable": True}, secret(A="1")):
        answer = send(double, sent, "PUT", "/keys")
        assert answer.status_code == 422
        assert answer.json()["details"]["causes"][0]["reason"] == "FieldValueForbidden"
    labelled = {**secret(A="1"), "immutable": True}
    labelled["metadata"]["labels"] = {"a": "b"}
    assert send(double, labelled, "PUT", "/keys").status_code == 200
    core.delete_namespaced_secret("keys", SPACE)


def test_a_type_never_changes(double: KubernetesDouble) -> None:
    send(double, {**secret(A="1"), "type": "example.com/a"})
    answer = send(double, {**secret(A="1"), "type": "example.com/b"}, "PUT", "/keys")
    assert (answer.status_code, answer.json()["details"]["causes"][0]["field"]) == (422, "type")
    assert send(double, secret(A="2"), "PUT", "/keys").json()["type"] == "example.com/a"


def test_a_create_names_no_version_and_no_other_place(double: KubernetesDouble) -> None:
    assert send(double, {"metadata": {"name": "keys", "resourceVersion": "1"}}).status_code == 500
    assert send(double, {"metadata": {"name": "keys", "namespace": "default"}}).status_code == 400
    send(double, secret(A="1"))
    assert send(double, secret("other", A="1"), "PUT", "/keys").status_code == 400
    assert send(double, {"metadata": {"generateName": "keys-"}}).json()["metadata"]["name"].startswith("keys-")


# Access -----------------------------------------------------------------------------------------------------------------


def rule(*verbs: str, names: list[str] | None = None) -> Object:
    named = {"resourceNames": names} if names else {}
    return {"apiGroups": [""], "resources": ["secrets"], "verbs": list(verbs), **named}


def may(double: KubernetesDouble, token: str, verb: str, name: str = "") -> bool:
    asked = {"namespace": SPACE, "verb": verb, "group": "", "resource": "secrets", "name": name}
    reviews = apis.AuthorizationV1Api(api(double, token))
    review = reviews.create_self_subject_access_review({"spec": {"resourceAttributes": asked}})
    return bool(review.status.allowed)


def test_a_rule_by_name_grants_that_name_alone_and_never_a_create(double: KubernetesDouble) -> None:
    token = double.account("reader", [rule("get", "create", names=["keys"])], namespace=SPACE)
    its = apis.CoreV1Api(api(double, token))
    apis.CoreV1Api(api(double)).create_namespaced_secret(SPACE, secret(A="1"))
    assert its.read_namespaced_secret("keys", SPACE).data
    for call in (
        lambda: its.read_namespaced_secret("other", SPACE),
        lambda: its.read_namespaced_secret("keys", "default"),
        lambda: its.list_namespaced_secret(SPACE),
        lambda: its.create_namespaced_secret(SPACE, secret("more", A="1")),
        lambda: its.delete_namespaced_secret("keys", SPACE),
    ):
        assert refused(call).status == 403
    assert [may(double, token, verb, "keys") for verb in ("get", "update", "create")] == [True, False, True]
    assert not may(double, token, "create"), "as the server asks itself when something is created"


def test_a_list_of_one_name_is_granted_by_that_name(double: KubernetesDouble) -> None:
    token = double.account("lister", [rule("list", names=["keys"])], namespace=SPACE)
    its = apis.CoreV1Api(api(double, token))
    assert its.list_namespaced_secret(SPACE, field_selector="metadata.name=keys").items == []
    assert refused(lambda: its.list_namespaced_secret(SPACE)).status == 403


def test_the_rules_are_told_and_can_be_exchanged(double: KubernetesDouble) -> None:
    token = double.account("worker", [rule("get")], namespace=SPACE)
    reviews = apis.AuthorizationV1Api(api(double, token))
    rules = reviews.create_self_subject_rules_review({"spec": {"namespace": SPACE}}).status.resource_rules
    assert ["get"] in [each.verbs for each in rules]
    token = double.account("worker", [rule("list")], namespace=SPACE)
    assert (may(double, token, "get", "x"), may(double, token, "list")) == (False, True)


def test_nobody_and_a_stranger_are_told_apart(double: KubernetesDouble) -> None:
    url = f"{double.url}/api/v1/namespaces/{SPACE}/secrets"
    nobody = httpx.get(url)
    assert (nobody.status_code, "system:anonymous" in nobody.json()["message"]) == (403, True)
    assert httpx.get(url, headers={"Authorization": "Bearer wrong"}).status_code == 401
    token = double.account("brief", [rule("list")], namespace=SPACE)
    assert httpx.get(url, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    double.access.forget(token)
    assert httpx.get(url, headers={"Authorization": f"Bearer {token}"}).status_code == 401


# Watches ----------------------------------------------------------------------------------------------------------------


def test_a_watch_tells_what_happens_to_what_is_chosen(double: KubernetesDouble, core: Any) -> None:
    core.create_namespaced_secret(SPACE, secret("before", A="1"))
    since = core.list_namespaced_secret(SPACE).metadata.resource_version
    seen: list[tuple[str, str]] = []

    def follow() -> None:
        stream = watching.Watch().stream(
            core.list_namespaced_secret,
            SPACE,
            label_selector="app=x",
            resource_version=since,
            timeout_seconds=30,
        )
        for event in stream:
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED" and event["object"].metadata.name == "b":
                return

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    for name in ("a", "b"):
        core.create_namespaced_secret(SPACE, {"metadata": {"name": name, "labels": {"app": "x"}}})
    core.create_namespaced_secret(SPACE, secret("other", A="1"))
    core.patch_namespaced_secret("a", SPACE, {"stringData": {"A": "2"}})
    core.patch_namespaced_secret("a", SPACE, {"metadata": {"labels": {"app": None}}})
    core.delete_namespaced_secret("b", SPACE)
    follower.join(30)
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "a"), ("DELETED", "b")]


def test_a_watch_from_nowhere_begins_with_what_is_there(core: Any) -> None:
    core.create_namespaced_secret(SPACE, secret("there", A="1"))
    for event in watching.Watch().stream(core.list_namespaced_secret, SPACE, timeout_seconds=10):
        assert (event["type"], event["object"].metadata.name) == ("ADDED", "there")
        break


def test_a_watch_from_too_long_ago_is_told_that_it_is_gone(double: KubernetesDouble, core: Any) -> None:
    since = core.list_namespaced_secret(SPACE).metadata.resource_version
    core.create_namespaced_secret(SPACE, secret(A="1"))
    double.cluster.forget()
    stream = watching.Watch().stream(core.list_namespaced_secret, SPACE, resource_version=since, timeout_seconds=10)
    error = refused(lambda: next(iter(stream)))
    assert error.status == 410


# Faults -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        (Kind.UNAUTHORIZED, 401, "Unauthorized"),
        (Kind.DENIED, 403, "Forbidden"),
        (Kind.CONFLICT, 409, "Conflict"),
        (Kind.THROTTLED, 429, "TooManyRequests"),
        (Kind.FAILED, 500, "InternalError"),
        (Kind.UNAVAILABLE, 503, "ServiceUnavailable"),
        (Kind.TIMED_OUT, 504, "Timeout"),
    ],
)
def test_a_fault_refuses_the_calls_it_is_for(kind: Kind, status: int, reason: str, double: KubernetesDouble) -> None:
    double.inject("create secrets", kind, after=1)
    assert send(double, secret("one", A="1")).status_code == 201
    answer = send(double, secret("two", A="1"))
    assert (answer.status_code, answer.json()["reason"], answer.json()["code"]) == (status, reason, status)
    assert send(double, secret("two", A="1")).status_code == 201, "nothing was done"
    assert double.calls["create secrets"] == 3


def test_a_crowded_server_says_when_to_come_back_in_plain_text(double: KubernetesDouble) -> None:
    double.inject("*", Kind.CROWDED)
    answer = send(double, None, "GET")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(("kind", "there"), [(Kind.LOST, 200), (Kind.RESET, 404)])
def test_an_answer_may_be_lost(kind: Kind, there: int, double: KubernetesDouble) -> None:
    double.inject("create secrets", kind)
    with pytest.raises(httpx.TransportError):
        send(double, secret(A="1"))
    assert send(double, None, "GET", "/keys").status_code == there


def test_somebody_may_act_just_before_a_call(double: KubernetesDouble) -> None:
    acts = [lambda: send(double, secret(A="theirs"))]

    def act(call: Call) -> None:
        if acts and call.verb == "create":
            acts.pop()()

    double.before = act
    assert send(double, secret(A="ours")).status_code == 409


def test_it_is_told_what_to_do_over_http(double: KubernetesDouble) -> None:
    control = f"{double.url}/_double"
    assert httpx.post(f"{control}/faults", json={"call": "*", "kind": "failed"}).status_code == 200
    assert httpx.post(f"{control}/faults", json={"call": "*", "kind": "no such"}).status_code == 400
    assert send(double, secret(A="1")).status_code == 500
    assert httpx.get(f"{control}/calls").json() == {"create secrets": 1}
    assert httpx.post(f"{control}/reset").status_code == 200
    assert httpx.get(f"{control}/calls").json() == {}
    assert send(double, secret(A="1")).status_code == 201, "the namespaces are there again"


def test_paths_and_methods_that_are_not_there(double: KubernetesDouble) -> None:
    headers = {"Authorization": f"Bearer {double.admin_token}"}
    for method, path, status in (
        ("GET", "/api/v1/namespaces/llm/nothings", 404),
        ("GET", "/apis/example.com/v1/namespaces/llm/secrets", 404),
        ("GET", "/", 404),
        ("PUT", "/api/v1/namespaces/llm/secrets", 405),
        ("GET", "/version", 200),
        ("GET", "/readyz", 200),
    ):
        assert httpx.request(method, f"{double.url}{path}", headers=headers).status_code == status, path
