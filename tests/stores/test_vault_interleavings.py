"""The Vault store's promises in every order in which two workers' requests can arrive, and with a death after each.

The server here is a model of KV v2 that takes one request at a time; the store is the real one. tests/stores/
test_vault_kv2.py shows that a real server behaves like the model.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from keyturn.errors import ConflictError, KeyturnError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage, VersionRef
from keyturn.references import resolver
from keyturn.stores import vault_kv2
from keyturn.stores.vault_client import Answer
from keyturn.stores.vault_kv2 import VaultKV2
from keyturn.testing.store_scene import new_key, new_token

SECRET = SecretRef("vault", "litellm/providers", "OPENAI_API_KEY")
MAIN = "secret/data/litellm/providers"
BESIDE = "secret/data/keyturn/litellm/providers/OPENAI_API_KEY"
SETTINGS = VaultKV2.Settings.model_validate(
    {"address": "http://127.0.0.1:8200", "auth": {"method": "token", "token": "env:UNUSED"}}
)
View = Mapping[Stage, str]  # stage -> fingerprint

OLD, NEW, NEWER, OLDER = new_key(), new_key(), new_key(), new_key()
NAMES = {key.fingerprint(): name for key, name in ((OLD, "old"), (NEW, "new"), (NEWER, "newer"), (OLDER, "older"))}


def version(key: KeyMaterial) -> VersionRef:
    return VersionRef("any", key.fingerprint())


class KV2:
    """KV v2, as far as the store uses it: numbered documents, and writes that name the number they replace.

    What is read has its names sorted, as Vault does it.
    """

    def __init__(self) -> None:
        self.documents: dict[str, tuple[int, dict[str, Any]]] = {}

    def answer(self, method: str, path: str, body: Any) -> Answer:
        if path.startswith("sys/internal/ui/mounts/"):
            return Answer(200, {"data": {"type": "kv", "options": {"version": "2"}}})
        if "/metadata/" in path:
            return Answer(204, {})
        number, fields = self.documents.get(path, (0, {}))
        if method == "GET":
            read = json.loads(json.dumps(fields, sort_keys=True))
            return Answer(200, {"data": {"data": read, "metadata": {"version": number}}}) if number else Answer(404, {})
        if body["options"]["cas"] != number:
            return Answer(400, {})
        self.documents[path] = (number + 1, dict(body["data"]))
        return Answer(200, {"data": {"version": number + 1}})

    def set_field(self, name: str, value: str) -> None:
        number, fields = self.documents[MAIN]
        self.documents[MAIN] = (number + 1, {**fields, name: value})

    def view(self) -> View:
        """What stands where at this instant, by the rule in the store's docstring."""
        current = self.documents[MAIN][1]["OPENAI_API_KEY"]
        beside = self.documents[BESIDE][1]
        value = {slot: beside[slot]["value"] for slot in ("pending", "previous", "displaced") if slot in beside}
        if value.get("displaced", current) != current:
            value["previous"] = value["displaced"]
        stages = {Stage.CURRENT: current, Stage.PENDING: value.get("pending"), Stage.PREVIOUS: value.get("previous")}
        return {
            stage: NAMES.get(KeyMaterial(text).fingerprint(), "theirs")
            for stage, text in stages.items()
            if text is not None and (stage is Stage.CURRENT or text != current)
        }


class Turn:
    def __await__(self) -> Generator[None, None, None]:
        yield


class Client:
    """In the place of VaultClient: waits for its turn before each request."""

    server: KV2

    def __init__(self, settings: object, resolve: object) -> None:
        self.server = Client.server

    async def request(self, method: str, path: str, body: Any = None, headers: object = None) -> Answer:
        await Turn()
        return self.server.answer(method, path, body)


Work = Coroutine[Any, Any, object]


@dataclass
class Worker:
    """One verb under way. `lives`: after so many requests it dies; its last one has arrived all the same."""

    work: Work
    lives: int | None = None
    outcome: object = None
    done: bool = False
    requests: int = 0
    ended_at: int = 0  # how many requests had been made by all when it came back
    seen: list[View] = field(default_factory=list)

    def step(self) -> None:
        try:
            self.work.send(None)
        except StopIteration as end:
            self.outcome, self.done = end.value, True
        except KeyturnError as error:
            self.outcome, self.done = error, True
        if not self.done and self.requests == self.lives:
            self.work.close()
            self.done, self.outcome = True, "died"
        self.requests += 1

    def run(self) -> None:
        """To its end, with nobody else about."""
        while not self.done:
            self.step()


