"""From which Secret a container is given a variable, by what its pod template says alone."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn.kubernetes.given import Place, reads_of
from keyturn.kubernetes.pods import owner_of, url_of

KEY = "OPENAI_API_KEY"


def pod(*containers: dict[str, Any], annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    named = [{"name": f"c{number}", **each} for number, each in enumerate(containers)]
    return {"metadata": {"annotations": annotations}, "spec": {"containers": named, **spec}}


def by_key(secret: str, key: str = KEY, **more: Any) -> dict[str, Any]:
    return {"name": KEY, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, **more}}}


def whole(name: str, kind: str = "secretRef", prefix: str = "", **more: Any) -> dict[str, Any]:
    return {kind: {"name": name, **more}, **({"prefix": prefix} if prefix else {})}


def secret(name: str, key: str = KEY, must_be: bool = True) -> Place:
    return Place("Secret", name, key, must_be)


@pytest.mark.parametrize(
    ("container", "places"),
    [
        ({"env": [by_key("a", "x")]}, [secret("a", "x")]),
        ({"env": [by_key("a"), by_key("b")]}, [secret("b")]),  # the later one of a name
        ({"env": [by_key("a")], "envFrom": [whole("b")]}, [secret("a")]),
        ({"env": [by_key("a", optional=True)], "envFrom": [whole("b")]}, [secret("a", must_be=False), secret("b")]),
        ({"envFrom": [whole("a"), whole("b", optional=True)]}, [secret("b", must_be=False), secret("a")]),
        ({"envFrom": [whole("a", prefix="OPENAI_")]}, [secret("a", "API_KEY")]),
        ({"envFrom": [whole("a"), whole("b", prefix="AZURE_")]}, [secret("a")]),
        (
            {"envFrom": [whole("a"), whole("m", "configMapRef")]},
            [Place("ConfigMap", "m", KEY, True), secret("a")],
        ),
    ],
)
def test_the_places_in_the_order_in_which_they_count(container: dict[str, Any], places: list[Place]) -> None:
    reads = reads_of(pod(container), [KEY])
    assert [list(one.places) for each in reads.given for one in each] == [places]
    assert not reads.faults and not reads.at_start


@pytest.mark.parametrize(
    ("container", "said"),
    [
        ({}, "no container of it is given"),
        ({"envFrom": [whole("m", "configMapRef")]}, "no container of it is given"),
        ({"env": [{"name": KEY, "value": "x"}], "envFrom": [whole("a")]}, "by its template"),
        ({"env": [{"name": KEY, "valueFrom": {"configMapKeyRef": {"name": "m", "key": "x"}}}]}, "by its template"),
    ],
)
def test_what_no_new_secret_would_change_is_a_fault(container: dict[str, Any], said: str) -> None:
    reads = reads_of(pod(container), [KEY])
    assert said in " ".join(reads.faults) and not reads.at_start


def test_a_sidecar_that_starts_first_counts_and_a_container_that_has_ended_by_then_does_not() -> None:
    early = [
        {"name": "migrate", "env": [by_key("m")]},
        {"name": "sidecar", "env": [by_key("s")], "restartPolicy": "Always"},
    ]
    reads = reads_of(pod({"env": [by_key("a")]}, initContainers=early), [KEY])
    assert [each[0].container for each in reads.given] == ["c0", "sidecar"]


def test_one_part_of_a_key_alone_is_a_fault() -> None:
    assert "is not given B" in reads_of(pod({"env": [{**by_key("a"), "name": "A"}]}), ["A", "B"]).faults[0]


LAUNCHED = {"command": ["/opt/keyturn", "exec", "--proxy", "prod", "--", "litellm"]}


@pytest.mark.parametrize(
    "found",
    [
        pod(LAUNCHED),
        pod({"command": ["tini", "--"], "args": ["x"]}, annotations={"vault.hashicorp.com/agent-inject": "true"}),
        pod({}, volumes=[{"name": "v", "csi": {"driver": "secrets-store.csi.k8s.io"}}]),
    ],
)
def test_what_reads_the_store_itself(found: dict[str, Any]) -> None:
    reads = reads_of(found, [KEY])
    assert reads.at_start and not reads.faults and not reads.given


@pytest.mark.parametrize(
    "found",
    [
        pod({"command": ["keyturn", "exec", "--env-file=/keys/env", "--", "litellm"]}),
        pod({"command": ["litellm", "--", "keyturn", "exec"]}),
        pod({"command": ["keyturn", "plan"]}),
        pod({}, annotations={"vault.hashicorp.com/agent-inject": "false"}),
        pod({}, volumes=[{"name": "v", "secret": {"secretName": "keys"}}]),
        pod(LAUNCHED, {}),
    ],
)
def test_what_does_not(found: dict[str, Any]) -> None:
    container = "c1" if len(found["spec"]["containers"]) > 1 else None
    assert reads_of(found, [KEY], container).faults


def test_a_secret_goes_before_a_store_and_a_word_of_keyturn_yaml_before_both() -> None:
    found = pod({**LAUNCHED, "envFrom": [whole("a")]})
    assert reads_of(found, [KEY]).given and not reads_of(found, [KEY]).at_start
    assert reads_of(found, [KEY], at_start=True).at_start


def test_a_pod_is_kept_by_the_deployment_of_its_replica_set() -> None:
    def kept(kind: str, name: str, **labels: str) -> dict[str, Any]:
        return {"metadata": {"labels": labels, "ownerReferences": [{"kind": kind, "name": name, "controller": True}]}}

    assert owner_of(kept("ReplicaSet", "litellm-1-abc", **{"pod-template-hash": "abc"})) == ("Deployment", "litellm-1")
    assert owner_of(kept("ReplicaSet", "litellm-abc", **{"rollouts-pod-template-hash": "abc"}))[0] == "ReplicaSet"
    assert owner_of(kept("StatefulSet", "litellm")) == ("StatefulSet", "litellm")
    assert owner_of({"metadata": {}}) == ("", "")


def test_addresses_of_both_families() -> None:
    assert url_of({"status": {"podIP": "10.0.0.1"}}, 4000) == "http://10.0.0.1:4000"
    assert url_of({"status": {"podIP": "fd00::1"}}, 4000) == "http://[fd00::1]:4000"
    assert url_of({"status": {}}, 4000) == ""
