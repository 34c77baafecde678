"""The promises of the store of Kubernetes Secrets in every order of two workers' requests, with a death after each.

The server here is a model that takes one request at a time; the store is the real one.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from keyturn.errors import ConflictError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage, VersionRef
from keyturn.references import resolver
from keyturn.stores import kubernetes_secret
from keyturn.stores.kubernetes_documents import place_of
from keyturn.stores.kubernetes_secret import KubernetesSecret
from keyturn.testing.kubernetes_double import KubernetesDouble
from keyturn.testing.store_scene import new_key, new_token
from tests.stores.kubernetes_model import Client, Secrets
from tests.stores.orders import DIED, Scene, Turn, Work, Worker, alone, every_order, play

FIELD = "OPENAI_API_KEY"
SECRET = SecretRef("cluster", "providers", FIELD)
PLACE = place_of(SECRET, "litellm", "key")
SETTINGS = KubernetesSecret.Settings.model_validate(
    {"server": "http://127.0.0.1:6443", "token": "env:UNUSED", "namespace": "litellm"}
)
SWITCHES = 3
REQUESTS = 6  # of a promote; the last one only tidies
View = Mapping[Stage, str]  # stage -> name of the key

KEYS = {name: new_key() for name in ("old", "new", "newer", "older")}
OLD, NEW, NEWER, OLDER = KEYS.values()
NAMES = {key.reveal(): name for name, key in KEYS.items()}
FINGERPRINTS = {name: key.fingerprint() for name, key in KEYS.items()}
TOKENS = {key.fingerprint(): new_token() for key in KEYS.values()}
START: View = {Stage.CURRENT: "old", Stage.PENDING: "new", Stage.PREVIOUS: "older"}
PROMOTED: View = {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}


def version(key: KeyMaterial) -> VersionRef:
    """As it was staged in the beginning."""
    return VersionRef(TOKENS[key.fingerprint()], key.fingerprint())


def view(server: Secrets) -> View:
    """What stands where at this instant, by the rule in the protocol's docstring."""
    current = server.field(PLACE.main, FIELD)
    beside = json.loads(server.field(PLACE.beside, "state") or "{}")
    value = {slot: beside[slot]["value"] for slot in ("pending", "previous", "displaced") if slot in beside}
    if value.get("displaced", current) != current:
        value["previous"] = value["displaced"]
    stages = {Stage.CURRENT: current, Stage.PENDING: value.get("pending"), Stage.PREVIOUS: value.get("previous")}
    return {
        stage: NAMES.get(text, "theirs")
        for stage, text in stages.items()
        if text is not None and (stage is Stage.CURRENT or text != current)
    }


@dataclass
class Run(Scene):
    """One order of requests, played out. `views`: before the first request, and after each."""

    server: Secrets = field(default_factory=Secrets)
    views: list[View] = field(default_factory=list)

    def moved(self) -> None:
        self.views.append(view(self.server))

    def since(self, worker: Worker) -> list[View]:
        return self.views[worker.ended_at :]

    def until(self, worker: Worker) -> list[View]:
        return self.views[: worker.ended_at + 1]


Verbs = Callable[[Secrets], Sequence[Work]]


def scene(verbs: Verbs) -> Run:
    server = prepared()
    return Run(list(verbs(server)), server=server, views=[view(server)])


def orders(verbs: Verbs, mortal: Collection[int] = (), switches: int = SWITCHES, alike: bool = False) -> Iterator[Run]:
    for run in every_order(lambda: scene(verbs), switches, mortal, alike):
        Client.server = run.server  # whatever comes after is played there
        yield run


def store() -> KubernetesSecret:
    return KubernetesSecret(SETTINGS, resolver(environ={}))


@functools.cache
def start() -> Secrets:
    Client.server = server = Secrets()
    named = {"metadata": {"name": PLACE.main, "labels": {"team": "platform"}}, "data": {"OTHER": "/wA="}}
    server.answer("POST", "", named)
    server.set_field(PLACE.main, FIELD, OLDER.reveal())
    for key, current in ((OLD, OLDER), (NEW, None)):
        staged = alone(store().stage(SECRET, key, TOKENS[key.fingerprint()]))
        if current is not None:
            alone(store().promote(SECRET, staged, version(current)))
    alone(store().annotate(SECRET, {"attempt": "1"}))
    assert view(server) == START
    return server


def prepared() -> Secrets:
    """CURRENT is old, PENDING is new, PREVIOUS is older."""
    Client.server = Secrets(start().objects, start().number)
    return Client.server


@pytest.fixture(autouse=True)
def _model_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_secret, "KubernetesClient", Client)


def promote(key: KeyMaterial, replacing: KeyMaterial = OLD) -> Work:
    return store().promote(SECRET, version(key), version(replacing))


def bar(key: KeyMaterial) -> Work:
    return store().bar(SECRET, version(key))