@dataclass
class Run:
    """One order of requests, played out. `views`: after each request."""

    server: KV2
    workers: list[Worker]
    views: list[View]

    @property
    def outcomes(self) -> list[object]:
        return [type(worker.outcome) if isinstance(worker.outcome, Exception) else worker.outcome for worker in self.workers]


Verbs = Callable[[KV2], Sequence[Work]]
SWITCHES = 4


def play(verbs: Verbs, lives: int | None, choose: Callable[[int], int]) -> Run:
    """`choose` says who is next, out of so many: 0 is whoever was last, if he still lives."""
    Client.server = server = prepared()
    run = Run(server, [Worker(work) for work in verbs(server)], [server.view()])
    run.workers[0].lives = lives
    for worker in run.workers:
        worker.step()  # up to its first request
    living = [worker for worker in run.workers if not worker.done]
    while living:
        chosen = living[choose(len(living))]
        chosen.step()
        run.views.append(server.view())
        chosen.ended_at = len(run.views) - 1
        for worker in living:
            worker.seen.append(run.views[-1])
        living = [worker for worker in (chosen, *(other for other in living if other is not chosen)) if not worker.done]
    return run


def every_order(verbs: Verbs, lives: int | None = None, switches: int = SWITCHES) -> Iterator[Run]:
    """Every order with at most so many changes from one worker to another.

    Without that bound there is no end: a promote and a discard can undo each other's tries for ever, if each request of
    the one comes between two of the other. Depth first: a run is repeated with the next choice at its last fork.
    """
    prefix: list[int] = []
    while True:
        forks: list[tuple[int, int]] = []

        def choose(living: int, prefix: list[int] = prefix, forks: list[tuple[int, int]] = forks) -> int:
            options = living if sum(choice > 0 for choice, _ in forks) < switches else 1
            choice = prefix[len(forks)] if len(forks) < len(prefix) else 0
            forks.append((choice, options))
            return choice

        yield play(verbs, lives, choose)
        while forks and forks[-1][0] + 1 >= forks[-1][1]:
            forks.pop()
        if not forks:
            return
        prefix = [*(choice for choice, _ in forks[:-1]), forks[-1][0] + 1]


def alone(work: Work) -> object:
    """Play one verb with nobody else about."""
    worker = Worker(work)
    worker.run()
    if isinstance(worker.outcome, Exception):
        raise worker.outcome
    return worker.outcome


def store() -> VaultKV2:
    return VaultKV2(SETTINGS, resolver(environ={}))


def prepared() -> KV2:
    """CURRENT is old, PENDING is new, PREVIOUS is older."""
    Client.server = server = KV2()
    server.documents[MAIN] = (1, {"OPENAI_API_KEY": OLDER.reveal(), "OTHER": "kept"})
    for key, current in ((OLD, OLDER), (NEW, None)):
        staged = alone(store().stage(SECRET, key, new_token()))
        if current is not None:
            assert isinstance(staged, VersionRef)
            alone(store().promote(SECRET, staged, version(current)))
    assert server.view() == {Stage.CURRENT: "old", Stage.PENDING: "new", Stage.PREVIOUS: "older"}
    return server


@pytest.fixture(autouse=True)
def _model_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_kv2, "VaultClient", Client)


def promote(key: KeyMaterial) -> Work:
    return store().promote(SECRET, version(key), version(OLD))


def discard(key: KeyMaterial) -> Work:
    return store().discard(SECRET, version(key))


def stage(key: KeyMaterial, token: str | None = None) -> Work:
    return store().stage(SECRET, key, token or new_token())


def spend(token: str) -> Work:
    return store().spend(SECRET, token)


async def operator(server: KV2, name: str, value: str) -> None:
    await Turn()
    server.set_field(name, value)


def check_always(run: Run) -> None:
    """What holds at every instant, whoever does what."""
    gone = set()
    for view in run.views:
        assert view[Stage.CURRENT] not in gone, "a version that had left every stage is served"
        gone |= {"old", "new"} - set(view.values())
    assert run.server.documents[MAIN][1]["OTHER"] == "kept"


def check_old_is_kept(run: Run) -> None:
    assert all("old" in view.values() for view in run.views), "the key that was served is claimed by no stage"


DEATHS = [None, *range(8)]  # a promote makes seven requests, the last of which only tidies


@pytest.mark.parametrize("lives", DEATHS)
def test_a_promote_and_a_discard_of_its_version_exclude_each_other(lives: int | None) -> None:
    for run in every_order(lambda server: [promote(NEW), discard(NEW)], lives):
        check_always(run)
        check_old_is_kept(run)
        promoted, discarded = run.outcomes
        if discarded is None:
            assert promoted in (ConflictError, "died")
            assert run.views[-1][Stage.CURRENT] == "old"
        else:
            assert promoted in (None, "died")
            assert run.views[-1] == {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}


