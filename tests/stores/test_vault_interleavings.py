"""The Vault store's promises in every order in which two workers' requests can arrive, and with a death after each.

The server here is a model of KV v2 that takes one request at a time; the store is the real one. tests/stores/
test_vault_kv2.py shows that a real server behaves like the model.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from keyturn.errors import ConflictError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage, VersionRef
from keyturn.references import resolver
from keyturn.stores import vault_kv2
from keyturn.stores.vault_kv2 import VaultKV2
from keyturn.testing.store_scene import new_key, new_token
from keyturn.vault.answer import Answer
from tests.stores.orders import DIED, Once, Scene, Turn, Work, Worker, alone, every_order, play

SECRET = SecretRef("vault", "litellm/providers", "OPENAI_API_KEY")
MAIN = "secret/data/litellm/providers"
BESIDE = "secret/data/keyturn/litellm/providers/OPENAI_API_KEY"
SETTINGS = VaultKV2.Settings.model_validate(
    {"address": "http://127.0.0.1:8200", "auth": {"method": "token", "token": "env:UNUSED"}}
)
SWITCHES = 4
REQUESTS = 6  # of a promote; the last one only tidies
View = Mapping[Stage, str]  # stage -> name of the key

KEYS = {name: new_key() for name in ("old", "new", "newer", "older")}
OLD, NEW, NEWER, OLDER = KEYS.values()
NAMES = {key.reveal(): name for name, key in KEYS.items()}
FINGERPRINTS = {name: key.fingerprint() for name, key in KEYS.items()}
TOKENS = {key.fingerprint(): new_token() for key in KEYS.values()}


def name_of(key: KeyMaterial) -> str:
    return NAMES[key.reveal()]


def version(key: KeyMaterial) -> VersionRef:
    """As it was staged in the beginning."""
    return VersionRef(TOKENS[key.fingerprint()], key.fingerprint())


class KV2:
    """KV v2, as far as the store uses it: numbered documents, and writes that name the number they replace.

    What is read has its names sorted, as Vault does it.
    """

    def __init__(self, documents: Mapping[str, tuple[int, dict[str, Any]]] | None = None) -> None:
        self.documents = dict(documents or {})
        self._view: View | None = None  # until something is written

    def answer(self, method: str, path: str, body: Any) -> Answer:
        if path.startswith("sys/internal/ui/mounts/"):
            return Answer(200, {"data": {"type": "kv", "options": {"version": "2"}}})
        if "/metadata/" in path:
            return Answer(204, {})
        number, fields = self.documents.get(path, (0, {}))
        if method == "GET":
            return Answer(200, {"data": {"data": fields, "metadata": {"version": number}}}) if number else Answer(404, {})
        if body["options"]["cas"] != number:
            return Answer(400, {})
        self._view = None
        self.documents[path] = (number + 1, json.loads(json.dumps(body["data"], sort_keys=True)))
        return Answer(200, {"data": {"version": number + 1}})

    @property
    def state(self) -> Hashable:
        """What the next one finds who comes alone. For him it does not matter how often something was written."""
        return json.dumps([fields for _, fields in self.documents.values()])

    def set_field(self, name: str, value: str) -> None:
        number, fields = self.documents[MAIN]
        self.documents[MAIN] = (number + 1, {**fields, name: value})
        self._view = None

    def view(self) -> View:
        """What stands where at this instant."""
        if self._view is None:
            self._view = self._look()
        return self._view

    def _look(self) -> View:
        """By the rule in the store's docstring."""
        current = self.documents[MAIN][1]["OPENAI_API_KEY"]
        beside = self.documents[BESIDE][1]
        value = {slot: beside[slot]["value"] for slot in ("pending", "previous", "displaced") if slot in beside}
        if value.get("displaced", current) != current:
            value["previous"] = value["displaced"]
        stages = {Stage.CURRENT: current, Stage.PENDING: value.get("pending"), Stage.PREVIOUS: value.get("previous")}
        return {
            stage: NAMES.get(text, "theirs")
            for stage, text in stages.items()
            if text is not None and (stage is Stage.CURRENT or text != current)
        }


class Client:
    """In the place of VaultClient: waits for its turn before each request."""

    server: KV2

    def __init__(self, settings: object, resolve: object) -> None:
        self.server = Client.server

    async def request(self, method: str, path: str, body: Any = None, headers: object = None) -> Answer:
        await Turn()
        return self.server.answer(method, path, body)