def discard(key: KeyMaterial) -> Work:
    return store().discard(SECRET, version(key))


def stage(key: KeyMaterial, token: str | None = None) -> Work:
    return store().stage(SECRET, key, token or new_token())


def spend(token: str) -> Work:
    return store().spend(SECRET, token)


def annotate(**notes: str | None) -> Work:
    return store().annotate(SECRET, notes)


async def operator(server: Secrets, name: str, value: str) -> None:
    await Turn()
    server.set_field(PLACE.main, name, value)


def check_always(run: Run) -> None:
    """What holds at every instant, whoever does what."""
    gone: set[str] = set()
    for seen in run.views:
        assert seen[Stage.CURRENT] not in gone, "a version that had left every stage is served"
        gone |= {"old", "new"} - set(seen.values())
    main = run.server.objects[PLACE.main]
    assert main["data"]["OTHER"] == "/wA=", "a neighbour that is no text, byte for byte"
    assert main["metadata"]["labels"] == {"team": "platform"}
    assert alone(store().annotations(SECRET)).get("attempt") == "1"


def check_old_is_kept(run: Run) -> None:
    assert all("old" in seen.values() for seen in run.views), "the key that was served is claimed by no stage"


def is_refused(key: KeyMaterial, replacing: KeyMaterial = OLD) -> bool:
    with pytest.raises(ConflictError):
        alone(promote(key, replacing))
    return True


def test_a_promote_and_a_discard_of_its_version_exclude_each_other() -> None:
    for run in orders(lambda server: [promote(NEW), discard(NEW)], mortal=[0], switches=4):
        check_always(run)
        check_old_is_kept(run)
        promoted, discarded = run.outcomes
        if discarded is None:
            assert promoted in (ConflictError, DIED)
            assert run.views[-1][Stage.CURRENT] == "old"
        else:
            assert promoted in (None, DIED)
            assert run.views[-1] == PROMOTED


@pytest.mark.parametrize("key", [NEW, OLDER], ids=["pending", "previous"])
def test_a_promote_and_a_bar_of_its_version_exclude_each_other(key: KeyMaterial) -> None:
    for run in orders(lambda server: [promote(key), bar(key)], mortal=[0, 1], switches=4):
        check_always(run)
        check_old_is_kept(run)
        promoted, barred = run.outcomes
        if barred is None:
            assert promoted in (ConflictError, DIED)
            assert run.views[-1][Stage.CURRENT] == "old"
            assert is_refused(key)
        elif barred is ConflictError:
            assert promoted in (None, DIED)
            assert run.views[-1][Stage.CURRENT] == NAMES[key.reveal()]


def test_two_workers_promote_the_same_version() -> None:
    for run in orders(lambda server: [promote(NEW), promote(NEW)], mortal=[0, 1], alike=True):
        check_always(run)
        assert set(run.outcomes) <= {None, DIED}
        assert run.views[-1] == PROMOTED
        check_old_is_kept(run)


def test_a_rotation_and_a_rollback_exclude_each_other() -> None:
    for run in orders(lambda server: [promote(NEW), promote(OLDER)], mortal=[0]):
        check_always(run)
        check_old_is_kept(run)
        assert run.outcomes in ([None, ConflictError], [ConflictError, None], [DIED, None], [DIED, ConflictError])
        assert run.views[-1][Stage.PREVIOUS] == "old"
        assert run.views[-1][Stage.CURRENT] == ("older" if run.outcomes[1] is None else "new")


def test_a_promote_and_a_later_stage_never_serve_what_was_replaced() -> None:
    for run in orders(lambda server: [promote(NEW), stage(NEWER)], mortal=[0]):
        check_always(run)
        check_old_is_kept(run)
        assert isinstance(run.outcomes[1], VersionRef)
        assert run.views[-1][Stage.PENDING] == "newer"


def test_of_a_stage_and_a_spend_of_its_token_the_first_one_stands() -> None:
    token = new_token()
    for run in orders(lambda server: [stage(NEWER, token), spend(token)], mortal=[0, 1]):
        check_always(run)
        stager, spender = run.workers
        staged = run.views[-1].get(Stage.PENDING) == "newer"
        if spender.outcome is None:
            assert (run.since(spender)[0].get(Stage.PENDING) == "newer") == staged, "staged after the spend was back"
        if stager.outcome != DIED:
            assert isinstance(stager.outcome, VersionRef if staged else ConflictError)


def test_a_discard_keeps_a_promote_out_also_beside_a_spend_or_a_note() -> None:
    thirds: tuple[Callable[[], Work], ...] = (lambda: spend(new_token()), lambda: annotate(reason="manual"))
    for third in thirds:
        for run in orders(lambda server: [promote(NEW), third(), discard(NEW)], switches=2):  # noqa: B023
            check_always(run)
            check_old_is_kept(run)
            promoted, other, discarded = run.outcomes
            assert other is None
            assert {promoted, discarded} == {None, ConflictError}
            assert run.views[-1][Stage.CURRENT] == ("old" if discarded is None else "new")