@pytest.mark.parametrize("lives", DEATHS)
def test_two_workers_promote_the_same_version(lives: int | None) -> None:
    for run in every_order(lambda server: [promote(NEW), promote(NEW)], lives):
        check_always(run)
        assert set(run.outcomes) <= {None, "died"}
        assert run.views[-1] == {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}
        check_old_is_kept(run)


@pytest.mark.parametrize("lives", DEATHS)
def test_a_rotation_and_a_rollback_exclude_each_other(lives: int | None) -> None:
    for run in every_order(lambda server: [promote(NEW), promote(OLDER)], lives):
        check_always(run)
        check_old_is_kept(run)
        assert run.outcomes in ([None, ConflictError], [ConflictError, None], ["died", None], ["died", ConflictError])
        assert run.views[-1][Stage.PREVIOUS] == "old"
        assert run.views[-1][Stage.CURRENT] == ("older" if run.outcomes[1] is None else "new")


@pytest.mark.parametrize("lives", DEATHS)
def test_a_promote_and_a_later_stage_never_serve_what_was_replaced(lives: int | None) -> None:
    for run in every_order(lambda server: [promote(NEW), stage(NEWER)], lives):
        check_always(run)
        check_old_is_kept(run)
        assert isinstance(run.outcomes[1], VersionRef)
        assert run.views[-1][Stage.PENDING] == "newer"
        assert run.views[-1][Stage.CURRENT] == ("old" if run.outcomes[0] is ConflictError else run.views[-1][Stage.CURRENT])


def staged(view: View) -> bool:
    return view.get(Stage.PENDING) == "newer"


@pytest.mark.parametrize("lives", DEATHS)
@pytest.mark.parametrize("order", [1, -1], ids=["stage dies", "spend dies"])
def test_of_a_stage_and_a_spend_of_its_token_the_first_one_stands(lives: int | None, order: int) -> None:
    token = new_token()
    for run in every_order(lambda server: [stage(NEWER, token), spend(token)][::order], lives):
        stager, spender = run.workers[::order]
        check_always(run)
        before, end = run.views[0], run.views[-1]
        assert end == {**before, Stage.PENDING: "newer" if staged(end) else "new"}
        assert spender.outcome in (None, "died")
        if spender.outcome is None:
            assert staged(run.views[spender.ended_at]) == staged(end), "staged after the spend was back"
        if stager.outcome != "died":
            assert isinstance(stager.outcome, VersionRef if staged(end) else ConflictError)
        Client.server = run.server
        alone(spend(token))
        for key in (NEW, OLD) if staged(end) else (NEWER, NEW, OLD):
            with pytest.raises(ConflictError):
                alone(stage(key, token))
        if staged(end):
            alone(stage(NEWER, token))
        assert run.server.view() == end


@pytest.mark.parametrize("lives", DEATHS)
def test_a_promote_goes_through_beside_a_spend(lives: int | None) -> None:
    token = new_token()
    for run in every_order(lambda server: [promote(NEW), spend(token)], lives):
        check_always(run)
        check_old_is_kept(run)
        assert run.outcomes in ([None, None], ["died", None])
        served = {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}
        not_yet = {Stage.CURRENT: "old", Stage.PENDING: "new", Stage.PREVIOUS: "older"}
        assert run.views[-1] == served if run.outcomes[0] is None else run.views[-1] in (served, not_yet)
        assert all(view in (served, not_yet) for view in run.views)
        Client.server = run.server
        with pytest.raises(ConflictError):
            alone(stage(NEWER, token))
        alone(promote(NEW))
        assert run.server.view() == served


@pytest.mark.parametrize("lives", DEATHS)
def test_a_spend_that_dies_beside_a_promote_harms_nothing(lives: int | None) -> None:
    for run in every_order(lambda server: [spend(new_token()), promote(NEW)], lives):
        check_always(run)
        check_old_is_kept(run)
        assert run.outcomes in ([None, None], ["died", None])
        assert run.views[-1] == {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}


def test_a_discard_keeps_a_promote_out_also_beside_a_spend() -> None:
    token = new_token()
    for run in every_order(lambda server: [promote(NEW), spend(token), discard(NEW)], switches=3):
        check_always(run)
        check_old_is_kept(run)
        promoted, spent, discarded = run.outcomes
        assert spent is None
        assert {promoted, discarded} == {None, ConflictError}
        assert run.views[-1][Stage.CURRENT] == ("old" if discarded is None else "new")