@dataclass
class Run(Scene):
    """One order of requests, played out. `views`: before the first request, and after each."""

    server: KV2 = field(default_factory=KV2)
    views: list[View] = field(default_factory=list)

    def moved(self) -> None:
        self.views.append(self.server.view())

    def since(self, worker: Worker) -> list[View]:
        """From the moment at which it came back."""
        return self.views[worker.ended_at :]

    def until(self, worker: Worker) -> list[View]:
        return self.views[: worker.ended_at + 1]


Verbs = Callable[[KV2], Sequence[Work]]


def scene(verbs: Verbs) -> Run:
    server = prepared()
    return Run(list(verbs(server)), server=server, views=[server.view()])


def orders(verbs: Verbs, mortal: Collection[int] = (), switches: int = SWITCHES, alike: bool = False) -> Iterator[Run]:
    for run in every_order(lambda: scene(verbs), switches, mortal, alike):
        Client.server = run.server  # whatever comes after is played there
        yield run


def store() -> VaultKV2:
    return VaultKV2(SETTINGS, resolver(environ={}))


@functools.cache
def start() -> Mapping[str, tuple[int, dict[str, Any]]]:
    Client.server = server = KV2()
    server.documents[MAIN] = (1, {"OPENAI_API_KEY": OLDER.reveal(), "OTHER": "kept"})
    for key, current in ((OLD, OLDER), (NEW, None)):
        staged = alone(store().stage(SECRET, key, TOKENS[key.fingerprint()]))
        if current is not None:
            alone(store().promote(SECRET, staged, version(current)))
    assert server.view() == {Stage.CURRENT: "old", Stage.PENDING: "new", Stage.PREVIOUS: "older"}
    return server.documents


def prepared() -> KV2:
    """CURRENT is old, PENDING is new, PREVIOUS is older."""
    Client.server = KV2(start())
    return Client.server


@pytest.fixture(autouse=True)
def _model_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_kv2, "VaultClient", Client)


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


async def operator(server: KV2, name: str, value: str) -> None:
    await Turn()
    server.set_field(name, value)


def check_always(run: Run) -> None:
    """What holds at every instant, whoever does what."""
    gone: set[str] = set()
    for view in run.views:
        assert view[Stage.CURRENT] not in gone, "a version that had left every stage is served"
        gone |= {"old", "new"} - set(view.values())
    assert run.server.documents[MAIN][1]["OTHER"] == "kept"


def check_old_is_kept(run: Run) -> None:
    assert all("old" in view.values() for view in run.views), "the key that was served is claimed by no stage"


START: View = {Stage.CURRENT: "old", Stage.PENDING: "new", Stage.PREVIOUS: "older"}
PROMOTED: View = {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}


def test_a_promote_and_a_discard_of_its_version_exclude_each_other() -> None:
    for run in orders(lambda server: [promote(NEW), discard(NEW)], mortal=[0]):
        check_always(run)
        check_old_is_kept(run)
        promoted, discarded = run.outcomes
        if discarded is None:
            assert promoted in (ConflictError, DIED)
            assert run.views[-1][Stage.CURRENT] == "old"
        else:
            assert promoted in (None, DIED)
            assert run.views[-1] == PROMOTED


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
        assert run.views[-1][Stage.CURRENT] == ("old" if run.outcomes[0] is ConflictError else run.views[-1][Stage.CURRENT])


def staged(view: View) -> bool:
    return view.get(Stage.PENDING) == "newer"


def test_of_a_stage_and_a_spend_of_its_token_the_first_one_stands() -> None:
    token = new_token()
    for run in orders(lambda server: [stage(NEWER, token), spend(token)], mortal=[0, 1]):
        stager, spender = run.workers
        check_always(run)
        end = run.views[-1]
        assert end == {**START, Stage.PENDING: "newer" if staged(end) else "new"}
        assert spender.outcome in (None, DIED)
        if spender.outcome is None:
            assert staged(run.since(spender)[0]) == staged(end), "staged after the spend was back"
        if stager.outcome != DIED:
            assert isinstance(stager.outcome, VersionRef if staged(end) else ConflictError)
        alone(spend(token))
        for key in (NEW, OLD) if staged(end) else (NEWER, NEW, OLD):
            with pytest.raises(ConflictError):
                alone(stage(key, token))
        if staged(end):
            alone(stage(NEWER, token))
        assert run.server.view() == end


