"""What of the orders of requests is a cluster's alone: notes that are merged here, and whether the model is one of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from keyturn.errors import ConflictError
from keyturn.model import Stage
from keyturn.testing.kubernetes_double import KubernetesDouble
from tests.stores.kubernetes_model import KUBERNETES, Secrets
from tests.stores.orders import DIED, Work, alone
from tests.stores.staged_scene import NEW, NEWER, SECRET, Backend, Verbs, check_always, check_old_is_kept


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Backend:
    monkeypatch.setattr(KUBERNETES.replaced, KUBERNETES.client)
    return KUBERNETES


def test_a_discard_keeps_a_promote_out_also_beside_a_note(at: Backend) -> None:
    verbs: Verbs = lambda server: [at.promote(NEW), at.annotate(reason="manual"), at.discard(NEW)]  # noqa: E731
    for run in at.orders(verbs, switches=2):
        check_always(run)
        check_old_is_kept(run)
        promoted, noted, discarded = run.outcomes
        assert noted is None
        assert {promoted, discarded} == {None, ConflictError}
        assert run.views[-1][Stage.CURRENT] == ("old" if discarded is None else "new")


def test_notes_are_lost_by_nobody(at: Backend) -> None:
    others: tuple[Callable[[], Work], ...] = (
        lambda: at.promote(NEW),
        lambda: at.stage(NEWER),
        lambda: at.annotate(attempt="1", key_old="a"),
    )
    for other in others:
        for run in at.orders(lambda server: [at.annotate(key_new="b", gone=None), other()], mortal=[1]):  # noqa: B023
            check_always(run)
            assert run.outcomes[0] is None
            notes = alone(at.make().annotations(SECRET))
            assert notes["key_new"] == "b"
            assert run.outcomes[1] == DIED or notes == {"attempt": "1", "key_new": "b"} | (
                {"key_old": "a"} if "key_old" in notes else {}
            )


def test_two_who_note_at_once_note_both(at: Backend) -> None:
    for run in at.orders(lambda server: [at.annotate(key_a="a"), at.annotate(key_b="b")]):
        assert run.outcomes == [None, None]
        assert alone(at.make().annotations(SECRET)) == {"attempt": "1", "key_a": "a", "key_b": "b"}


# The model ----------------------------------------------------------------------------------------------------------------

NEVER = "999999"  # a version that no object has
BASE = "/api/v1/namespaces/litellm/secrets"
Ask = Callable[[str, str, Any], tuple[int, Any]]


def told(ask: Ask, method: str, name: str, value: str, known: str) -> tuple[Any, str]:
    """What an answer says, and the version that is known after it: of the version itself only whether it moved."""
    version = {"resourceVersion": known} if method == "PUT" else {}
    sent = {"metadata": {"name": name, **version}, "type": "Opaque", "data": {"A": value}}
    status, body = ask(method, BASE if method == "POST" else f"{BASE}/{name}", sent)
    if status < 300:
        number = body["metadata"]["resourceVersion"]
        return (status, body["data"], number != known), number
    return (status, body["reason"], body["details"]["kind"], body["details"]["name"]), known


def test_the_model_answers_as_the_double_does() -> None:
    """Status, reason, what it is about, whether the version moved: for the same requests, chosen at random."""
    chance, model = random.Random(7), Secrets()
    statuses: set[tuple[str, int]] = set()
    with KubernetesDouble(namespaces=["litellm"]) as double, httpx.Client(base_url=double.url) as http:
        http.headers["Authorization"] = f"Bearer {double.admin_token}"

        def of_double(method: str, path: str, sent: Any) -> tuple[int, Any]:
            answer = http.request(method, path, json=None if method == "GET" else sent)
            return answer.status_code, answer.json()

        def of_model(method: str, path: str, sent: Any) -> tuple[int, Any]:
            answer = model.answer(method, path, sent)
            return answer.status, answer.body

        known = {name: [NEVER, NEVER] for name in "ab"}
        for _ in range(300):
            name, method = chance.choice("ab"), chance.choice(["GET", "POST", "PUT", "PUT", "PUT"])
            value = chance.choice(["MQ==", "Mg=="])
            if chance.random() < 0.1:
                http.delete(f"{BASE}/{name}")
                model.objects.pop(name, None)
            pair = known[name] if chance.random() < 0.8 else [NEVER, NEVER]
            one, other = (told(ask, method, name, value, at) for ask, at in zip((of_model, of_double), pair, strict=True))
            assert one[0] == other[0], (method, name)
            statuses.add((method, one[0][0]))
            if one[0][0] < 300:
                known[name] = [one[1], other[1]]
    wanted = {("GET", 200), ("GET", 404), ("POST", 201), ("POST", 409), ("PUT", 200), ("PUT", 404), ("PUT", 409)}
    assert statuses == wanted