def test_notes_are_lost_by_nobody() -> None:
    others: tuple[Callable[[], Work], ...] = (
        lambda: promote(NEW),
        lambda: stage(NEWER),
        lambda: annotate(attempt="1", key_old="a"),
    )
    for other in others:
        for run in orders(lambda server: [annotate(key_new="b", gone=None), other()], mortal=[1]):  # noqa: B023
            check_always(run)
            assert run.outcomes[0] is None
            notes = alone(store().annotations(SECRET))
            assert notes["key_new"] == "b"
            assert run.outcomes[1] == DIED or notes == {"attempt": "1", "key_new": "b"} | (
                {"key_old": "a"} if "key_old" in notes else {}
            )


def test_two_who_note_at_once_note_both() -> None:
    for run in orders(lambda server: [annotate(key_a="a"), annotate(key_b="b")]):
        assert run.outcomes == [None, None]
        assert alone(store().annotations(SECRET)) == {"attempt": "1", "key_a": "a", "key_b": "b"}


def test_whoever_comes_after_a_death_finishes_the_rotation_or_gives_it_up() -> None:
    for run in orders(lambda server: [promote(NEW)], mortal=[0]):
        if view(run.server)[Stage.CURRENT] == "old":
            kept = Secrets(run.server.objects, run.server.number)
            alone(discard(NEW))
            assert view(run.server) == {Stage.CURRENT: "old", Stage.PREVIOUS: "older"}
            Client.server = run.server = kept
        alone(promote(NEW))
        assert view(run.server) == PROMOTED


def test_an_operator_who_changes_a_neighbour_loses_nothing() -> None:
    for run in orders(lambda server: [promote(NEW), operator(server, "NEIGHBOUR", "changed")]):
        check_always(run)
        assert run.outcomes == [None, None]
        assert run.server.field(PLACE.main, "NEIGHBOUR") == "changed"
        assert run.views[-1] == PROMOTED


def test_an_operator_who_changes_the_value_is_never_overwritten() -> None:
    theirs = new_key()
    for run in orders(lambda server: [promote(NEW), operator(server, FIELD, theirs.reveal())]):
        assert run.views[-1][Stage.CURRENT] == "theirs"
        check_old_is_kept(run) if run.outcomes[0] is None else None


@pytest.mark.parametrize("other", [promote, discard, bar])
def test_what_a_reader_sees_was_so_at_one_instant(other: Callable[[KeyMaterial], Work]) -> None:
    for run in orders(lambda server: [other(NEW), store().stages(SECRET)]):
        reader = run.workers[1]
        assert isinstance(reader.outcome, Mapping)
        seen = {stage: found.fingerprint for stage, found in reader.outcome.items()}
        assert seen in [{stage: FINGERPRINTS[name] for stage, name in each.items()} for each in run.until(reader)]


@pytest.mark.parametrize("there", [False, True], ids=["no Secret", "no key"])
def test_of_two_who_create_one_wins(there: bool) -> None:
    def begin() -> Run:
        Client.server = server = Secrets()
        if there:
            server.answer("POST", "", {"metadata": {"name": PLACE.main}, "data": {"OTHER": "/wA="}})
        return Run([store().create(SECRET, NEW), store().create(SECRET, OLD)], server=server, views=[])

    for run in every_order(begin, SWITCHES, [0, 1]):
        Client.server = run.server
        made = [worker.outcome for worker in run.workers]
        value = run.server.field(PLACE.main, FIELD)
        assert sum(isinstance(each, VersionRef) for each in made) <= 1
        for key, each in zip((NEW, OLD), made, strict=True):
            assert not isinstance(each, VersionRef) or key.reveal() == value
        assert not there or run.server.objects[PLACE.main]["data"]["OTHER"] == "/wA="


def test_many_at_once_in_random_orders() -> None:
    for seed in range(300):
        chance = random.Random(seed)
        restless = chance.random()

        def choose(options: int, chance: random.Random = chance, restless: float = restless) -> int:
            return chance.randrange(options) if chance.random() < restless else 0

        def works(server: Secrets) -> Sequence[Work]:
            verbs = [promote(NEW), promote(NEW), discard(NEW), promote(OLDER), bar(OLDER), stage(NEWER)]
            return [*verbs, spend(new_token()), annotate(key_new="x")]

        run = play(scene(works), choose, mortal=range(seed % 3))
        Client.server = run.server
        check_always(run)
        check_old_is_kept(run)
        assert set(map(str, run.outcomes[:5])) <= {"None", DIED, str(ConflictError)}
        barrer = run.workers[4]
        served = [seen[Stage.CURRENT] for seen in run.since(barrer)]
        assert barrer.outcome is not None or "older" not in served or "older" not in run.until(barrer)[-1].values()


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