def test_a_promote_goes_through_beside_a_spend() -> None:
    token = new_token()
    for run in orders(lambda server: [promote(NEW), spend(token)], mortal=[0, 1]):
        check_always(run)
        check_old_is_kept(run)
        promoted, spent = run.outcomes
        assert run.outcomes in ([None, None], [DIED, None], [None, DIED])
        assert run.views[-1] == PROMOTED if promoted is None else run.views[-1] in (PROMOTED, START)
        assert all(view in (PROMOTED, START) for view in run.views)
        if spent is None:
            with pytest.raises(ConflictError):
                alone(stage(NEWER, token))
        alone(promote(NEW))
        assert run.server.view() == PROMOTED


def test_a_discard_keeps_a_promote_out_also_beside_a_spend() -> None:
    token = new_token()
    for run in orders(lambda server: [promote(NEW), spend(token), discard(NEW)], switches=3):
        check_always(run)
        check_old_is_kept(run)
        promoted, spent, discarded = run.outcomes
        assert spent is None
        assert {promoted, discarded} == {None, ConflictError}
        assert run.views[-1][Stage.CURRENT] == ("old" if discarded is None else "new")


def changed_by_hand(server: KV2, requests: int, value: KeyMaterial) -> Work:
    """After a promote that died, or did not."""
    Worker(promote(NEW)).go(requests)
    return operator(server, "OPENAI_API_KEY", value.reveal())


def ends_after_a_promote(value: KeyMaterial) -> list[View]:
    """What stands where after so many requests of it, and that change."""
    ends = []
    for requests in range(REQUESTS + 1):
        server = prepared()
        alone(changed_by_hand(server, requests, value))
        ends.append(server.view())
    return ends


@pytest.mark.parametrize("value", [OLD, OLDER, new_key()], ids=["back", "further back", "theirs"])
def test_a_spend_hides_no_key_whatever_an_operator_makes_of_the_value(value: KeyMaterial) -> None:
    """The second document says what it would say without it."""
    for requests, end in enumerate(ends_after_a_promote(value)):
        for run in orders(lambda server: [changed_by_hand(server, requests, value), spend(new_token())]):  # noqa: B023
            assert run.outcomes == [None, None]
            assert run.views[-1] == end


def test_two_tokens_spent_at_once_are_both_spent() -> None:
    tokens = new_token(), new_token()
    for run in orders(lambda server: [spend(token) for token in tokens], mortal=[0, 1], alike=True):
        for token, spent in zip(tokens, run.outcomes, strict=True):
            assert spent in (None, DIED)
            if spent is None:
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


# Versions that are barred.


def is_refused(key: KeyMaterial, replacing: KeyMaterial = OLD) -> bool:
    with pytest.raises(ConflictError):
        alone(promote(key, replacing))
    return True


def check_it_stays_barred(run: Run, key: KeyMaterial) -> None:
    """Whatever else happens. Plays on at the run's server, where CURRENT is old."""
    assert is_refused(key)
    alone(spend(new_token()))
    alone(stage(NEWER))
    assert is_refused(key)
    if name_of(key) in run.server.view().values():
        assert alone(store().read(SECRET, version(key))) == key
    alone(stage(key))
    assert is_refused(key)
    Worker(promote(NEWER)).go(REQUESTS - 2)  # dies before its pivot
    alone(discard(key))
    assert name_of(key) not in run.server.view().values()
    assert is_refused(key)


@pytest.mark.parametrize("key", [NEW, OLDER], ids=["pending", "previous"])
def test_a_promote_and_a_bar_of_its_version_exclude_each_other(key: KeyMaterial) -> None:
    once = Once()
    for run in orders(lambda server: [promote(key), bar(key)], mortal=[0, 1]):
        check_always(run)
        check_old_is_kept(run)
        _, barrer = run.workers
        promoted, barred = run.outcomes
        end = run.views[-1]
        if barred is None:
            assert promoted in (ConflictError, DIED)
            assert all(view == START for view in run.since(barrer))
        elif barred is ConflictError:
            assert promoted in (None, DIED)
            assert end[Stage.CURRENT] == name_of(key)
        else:
            assert promoted in (None, ConflictError)
            assert end[Stage.CURRENT] == ("old" if promoted else name_of(key))
        if end[Stage.CURRENT] == "old":
            assert end == START
            if once(run.server.state):
                alone(bar(key))
                check_it_stays_barred(run, key)
        else:
            with pytest.raises(ConflictError):
                alone(bar(key))


