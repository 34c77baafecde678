"""The AWS store's promises in every order in which two workers' calls can arrive, and with a death after each.

The AWS here is a model of versions and labels that takes one call at a time; the store is the real one. tests/stores/
test_aws_secrets_manager.py runs it against the double, and tests/testing/test_aws_double.py shows what the double does.
"""

from __future__ import annotations

import functools
import itertools
import json
import uuid
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest

from keyturn.errors import ConflictError, NotFoundError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage, VersionRef
from keyturn.references import resolver
from keyturn.stores import aws_secrets_manager
from keyturn.stores.aws_secrets_manager import AWSSecretsManager
from keyturn.testing.store_scene import new_key, new_token
from tests.stores.orders import DIED, Once, Scene, Turn, Work, Worker, alone, dying, every_order

WHOLE = SecretRef("aws", "prod/openai/api_key")
FIELD = SecretRef("aws", "prod/providers", "OPENAI_API_KEY")
SETTINGS = AWSSecretsManager.Settings(region="us-east-1")
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod-abcdef"
SWITCHES = 3

KEYS = {name: new_key() for name in ("older", "old", "new", "newer", "theirs")}
OLDER, OLD, NEW, NEWER, THEIRS = KEYS.values()
NAMES = {key.reveal(): name for name, key in KEYS.items()}
FINGERPRINTS = {key.fingerprint(): name for name, key in KEYS.items()}
TOKENS = {key.fingerprint(): new_token() for key in KEYS.values()}

View = Mapping[Stage, str]  # stage -> name of the key


@dataclass
class Model:
    """One secret at AWS. `served`: every version that was AWSCURRENT, in order."""

    secret: SecretRef
    versions: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    served: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    @property
    def state(self) -> Hashable:
        """What a version says follows from its id."""
        return frozenset(self.versions), frozenset(self.labels.items())

    def copy(self) -> Model:
        return Model(self.secret, dict(self.versions), dict(self.labels), list(self.served))

    def store(self) -> AWSSecretsManager:
        store = AWSSecretsManager(SETTINGS, resolver(environ={}))
        store._client.call = self.call  # type: ignore[method-assign]
        return store

    async def call(self, operation: str, secret: SecretRef, unless: Collection[str] = (), **given: Any) -> Any:
        self.calls.append(f"{operation} {sorted(given.items())}")
        # What a version says never changes: it is the same whether it is asked before or after another worker's call.
        if given.get("VersionId") not in self.versions:
            await Turn()
        code, answer = getattr(self, operation)(**given)
        if code and code not in unless:
            raise NotFoundError("not there") if code == "ResourceNotFoundException" else ConflictError(code)
        return None if code else answer

    def DescribeSecret(self) -> tuple[str, Any]:
        stages: dict[str, list[str]] = {}
        for label, name in self.labels.items():
            stages.setdefault(name, []).append(label)
        return "", {"ARN": ARN, "VersionIdsToStages": stages}

    def GetSecretValue(self, VersionId: str = "", VersionStage: str = "") -> tuple[str, Any]:
        name = VersionId or self.labels.get(VersionStage, "")
        if name not in self.versions:
            return "ResourceNotFoundException", None
        return "", {"ARN": ARN, "VersionId": name, "SecretString": self.versions[name]}

    def PutSecretValue(self, SecretString: str, ClientRequestToken: str, VersionStages: list[str]) -> tuple[str, Any]:
        if self.versions.get(ClientRequestToken, SecretString) != SecretString:
            return "ResourceExistsException", None
        if ClientRequestToken not in self.versions:
            self.versions[ClientRequestToken] = SecretString
            for label in VersionStages:
                self.attach(label, ClientRequestToken)
        return "", {"ARN": ARN, "VersionStages": [label for label, at in self.labels.items() if at == ClientRequestToken]}

    def UpdateSecretVersionStage(
        self, VersionStage: str, RemoveFromVersionId: str | None = None, MoveToVersionId: str | None = None
    ) -> tuple[str, Any]:
        if self.labels.get(VersionStage) != RemoveFromVersionId:
            return "InvalidParameterException", None
        if MoveToVersionId is None:
            del self.labels[VersionStage]
        else:
            self.attach(VersionStage, MoveToVersionId)
        return "", {}

    def attach(self, label: str, version: str) -> None:
        before = self.labels.get(label)
        self.labels[label] = version
        if label == "AWSCURRENT" and before != version:
            assert version not in self.served, "AWSCURRENT goes back to a version that it was on"
            self.served.append(version)
            if before is not None:
                self.labels["AWSPREVIOUS"] = before

    def write(self, key: KeyMaterial, field: str = "OPENAI_API_KEY") -> None:
        """Somebody's hand, in one step."""
        text, token = key.reveal(), str(uuid.uuid4())
        if self.secret.field is not None:
            before = self.versions[self.labels["AWSCURRENT"]] if self.labels else '{"OTHER": "x"}'
            text = json.dumps(json.loads(before) | {field: text})
        self.PutSecretValue(text, token, ["AWSCURRENT"])

    def consumed(self) -> str:
        text = self.versions[self.labels["AWSCURRENT"]]
        return NAMES[json.loads(text)["OPENAI_API_KEY"] if self.secret.field else text]

    def view(self) -> View:
        stages = alone(self.store().stages(self.secret))
        return {stage: FINGERPRINTS[version.fingerprint] for stage, version in stages.items()}