@pytest.mark.parametrize("lives", DEATHS)
@pytest.mark.parametrize("value", [OLD, OLDER, new_key()], ids=["back", "further back", "theirs"])
def test_a_spend_hides_no_key_whatever_an_operator_makes_of_the_value(value: KeyMaterial, lives: int | None) -> None:
    """After a promote that died, or did not: the second document says what it would say without the spend."""

    def changed(server: KV2) -> Work:
        Worker(promote(NEW), lives).run()
        return operator(server, "OPENAI_API_KEY", value.reveal())

    (plain,) = every_order(lambda server: [changed(server)])
    for run in every_order(lambda server: [changed(server), spend(new_token())]):
        assert run.outcomes == [None, None]
        assert run.views[-1] == plain.views[-1]


@pytest.mark.parametrize("lives", DEATHS)
def test_two_tokens_spent_at_once_are_both_spent(lives: int | None) -> None:
    tokens = new_token(), new_token()
    for run in every_order(lambda server: [spend(token) for token in tokens], lives):
        assert run.outcomes in ([None, None], ["died", None])
        Client.server = run.server
        for token in tokens if run.outcomes[0] is None else tokens[1:]:
            with pytest.raises(ConflictError):
                alone(stage(NEWER, token))
        assert run.views[-1] == run.views[0]


def test_the_last_fifty_tokens_are_remembered_and_the_one_before_is_not() -> None:
    prepared()
    tokens = sorted((new_token() for _ in range(51)), reverse=True)  # the newest is the first in the alphabet
    for token in tokens:
        alone(spend(token))
    for token in tokens[1:]:
        with pytest.raises(ConflictError):
            alone(stage(NEWER, token))
    assert isinstance(alone(stage(NEWER, tokens[0])), VersionRef)


@pytest.mark.parametrize("lives", DEATHS)
def test_whoever_comes_after_a_death_finishes_the_rotation(lives: int | None) -> None:
    for run in every_order(lambda server: [promote(NEW)], lives):
        Client.server = run.server
        alone(promote(NEW))
        assert run.server.view() == {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}
        assert "displaced" not in run.server.documents[BESIDE][1]


@pytest.mark.parametrize("lives", DEATHS)
def test_whoever_comes_after_a_death_may_give_the_rotation_up(lives: int | None) -> None:
    for run in every_order(lambda server: [promote(NEW)], lives):
        Client.server = run.server
        if run.server.view()[Stage.CURRENT] == "old":
            alone(discard(NEW))
            assert run.server.view() == {Stage.CURRENT: "old", Stage.PREVIOUS: "older"}


def test_a_discard_of_previous_leaves_a_promote_alone() -> None:
    for run in every_order(lambda server: [promote(NEW), discard(OLDER)]):
        check_always(run)
        assert run.outcomes == [None, None]
        assert run.views[-1] == {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}
        check_old_is_kept(run)


def test_an_operator_who_changes_a_neighbour_loses_nothing() -> None:
    for run in every_order(lambda server: [promote(NEW), operator(server, "NEIGHBOUR", "changed")]):
        check_always(run)
        assert run.outcomes == [None, None]
        fields = run.server.documents[MAIN][1]
        assert fields == {"OPENAI_API_KEY": NEW.reveal(), "OTHER": "kept", "NEIGHBOUR": "changed"}


def test_an_operator_who_changes_the_value_is_never_overwritten() -> None:
    theirs = new_key()
    for run in every_order(lambda server: [promote(NEW), operator(server, "OPENAI_API_KEY", theirs.reveal())]):
        assert run.views[-1][Stage.CURRENT] == "theirs"
        check_old_is_kept(run) if run.outcomes[0] is None else None


@pytest.mark.parametrize("other", [promote, discard])
def test_what_a_reader_sees_was_so_at_one_instant(other: Callable[[KeyMaterial], Work]) -> None:
    for run in every_order(lambda server: [other(NEW), store().stages(SECRET)]):
        seen = run.workers[1].outcome
        assert isinstance(seen, Mapping)
        named = {stage: NAMES[version.fingerprint] for stage, version in seen.items()}
        assert named in [run.views[0], *run.workers[1].seen]


def test_many_at_once_in_random_orders() -> None:
    for seed in range(400):
        chance = random.Random(seed)
        run = play(
            lambda server: [
                promote(NEW),
                promote(NEW),
                discard(NEW),
                promote(OLDER),
                stage(NEWER),
                spend(new_token()),
            ],
            chance.choice(DEATHS),
            chance.randrange,
        )
        check_always(run)
        check_old_is_kept(run)
        assert set(map(str, run.outcomes[:4])) <= {"None", "died", str(ConflictError)}