def test_a_bar_of_previous_leaves_a_promote_alone() -> None:
    once = Once()
    for run in orders(lambda server: [promote(NEW), bar(OLDER)], mortal=[0, 1]):
        check_always(run)
        check_old_is_kept(run)
        promoted, barred = run.outcomes
        assert {promoted, barred} <= {None, DIED}
        assert run.views[-1] == PROMOTED if promoted is None else run.views[-1] in (START, PROMOTED)
        if not once(run.server.state, barred):
            continue
        if barred is None and run.views[-1] == START:
            check_it_stays_barred(run, OLDER)
        elif run.views[-1] == PROMOTED:
            alone(promote(OLD, NEW))


def test_a_barred_value_that_is_staged_meanwhile_is_barred_too() -> None:
    for run in orders(lambda server: [stage(OLDER), bar(OLDER)], mortal=[0, 1]):
        check_always(run)
        assert run.outcomes[1] in (None, DIED)
        assert run.views[-1] in (START, {**START, Stage.PENDING: "older"})
        if run.outcomes[1] is None:
            assert is_refused(OLDER)
            alone(stage(OLDER))
            assert is_refused(OLDER)
            assert run.server.view() == {**START, Stage.PENDING: "older"}


def test_two_values_barred_at_once_are_both_barred() -> None:
    once = Once()
    for run in orders(lambda server: [bar(NEW), bar(OLDER)], mortal=[0, 1]):
        assert run.views[-1] == START
        assert {*run.outcomes} <= {None, DIED}
        if not once(run.server.state, *run.outcomes):
            continue
        for key, outcome in zip((NEW, OLDER), run.outcomes, strict=True):
            assert outcome == DIED or is_refused(key)
        for key in (NEW, OLDER):
            alone(bar(key))
        assert is_refused(NEW)
        check_it_stays_barred(run, OLDER)


@pytest.mark.parametrize("key", [NEW, OLDER], ids=["pending", "previous"])
@pytest.mark.parametrize("third", [spend, stage, discard])
def test_a_bar_keeps_a_promote_out_whoever_else_is_about(third: Callable[..., Work], key: KeyMaterial) -> None:
    """A spend, somebody who stages that value again, somebody who discards it."""
    token = new_token()
    argument = token if third is spend else key
    for run in orders(lambda server: [promote(key), bar(key), third(argument)], switches=2):
        check_always(run)
        check_old_is_kept(run)
        promoted, barred, _ = run.outcomes
        assert promoted in (None, ConflictError)
        if promoted is None:
            assert run.views[-1][Stage.CURRENT] == name_of(key)
            assert barred in (ConflictError, None)
            assert barred or third is not spend, "quiet, and yet it was held all the time"
        else:
            assert run.views[-1][Stage.CURRENT] == "old"
            assert barred is None
            assert third is discard or is_refused(key)


def test_a_bar_that_is_back_is_followed_by_no_promote_whoever_else_is_about() -> None:
    for run in orders(lambda server: [promote(OLDER), bar(OLDER), promote(NEW)], switches=2):
        check_always(run)
        check_old_is_kept(run)
        promoted, barred, other = run.outcomes
        assert barred is (ConflictError if promoted is None else None)
        assert {promoted, other} == {None, ConflictError}


@pytest.mark.parametrize("requests", range(REQUESTS + 1))
def test_a_promote_that_displaces_a_barred_value_frees_it(requests: int) -> None:
    """A person has put it back. Before the promote has happened it is CURRENT, and after it the way back."""
    server = prepared()
    alone(bar(OLDER))
    server.set_field("OPENAI_API_KEY", OLDER.reveal())
    Worker(promote(NEW, OLDER)).go(requests)
    if server.view()[Stage.CURRENT] == "older":
        with pytest.raises(ConflictError):
            alone(bar(OLDER))
        alone(spend(new_token()))
        alone(promote(NEW, OLDER))
    assert server.view() == {Stage.CURRENT: "new", Stage.PREVIOUS: "older"}
    alone(promote(OLDER, NEW))
    alone(promote(NEW, OLDER))
    alone(bar(OLDER))
    assert is_refused(OLDER, NEW)