@dataclass
class Run(Scene):
    """One order of calls, played out. `labels`: before the first call, and after each."""

    model: Model = field(default_factory=lambda: Model(WHOLE))
    labels: list[dict[str, str]] = field(default_factory=list)

    def moved(self) -> None:
        now = self.model.labels
        self.labels.append(self.labels[-1] if self.labels[-1] == now else dict(now))

    def at(self, requests: int) -> Model:
        return Model(self.model.secret, self.model.versions, self.labels[requests])

    def since(self, worker: Worker) -> Iterator[Model]:
        """Each different moment from the one on at which it came back."""
        before: dict[str, str] | None = None
        for labels in self.labels[worker.ended_at :]:
            if labels is not before:
                yield Model(self.model.secret, self.model.versions, labels)
            before = labels


Verbs = Callable[[Model], Sequence[Work]]


def orders(
    start: Model, verbs: Verbs, mortal: Collection[int] = (), switches: int = SWITCHES, alike: bool = False
) -> Iterator[Run]:
    def begin() -> Run:
        model = start.copy()
        return Run(list(verbs(model)), model=model, labels=[dict(model.labels)])

    return every_order(begin, switches, mortal, alike)


def version(key: KeyMaterial) -> VersionRef:
    return VersionRef(TOKENS[key.fingerprint()], key.fingerprint())


@functools.cache
def _start(secret: SecretRef, pending: str | None) -> Model:
    model = Model(secret)
    model.write(OLDER)
    alone(stage(model, OLD))
    alone(promote(model, OLD, OLDER))
    if pending is not None:
        alone(stage(model, KEYS[pending]))
    return model


def staged_model(secret: SecretRef, pending: str | None = "new") -> Model:
    """CURRENT is old, PREVIOUS is older, and PENDING is new unless told otherwise."""
    return _start(secret, pending).copy()


def stage(model: Model, key: KeyMaterial, token: str | None = None) -> Work:
    work = stage_as_seen if HANDED_ON.get() else AWSSecretsManager.stage
    return work(model.store(), model.secret, key, token or TOKENS[key.fingerprint()])


def spend(model: Model, token: str) -> Work:
    return model.store().spend(model.secret, token)


def promote(model: Model, key: KeyMaterial, replacing: KeyMaterial = OLD) -> Work:
    work = promote_as_seen if HANDED_ON.get() else AWSSecretsManager.promote
    return work(model.store(), model.secret, version(key), version(replacing))


HANDED_ON: ContextVar[bool] = ContextVar("HANDED_ON", default=False)  # a step looks, and hands on what it has seen


async def stage_as_seen(store: AWSSecretsManager, secret: SecretRef, key: KeyMaterial, token: str) -> VersionRef:
    return await store.stage(secret, key, token, seen=await store.look(secret))


async def promote_as_seen(store: AWSSecretsManager, secret: SecretRef, new: VersionRef, replacing: VersionRef) -> None:
    """As the step does it: by its own look where that shows what it expects, else as it would without."""
    seen = await store.look(secret)
    if seen.stages[Stage.CURRENT] != replacing or await store.swap(secret, new, seen) is None:
        await store.promote(secret, new, replacing)


def bar(model: Model, key: KeyMaterial) -> Work:
    return model.store().bar(model.secret, version(key))


def discard(model: Model, key: KeyMaterial) -> Work:
    return model.store().discard(model.secret, version(key))


async def hand(model: Model, key: KeyMaterial, field: str = "OPENAI_API_KEY") -> None:
    await Turn()
    model.write(key, field)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(turn: int) -> None:
        pass

    monkeypatch.setattr(aws_secrets_manager, "_pause", at_once)