@pytest.mark.parametrize("requests", range(REQUESTS + 1))
def test_a_promote_that_dies_over_a_barred_value_frees_nothing_for_those_that_come_between(requests: int) -> None:
    """It had been made CURRENT by hand, and a stage makes the promote begin anew; then the hand takes it away again."""
    server = prepared()
    alone(bar(OLDER))
    server.set_field("OPENAI_API_KEY", OLDER.reveal())
    Worker(promote(NEW, OLDER)).go(requests)
    if server.view()[Stage.CURRENT] == "older":
        alone(stage(NEWER))
        server.set_field("OPENAI_API_KEY", OLD.reveal())
        assert server.view() == {Stage.CURRENT: "old", Stage.PENDING: "newer", Stage.PREVIOUS: "older"}
        assert is_refused(OLDER)


@pytest.mark.parametrize("value", [OLD, OLDER, new_key()], ids=["back", "further back", "theirs"])
def test_a_bar_hides_no_key_whatever_an_operator_makes_of_the_value(value: KeyMaterial) -> None:
    """As a spend; but it tidies where the promote has only that left to do."""
    plain = ends_after_a_promote(value)
    for requests, end in enumerate(plain):
        for key in (NEW, OLDER, OLD):
            for run in orders(lambda server: [changed_by_hand(server, requests, value), bar(key)]):  # noqa: B023
                assert run.outcomes in ([None, None], [None, ConflictError])
                assert run.views[-1] in ([end, plain[REQUESTS]] if requests == REQUESTS - 1 else [end])


def test_a_second_document_from_before_there_were_bars_is_read() -> None:
    server = prepared()
    number, fields = server.documents[BESIDE]
    server.documents[BESIDE] = (number, {name: value for name, value in fields.items() if name != "barred"})
    assert {stage: version.fingerprint for stage, version in alone(store().stages(SECRET)).items()} == {
        Stage.CURRENT: OLD.fingerprint(),
        Stage.PENDING: NEW.fingerprint(),
        Stage.PREVIOUS: OLDER.fingerprint(),
    }
    alone(bar(OLDER))
    assert is_refused(OLDER)


def test_a_bar_says_no_more_than_fingerprints_and_forgets_what_no_stage_holds() -> None:
    server = prepared()
    for key in (NEW, OLDER):
        alone(bar(key))
    assert server.documents[BESIDE][1]["barred"] == sorted([NEW.fingerprint(), OLDER.fingerprint()])
    alone(stage(NEWER))
    alone(bar(NEWER))
    assert server.documents[BESIDE][1]["barred"] == sorted([NEWER.fingerprint(), OLDER.fingerprint()])


# A value that is not there yet.


def create(key: KeyMaterial, field: str = "ADDED", path: str = SECRET.path) -> Work:
    return store().create(replace(SECRET, path=path, field=field), key)


@pytest.mark.parametrize(("path", "other"), [(SECRET.path, "kept"), ("litellm/absent", None)], ids=["in a bundle", "alone"])
def test_of_two_who_create_a_value_one_wins(path: str, other: str | None) -> None:
    for run in orders(lambda server: [create(NEW, path=path), create(NEWER, path=path)], mortal=[0, 1]):
        _, made = run.server.documents.get(f"secret/data/{path}", (0, {}))
        assert made.get("OTHER") == other
        winner = NAMES.get(made.get("ADDED", ""))
        for name, outcome in zip(("new", "newer"), run.outcomes, strict=True):
            if outcome == DIED:
                continue
            assert isinstance(outcome, VersionRef) == (winner == name)
            assert winner == name or outcome is ConflictError
        assert winner or DIED in run.outcomes


def test_values_that_are_created_at_once_are_all_there() -> None:
    def verbs(server: KV2) -> Sequence[Work]:
        return [create(NEWER, "ONE"), create(NEW, "TWO"), operator(server, "NEIGHBOUR", "changed")]

    for run in orders(verbs, switches=3):
        made = run.server.documents[MAIN][1]
        assert made == {
            "OPENAI_API_KEY": OLD.reveal(),
            "OTHER": "kept",
            "NEIGHBOUR": "changed",
            "ONE": NEWER.reveal(),
            "TWO": NEW.reveal(),
        }


def test_a_promote_goes_through_beside_a_create() -> None:
    for run in orders(lambda server: [promote(NEW), create(NEWER)], mortal=[0]):
        check_always(run)
        check_old_is_kept(run)
        promoted, created = run.outcomes
        assert isinstance(created, VersionRef)
        assert promoted in (None, DIED)
        assert run.server.documents[MAIN][1]["ADDED"] == NEWER.reveal()
        assert promoted == DIED or run.views[-1] == PROMOTED


# After a death, and beside others.


def test_whoever_comes_after_a_death_finishes_the_rotation() -> None:
    for run in orders(lambda server: [promote(NEW)], mortal=[0]):
        alone(promote(NEW))
        assert run.server.view() == PROMOTED
        assert "displaced" not in run.server.documents[BESIDE][1]


def test_whoever_comes_after_a_death_may_give_the_rotation_up() -> None:
    for run in orders(lambda server: [promote(NEW)], mortal=[0]):
        if run.server.view()[Stage.CURRENT] == "old":
            alone(discard(NEW))
            assert run.server.view() == {Stage.CURRENT: "old", Stage.PREVIOUS: "older"}


def test_a_discard_of_previous_leaves_a_promote_alone() -> None:
    for run in orders(lambda server: [promote(NEW), discard(OLDER)]):
        check_always(run)
        assert run.outcomes == [None, None]
        assert run.views[-1] == PROMOTED
        check_old_is_kept(run)


def test_two_discards_at_once_drop_both() -> None:
    for run in orders(lambda server: [discard(NEW), discard(OLDER)]):
        assert run.outcomes == [None, None]
        assert run.views[-1] == {Stage.CURRENT: "old"}


def test_an_operator_who_changes_a_neighbour_loses_nothing() -> None:
    for run in orders(lambda server: [promote(NEW), operator(server, "NEIGHBOUR", "changed")]):
        check_always(run)
        assert run.outcomes == [None, None]
        fields = run.server.documents[MAIN][1]
        assert fields == {"OPENAI_API_KEY": NEW.reveal(), "OTHER": "kept", "NEIGHBOUR": "changed"}


def test_an_operator_who_changes_the_value_is_never_overwritten() -> None:
    theirs = new_key()
    for run in orders(lambda server: [promote(NEW), operator(server, "OPENAI_API_KEY", theirs.reveal())]):
        assert run.views[-1][Stage.CURRENT] == "theirs"
        check_old_is_kept(run) if run.outcomes[0] is None else None


@pytest.mark.parametrize("other", [promote, discard, bar])
def test_what_a_reader_sees_was_so_at_one_instant(other: Callable[[KeyMaterial], Work]) -> None:
    for run in orders(lambda server: [other(NEW), store().stages(SECRET)]):
        reader = run.workers[1]
        assert isinstance(reader.outcome, Mapping)
        seen = {stage: version.fingerprint for stage, version in reader.outcome.items()}
        assert seen in [{stage: FINGERPRINTS[name] for stage, name in view.items()} for view in run.until(reader)]


def test_many_at_once_in_random_orders() -> None:
    for seed in range(400):
        chance = random.Random(seed)
        restless = chance.random()

        def choose(options: int, chance: random.Random = chance, restless: float = restless) -> int:
            return chance.randrange(options) if chance.random() < restless else 0

        def works(server: KV2) -> Sequence[Work]:
            verbs = [promote(NEW), promote(NEW), discard(NEW), promote(OLDER), bar(OLDER), stage(NEWER)]
            return [*verbs, spend(new_token())]

        run = play(scene(works), choose, mortal=range(seed % 3))
        check_always(run)
        check_old_is_kept(run)
        assert set(map(str, run.outcomes[:5])) <= {"None", DIED, str(ConflictError)}
        barrer = run.workers[4]
        served = [view[Stage.CURRENT] for view in run.since(barrer)]
        assert barrer.outcome is not None or "older" not in served or "older" not in run.until(barrer)[-1].values()