@pytest.fixture(autouse=True, params=[False, True], ids=["a verb looks", "a step looks"])
def _who_looks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every promise holds in both ways: a look that is handed on is the one that the verb would have begun with."""
    token = HANDED_ON.set(request.param)
    yield
    HANDED_ON.reset(token)


@pytest.fixture(params=[WHOLE, FIELD], ids=["whole", "field"])
def secret(request: pytest.FixtureRequest) -> SecretRef:
    chosen: SecretRef = request.param
    return chosen


@pytest.mark.parametrize("key", [NEW, OLDER], ids=["pending", "previous"])
def test_a_look_that_is_handed_on_changes_no_call(secret: SecretRef, key: KeyMaterial) -> None:
    """Why nothing else has to be proved of it."""
    by_verb, by_step = staged_model(secret), staged_model(secret)
    for model, handed_on in ((by_verb, False), (by_step, True)):
        HANDED_ON.set(handed_on)
        model.calls.clear()
        alone(promote(model, key))
    assert by_step.calls == by_verb.calls
    for model, handed_on in ((by_verb, False), (by_step, True)):
        HANDED_ON.set(handed_on)
        model.calls.clear()
        alone(stage(model, NEWER))
    assert by_step.calls == by_verb.calls


@pytest.mark.parametrize("key", [NEW, OLDER], ids=["pending", "previous"])
def test_what_a_swap_gives_is_what_a_look_would_show(secret: SecretRef, key: KeyMaterial) -> None:
    model = staged_model(secret)
    store = model.store()
    after = alone(store.swap(secret, version(key), alone(store.look(secret))))
    assert after.stages == alone(model.store().stages(secret))
    assert {stage: held.material for stage, held in after.held.items()} == {
        stage: KEYS[name] for stage, name in model.view().items()
    }


@pytest.mark.parametrize("what", ["bar pending", "bar previous", "discard", "hand"])
def test_a_swap_on_an_old_look_does_nothing(secret: SecretRef, what: str) -> None:
    disturb: Mapping[str, Callable[[Model], Work]] = {
        "bar pending": lambda m: bar(m, NEW),
        "bar previous": lambda m: bar(m, OLDER),
        "discard": lambda m: discard(m, NEW),
        "hand": lambda m: hand(m, THEIRS),
    }
    model = staged_model(secret)
    store = model.store()
    seen = alone(store.look(secret))
    alone(disturb[what](model))
    before = model.view()
    assert alone(store.swap(secret, version(NEW), seen)) is None
    assert model.view() == before


ONE_WINS = ([None, ConflictError], [ConflictError, None])


def test_two_workers_promote_the_same_version(secret: SecretRef) -> None:
    for run in orders(staged_model(secret), lambda m: [promote(m, NEW), promote(m, NEW)], alike=True):
        assert run.outcomes == [None, None]
        assert run.model.view() == {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}
        assert "AWSPENDING" not in run.model.labels


# Of which version, and what is PENDING beside it.
PLACES = [("new", "new"), ("older", "new"), ("older", None)]
each_place = pytest.mark.parametrize(("name", "pending"), PLACES, ids=["pending", "previous", "previous without pending"])


@each_place
def test_a_discard_that_succeeded_is_followed_by_no_promote(secret: SecretRef, name: str, pending: str | None) -> None:
    key, start = KEYS[name], staged_model(secret, pending)
    kept = {stage: other for stage, other in start.view().items() if other != name}
    for run in orders(start, lambda m: [promote(m, key), discard(m, key)]):
        assert run.outcomes in ONE_WINS
        discarded = run.outcomes[1]
        view = run.model.view()
        assert view[Stage.CURRENT] == run.model.consumed() == ("old" if discarded is None else name)
        assert name not in [view.get(Stage.PENDING), view.get(Stage.PREVIOUS)]
        assert discarded is not None or view == kept


def test_two_discards_at_once_drop_both(secret: SecretRef) -> None:
    """Also where one fence displaces AWSPREVIOUS, to put it back, while the other takes it away."""
    for run in orders(staged_model(secret), lambda m: [discard(m, NEW), discard(m, OLDER)]):
        assert run.outcomes == [None, None]
        assert run.model.view() == {Stage.CURRENT: "old"}


def test_pending_and_rollback_race_and_one_wins(secret: SecretRef) -> None:
    for run in orders(staged_model(secret), lambda m: [promote(m, NEW), promote(m, OLDER)]):
        assert run.outcomes in ONE_WINS
        view = run.model.view()
        assert view[Stage.CURRENT] == ("new" if run.outcomes[0] is None else "older")
        assert view[Stage.PREVIOUS] == "old"


def test_a_promote_that_waits_through_a_rotation_and_its_rollback_fails(secret: SecretRef) -> None:
    """CURRENT is again what it was; what was to be promoted is gone, and its key revoked."""
    for calls in itertools.count():
        model = staged_model(secret)
        waiting = Worker(promote(model, OLDER))
        waiting.go(calls)
        if model.consumed() != "old":
            break
        alone(promote(model, NEW))
        alone(bar(model, OLDER))
        alone(discard(model, OLDER))
        alone(promote(model, OLD, NEW))
        waiting.go(100)
        assert isinstance(waiting.outcome, ConflictError)
        assert model.consumed() == "old"
    assert calls > 2, "it never waited"


def test_what_a_promote_that_died_has_left_is_promoted_anew(secret: SecretRef) -> None:
    """Its AWSPENDING stays on what is CURRENT. (The model sees to it that AWSCURRENT goes back to no version.)"""
    for run in orders(staged_model(secret), lambda m: [promote(m, NEW)], mortal=[0]):
        if run.model.consumed() == "new":
            by_hand = run.model.copy()
            by_hand.write(THEIRS)
            alone(promote(by_hand, NEW, THEIRS))
            assert by_hand.view() == {Stage.CURRENT: "new", Stage.PREVIOUS: "theirs"}
            alone(bar(run.model, OLDER))  # whose fence moves AWSCURRENT off it
            alone(promote(run.model, OLD, NEW))
            assert run.model.view()[Stage.PREVIOUS] == "new"
            alone(promote(run.model, NEW, OLD))
            assert run.model.view() == {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}


def test_a_change_by_hand_is_never_overwritten(secret: SecretRef) -> None:
    for run in orders(staged_model(secret), lambda m: [promote(m, NEW), hand(m, THEIRS)]):
        assert run.outcomes[0] in (None, ConflictError)
        view = run.model.view()
        assert view[Stage.CURRENT] == "theirs"
        # A field's journal is not written after a promote, so it may take ours, which was CURRENT for a while, for PENDING
        # still. What matters is that no key is lost sight of.
        assert "old" in view.values() or run.outcomes[0] is None
        assert "new" in view.values()


def test_a_neighbour_changed_at_any_moment_is_kept() -> None:
    for run in orders(staged_model(FIELD), lambda m: [promote(m, NEW), hand(m, THEIRS, "OTHER")]):
        assert run.outcomes == [None, None]
        assert run.model.view() == {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}
        assert json.loads(run.model.versions[run.model.labels["AWSCURRENT"]])["OTHER"] == THEIRS.reveal()


def staged_as(run: Run, number: int) -> bool:
    return isinstance(run.workers[number].outcome, VersionRef)


def test_two_workers_stage_two_keys_under_one_token(secret: SecretRef) -> None:
    token = new_token()
    for run in orders(staged_model(secret, None), lambda m: [stage(m, NEW, token), stage(m, NEWER, token)]):
        assert [staged_as(run, 0), staged_as(run, 1)] in ([True, False], [False, True])
        assert ConflictError in run.outcomes
        winner = "new" if staged_as(run, 0) else "newer"
        assert run.model.view() == {Stage.CURRENT: "old", Stage.PREVIOUS: "older", Stage.PENDING: winner}


def test_staging_anew_while_a_promote_is_under_way(secret: SecretRef) -> None:
    for run in orders(staged_model(secret), lambda m: [promote(m, NEW), stage(m, NEWER)]):
        assert run.outcomes[0] in (None, ConflictError)
        assert staged_as(run, 1)
        view = run.model.view()
        assert view[Stage.PENDING] == "newer"
        now = ("new", "old") if run.outcomes[0] is None else ("old", "older")
        assert (view[Stage.CURRENT], view[Stage.PREVIOUS]) == now


def test_staging_does_not_bring_a_discarded_previous_back(secret: SecretRef) -> None:
    for run in orders(staged_model(secret, None), lambda m: [stage(m, NEW), discard(m, OLDER)]):
        assert staged_as(run, 0)
        assert run.outcomes[1] is None
        assert run.model.view() == {Stage.CURRENT: "old", Stage.PENDING: "new"}


def test_two_rotations_of_one_value_at_once(secret: SecretRef) -> None:
    async def rotation(model: Model, key: KeyMaterial) -> None:
        store = model.store()
        await store.stage(secret, key, TOKENS[key.fingerprint()])
        await store.promote(secret, version(key), version(OLD))

    for run in orders(staged_model(secret, None), lambda m: [rotation(m, NEW), rotation(m, NEWER)], alike=True):
        assert run.outcomes in ONE_WINS
        view = run.model.view()
        assert view[Stage.CURRENT] == ("new" if run.outcomes[0] is None else "newer")
        assert view[Stage.PREVIOUS] == "old"


# Tokens that are spent.


def is_spent(model: Model, token: str, *keys: KeyMaterial) -> bool:
    """Whether the token refuses each of these."""
    for key in keys:
        with pytest.raises(ConflictError):
            alone(stage(model, key, token))
    return True


def test_of_a_stage_and_a_spend_of_its_token_the_first_one_stands(secret: SecretRef) -> None:
    """Whoever is killed."""
    token, start = new_token(), {Stage.CURRENT: "old", Stage.PREVIOUS: "older"}
    verbs: Verbs = lambda m: [stage(m, NEWER, token), spend(m, token)]  # noqa: E731
    for run in orders(staged_model(secret, None), verbs, mortal=[0, 1]):
        model, (stager, spender) = run.model, run.workers
        end = model.view()
        staged = end.get(Stage.PENDING) == "newer"
        assert end == {**start, **({Stage.PENDING: "newer"} if staged else {})}
        assert spender.outcome in (None, DIED)
        assert stager.outcome == DIED or isinstance(stager.outcome, VersionRef if staged else ConflictError)
        if spender.outcome is None:
            assert run.at(spender.ended_at).view() == end, "staged after the spend was back"
        alone(spend(model, token))
        assert is_spent(model, token, NEW, OLD, OLDER, *(() if staged else (NEWER,)))
        if staged:
            alone(stage(model, NEWER, token))
        assert model.view() == end


def test_a_promote_goes_through_beside_a_spend(secret: SecretRef) -> None:
    token = new_token()
    for run in orders(staged_model(secret), lambda m: [promote(m, NEW), spend(m, token)]):
        assert run.outcomes == [None, None]
        assert run.at(run.workers[1].ended_at).consumed() in ("old", "new")
        assert is_spent(run.model, token, NEWER, NEW, OLD)
        assert run.model.view() == {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}


@pytest.mark.parametrize("name", ["new", "older"], ids=["pending", "previous"])
def test_a_discard_keeps_a_promote_out_also_beside_a_spend(secret: SecretRef, name: str) -> None:
    token, key = new_token(), KEYS[name]
    verbs: Verbs = lambda m: [promote(m, key), spend(m, token), discard(m, key)]  # noqa: E731
    for run in orders(staged_model(secret), verbs, switches=2):
        promoted, spent, discarded = run.outcomes
        assert spent is None
        assert {promoted, discarded} == {None, ConflictError}
        assert run.model.consumed() == ("old" if discarded is None else name)
        assert is_spent(run.model, token, NEWER)


@pytest.mark.parametrize("value", [OLD, OLDER, THEIRS], ids=["back", "further back", "theirs"])
@pytest.mark.parametrize("promoted", [False, True])
@pytest.mark.parametrize("what", ["spend", "bar pending", "bar previous"])
def test_a_spend_or_a_bar_hides_no_key_whatever_a_hand_makes_of_the_value(
    secret: SecretRef, what: str, value: KeyMaterial, promoted: bool
) -> None:
    """What stands beside the value says what it would say without it."""
    start = staged_model(secret)
    if promoted:
        alone(promote(start, NEW))
    plain = start.copy()
    plain.write(value)
    key = {"bar pending": NEW, "bar previous": OLD if promoted else OLDER}

    def verbs(model: Model) -> Sequence[Work]:
        return [spend(model, new_token()) if what == "spend" else bar(model, key[what]), hand(model, value)]

    for run in orders(start, verbs):
        assert run.outcomes[0] in (None, ConflictError if what != "spend" else None)
        assert run.model.view() == plain.view()


def test_two_tokens_spent_at_once_are_both_spent(secret: SecretRef) -> None:
    tokens = new_token(), new_token()
    start = staged_model(secret)
    for run in orders(start, lambda m: [spend(m, token) for token in tokens], alike=True):
        assert run.outcomes == [None, None]
        assert all(is_spent(run.model, token, NEWER) for token in tokens)
        assert run.model.view() == start.view()


def test_a_field_remembers_its_last_fifty_tokens_and_not_the_one_before() -> None:
    model, tokens = staged_model(FIELD), [new_token() for _ in range(51)]
    for token in tokens:
        alone(spend(model, token))
    assert all(is_spent(model, token, NEWER) for token in tokens[1:])
    alone(stage(model, NEWER, tokens[0]))
    assert model.view()[Stage.PENDING] == "newer"


# Versions that are barred.


def is_refused(model: Model, key: KeyMaterial, replacing: KeyMaterial = OLD) -> bool:
    with pytest.raises(ConflictError):
        alone(promote(model, key, replacing))
    return True


def check_it_stays_barred(model: Model, key: KeyMaterial) -> None:
    """Whatever else happens, where CURRENT is old."""
    assert is_refused(model, key)
    assert alone(model.store().read(model.secret, version(key))) == key
    alone(spend(model, new_token()))
    alone(stage(model, NEWER, new_token()))
    if model.secret.field:
        model.write(THEIRS, "OTHER")
    assert is_refused(model, key)
    alone(stage(model, key, new_token()))
    assert is_refused(model, key)
    Worker(promote(model, NEWER)).go(3)  # dies
    alone(discard(model, key))
    assert FINGERPRINTS[key.fingerprint()] not in model.view().values()
    assert is_refused(model, key)


@each_place
def test_a_promote_and_a_bar_of_its_version_exclude_each_other(secret: SecretRef, name: str, pending: str | None) -> None:
    key, start, once = KEYS[name], staged_model(secret, pending), Once()
    before = start.view()
    for run in orders(start, lambda m: [promote(m, key), bar(m, key)], mortal=[0, 1]):
        promoted, barred = run.outcomes
        view, barrer = run.model.view(), run.workers[1]
        if barred is None:
            assert promoted in (ConflictError, DIED)
            assert all(moment.view() == before for moment in run.since(barrer) if once(moment.state))
        elif barred is ConflictError:
            assert promoted in (None, DIED)
            assert view[Stage.CURRENT] == name
        else:
            assert promoted in (None, ConflictError)
            assert view[Stage.CURRENT] == ("old" if promoted else name)
        if view[Stage.CURRENT] == "old":
            assert view == before, "it can be read at every instant, whoever dies"
            if not once(run.model.state, barred):
                continue
            alone(bar(run.model, key))
            check_it_stays_barred(run.model, key)
        else:
            with pytest.raises(ConflictError):
                alone(bar(run.model, key))


def test_a_bar_of_previous_leaves_a_promote_alone(secret: SecretRef) -> None:
    start, once = staged_model(secret), Once()
    before, after = start.view(), {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}
    for run in orders(start, lambda m: [promote(m, NEW), bar(m, OLDER)], mortal=[0, 1]):
        promoted, barred = run.outcomes
        assert {promoted, barred} <= {None, DIED}
        if not once(run.model.state, *run.outcomes):
            continue
        view = run.model.view()
        assert view == after if promoted is None else view in (before, after)
        if view == after:
            alone(promote(run.model, OLD, NEW))
        elif barred is None:
            check_it_stays_barred(run.model, OLDER)


def test_a_barred_value_that_is_staged_meanwhile_is_barred_too(secret: SecretRef) -> None:
    start = staged_model(secret)
    before = start.view()
    for run in orders(start, lambda m: [stage(m, OLDER, new_token()), bar(m, OLDER)], mortal=[0, 1]):
        assert run.outcomes[1] in (None, DIED)
        assert run.model.view() in (before, {**before, Stage.PENDING: "older"})
        if run.outcomes[1] is None:
            assert is_refused(run.model, OLDER)
            alone(stage(run.model, OLDER, new_token()))
            assert is_refused(run.model, OLDER)


def test_two_values_barred_at_once_are_both_barred(secret: SecretRef) -> None:
    start, once = staged_model(secret), Once()
    before = start.view()
    for run in orders(start, lambda m: [bar(m, NEW), bar(m, OLDER)], mortal=[0, 1], switches=2):
        assert {*run.outcomes} <= {None, DIED}
        if not once(run.model.state, *run.outcomes):
            continue
        assert run.model.view() == before
        for key, outcome in zip((NEW, OLDER), run.outcomes, strict=True):
            assert outcome == DIED or is_refused(run.model, key)
        for key in (NEW, OLDER):
            alone(bar(run.model, key))
        assert is_refused(run.model, NEW)
        check_it_stays_barred(run.model, OLDER)


@each_place
def test_a_discard_relies_on_no_bar_that_has_died(secret: SecretRef, name: str, pending: str | None) -> None:
    key = KEYS[name]
    for requests in range(9):  # a bar makes at most eight

        def verbs(model: Model, requests: int = requests) -> Sequence[Work]:
            return [promote(model, key), dying(bar(model, key), requests, discard(model, key))]

        for run in orders(staged_model(secret, pending), verbs, switches=2):
            assert run.outcomes in ONE_WINS
            assert run.model.consumed() == (name if run.outcomes[0] is None else "old")


@each_place
@pytest.mark.parametrize("third", ["spend", "stage"])
def test_a_bar_keeps_a_promote_out_whoever_else_is_about(
    secret: SecretRef, name: str, pending: str | None, third: str
) -> None:
    """A spend, or somebody who stages that value again."""
    key, token = KEYS[name], new_token()

    def verbs(model: Model) -> Sequence[Work]:
        other = spend(model, token) if third == "spend" else stage(model, key, token)
        return [promote(model, key), bar(model, key), other]

    for run in orders(staged_model(secret, pending), verbs, switches=2):
        promoted, barred, _ = run.outcomes
        assert promoted in (None, ConflictError)
        assert run.model.consumed() == (name if promoted is None else "old")
        assert barred is (ConflictError if promoted is None else None)
        assert promoted is None or is_refused(run.model, key)


@pytest.mark.parametrize("before", ["another bar", "a discard", "a bar that was forgotten"])
def test_a_late_bar_takes_no_earlier_fence_for_its_own(secret: SecretRef, before: str) -> None:
    """All of them at one AWSCURRENT, and a promote that looks after the fence and before the bar."""
    token = new_token()
    for waited, looked in itertools.product(range(4), range(3)):
        model = staged_model(secret)
        late = Worker(bar(model, NEW))
        if before == "another bar":
            until_barred(model, early := Worker(bar(model, OLDER)), OLDER)
            late.go(waited)
            early.go(100)
        elif before == "a discard":
            late.go(waited)
            alone(discard(model, NEW))
        else:
            until_barred(model, early := Worker(bar(model, NEW)), NEW)
            alone(stage(model, NEWER))
            until_barred(model, Worker(bar(model, NEWER)), NEWER)
            alone(stage(model, NEW, token))
            late.go(waited)
            early.go(100)
        if "new" not in model.view().values():
            alone(stage(model, NEW, token))
        promoter = Worker(promote(model, NEW))
        promoter.go(looked)
        late.go(100)
        promoter.go(100)
        assert late.outcome is None or isinstance(late.outcome, ConflictError)
        assert (late.outcome is None) == isinstance(promoter.outcome, ConflictError)


@pytest.mark.parametrize("verb", [bar, discard])
def test_a_hand_that_brings_the_base_of_the_journal_back_lets_no_promote_through(
    secret: SecretRef, verb: Callable[[Model, KeyMaterial], Work]
) -> None:
    """A promote that has to write the journal first need not, the moment CURRENT is what it was when that was written."""
    start = staged_model(secret)
    alone(promote(start, OLDER))
    for run in orders(start, lambda m: [verb(m, NEW), hand(m, OLD), promote(m, NEW, OLD)], switches=2):
        kept_out, _, promoted = run.outcomes
        assert {kept_out, promoted} in ({None, ConflictError}, {ConflictError})
        assert run.model.consumed() == ("new" if promoted is None else "old")
        assert kept_out is not None or is_refused(run.model, NEW)


def test_a_promote_that_displaces_a_barred_value_frees_it(secret: SecretRef) -> None:
    """A person has put it back. Before the promote has happened it is CURRENT, and after it the way back."""
    start = staged_model(secret)
    alone(bar(start, OLDER))
    start.write(OLDER)
    for run in orders(start, lambda m: [promote(m, NEW, OLDER)], mortal=[0]):
        model = run.model
        if model.consumed() == "older":
            with pytest.raises(ConflictError):
                alone(bar(model, OLDER))
            alone(spend(model, new_token()))
        alone(promote(model, NEW, OLDER))
        assert model.view() == {Stage.CURRENT: "new", Stage.PREVIOUS: "older"}
        alone(promote(model, OLDER, NEW))
        alone(promote(model, NEW, OLDER))
        alone(bar(model, OLDER))
        assert is_refused(model, OLDER, NEW)


def test_what_a_person_brought_back_and_took_away_again_stays_barred(secret: SecretRef) -> None:
    model = staged_model(secret)
    alone(bar(model, OLDER))
    for key in (OLDER, OLD):
        model.write(key)
        alone(stage(model, NEWER, new_token()))
    assert model.view() == {Stage.CURRENT: "old", Stage.PREVIOUS: "older", Stage.PENDING: "newer"}
    assert is_refused(model, OLDER)


def until_barred(model: Model, worker: Worker, key: KeyMaterial) -> None:
    """It stops right after it has written so."""
    while key.fingerprint() not in alone(model.store()._versions.look(model.secret)).barred:
        worker.step()


def versions_made(model: Model, *works: Callable[[], Work]) -> int:
    before = len(model.versions)
    for work in works:
        alone(work())
    return len(model.versions) - before


@each_place
def test_how_many_versions_a_bar_and_a_discard_take(secret: SecretRef, name: str, pending: str | None) -> None:
    """AWS allows about a hundred in 24 hours."""
    model, key = staged_model(secret, pending), KEYS[name]
    assert versions_made(model, lambda: bar(model, key)) == 2
    assert versions_made(model, lambda: bar(model, key), lambda: bar(model, key)) == 0
    assert versions_made(model, lambda: discard(model, key)) == (1 if secret.field else 0)
    assert versions_made(model, lambda: discard(model, key), lambda: bar(model, key)) == 0


def test_how_many_versions_a_rotation_takes(secret: SecretRef) -> None:
    model = staged_model(secret, None)
    works = (
        lambda: stage(model, NEW),
        lambda: promote(model, NEW),
        lambda: bar(model, OLD),
        lambda: discard(model, OLD),
    )
    assert versions_made(model, *works) == (5 if secret.field else 3)


def test_values_that_no_stage_holds_are_forgotten_once_another_is_barred(secret: SecretRef) -> None:
    model = staged_model(secret)
    alone(bar(model, OLDER))
    for key in [new_key() for _ in range(6)]:
        version = alone(model.store().stage(secret, key, new_token()))
        alone(model.store().bar(secret, version))
    world = alone(model.store()._versions.look(secret))
    assert OLDER.fingerprint() in world.barred
    assert key.fingerprint() in world.barred
    assert len(world.barred) <= 4


# After a death.

SPENT_TOKEN = new_token()


async def twice(first: Work, second: Work) -> None:
    await first
    await second


# What is PENDING at the start, the verb, and what is held in the end.
BESIDE: View = {Stage.CURRENT: "old", Stage.PREVIOUS: "older"}
VERBS: Mapping[str, tuple[str | None, Callable[[Model], Work], View]] = {
    "stage": ("new", lambda m: stage(m, NEWER), {**BESIDE, Stage.PENDING: "newer"}),
    "stage what previous holds": ("new", lambda m: stage(m, OLDER, SPENT_TOKEN), {**BESIDE, Stage.PENDING: "older"}),
    "spend": ("new", lambda m: spend(m, SPENT_TOKEN), {**BESIDE, Stage.PENDING: "new"}),
    "promote": ("new", lambda m: promote(m, NEW), {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}),
    "rollback": (None, lambda m: promote(m, OLDER), {Stage.CURRENT: "older", Stage.PREVIOUS: "old"}),
    "rollback beside pending": (
        "new",
        lambda m: promote(m, OLDER),
        {Stage.CURRENT: "older", Stage.PREVIOUS: "old", Stage.PENDING: "new"},
    ),
    "bar pending": ("new", lambda m: bar(m, NEW), {**BESIDE, Stage.PENDING: "new"}),
    "bar previous": ("new", lambda m: bar(m, OLDER), {**BESIDE, Stage.PENDING: "new"}),
    "bar previous alone": (None, lambda m: bar(m, OLDER), BESIDE),
    "discard pending": ("new", lambda m: discard(m, NEW), BESIDE),
    "discard previous": ("new", lambda m: discard(m, OLDER), {Stage.CURRENT: "old", Stage.PENDING: "new"}),
}


@pytest.mark.parametrize("name", VERBS)
def test_a_worker_killed_after_any_call_is_finished_by_the_next(secret: SecretRef, name: str) -> None:
    pending, verb, expected = VERBS[name]
    start = staged_model(secret, pending)
    before = start.view()
    for run in orders(start, lambda m: [verb(m)], mortal=[0]):
        # At every instant it is as before or as after: nothing in between is ever shown.
        for moment in map(run.at, range(run.requests + 1)):
            assert moment.view() in (before, expected)
            if secret.field is None:
                ids = {version.id for version in alone(moment.store().stages(secret)).values()}
                assert ids <= set(moment.labels.values()), "AWS may delete what has no label"
        alone(verb(run.model))
        assert run.model.view() == expected
        assert name != "spend" or is_spent(run.model, SPENT_TOKEN, NEW, NEWER)
        if name.startswith("bar"):
            assert is_refused(run.model, NEW if name == "bar pending" else OLDER)


@pytest.mark.parametrize("names", [("bar pending", "discard pending"), ("bar previous", "discard previous")])
def test_a_bar_that_is_killed_is_followed_by_its_discard(secret: SecretRef, names: tuple[str, str]) -> None:
    """And by a bar of the other value, whose fence must not lose what the first one has displaced."""
    first, second = (VERBS[name][1] for name in names)
    other = VERBS["bar previous" if names[0] == "bar pending" else "bar pending"][1]
    for run in orders(staged_model(secret), lambda m: [first(m)], mortal=[0]):
        alone(other(run.model))
        assert run.model.view() == {**BESIDE, Stage.PENDING: "new"}
        alone(second(run.model))
        assert run.model.view() == VERBS[names[1]][2]


def test_what_one_fence_has_displaced_no_other_loses(secret: SecretRef) -> None:
    """A discard dies, and the next one dies: at every call of both."""
    for run in orders(staged_model(secret), lambda m: [discard(m, NEW)], mortal=[0]):
        for verb, key in ((discard, NEWER), (bar, NEWER), (bar, OLDER)):
            start = run.model.copy()
            alone(stage(start, NEWER))
            held: View = {**BESIDE, Stage.PENDING: "newer"}
            assert start.view() == held
            for after in orders(start, lambda m: [verb(m, key)], mortal=[0]):  # noqa: B023
                for moment in map(after.at, range(after.requests + 1)):
                    assert moment.view() in (held, BESIDE)
