"""The AWS store's promises in every order in which two workers' calls can arrive, and with a death at each.

The AWS here is a model of versions and labels that takes one call at a time; the store is the real one. tests/stores/
test_aws_secrets_manager.py runs it against the double, and tests/testing/test_aws_double.py shows what the double does.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Coroutine, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from keyturn.errors import ConflictError, KeyturnError, NotFoundError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage, VersionRef
from keyturn.references import resolver
from keyturn.stores import aws_secrets_manager
from keyturn.stores.aws_secrets_manager import AWSSecretsManager
from keyturn.testing.store_scene import new_key, new_token

WHOLE = SecretRef("aws", "prod/openai/api_key")
FIELD = SecretRef("aws", "prod/providers", "OPENAI_API_KEY")
SETTINGS = AWSSecretsManager.Settings(region="us-east-1")
PREEMPTIONS = 3  # per schedule

OLDER, OLD, NEW, NEWER, THEIRS = (new_key() for _ in range(5))
NAMES = {
    key.fingerprint(): name
    for key, name in ((OLDER, "older"), (OLD, "old"), (NEW, "new"), (NEWER, "newer"), (THEIRS, "theirs"))
}
TOKENS = {key.fingerprint(): new_token() for key in (OLDER, OLD, NEW, NEWER)}

View = Mapping[Stage, str]
Verb = Callable[[AWSSecretsManager], Coroutine[Any, Any, object]]


class DeadError(Exception):
    """The worker's process ends here."""


Outcome = KeyturnError | DeadError | None


class Step:
    """Gives the turn to whoever drives the coroutines."""

    def __await__(self) -> Generator[None, None, None]:
        yield


@dataclass
class Model:
    """One secret at AWS. `dies_at`: the call, counted over all, that a worker does not survive.

    `then`: the labels at a moment that a verb of a test wrote down.
    """

    secret: SecretRef
    versions: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    dies_at: int = -1
    dies_before: bool = False
    then: dict[str, str] = field(default_factory=dict)

    def store(self) -> AWSSecretsManager:
        store = AWSSecretsManager(SETTINGS, resolver(environ={}))
        store._client.call = self.call  # type: ignore[method-assign]
        return store

    async def call(self, operation: str, secret: SecretRef, unless: Collection[str] = (), **given: Any) -> Any:
        await Step()
        self.calls += 1
        if self.calls - 1 == self.dies_at and self.dies_before:
            raise DeadError
        code, answer = getattr(self, operation)(**given)
        if self.calls - 1 == self.dies_at:
            raise DeadError
        if code and code not in unless:
            raise NotFoundError("not there") if code == "ResourceNotFoundException" else ConflictError(code)
        return None if code else answer

    def DescribeSecret(self) -> tuple[str, Any]:
        stages = {name: [label for label, at in self.labels.items() if at == name] for name in self.versions}
        return "", {"VersionIdsToStages": {name: labels for name, labels in stages.items() if labels}}

    def GetSecretValue(self, VersionId: str = "", VersionStage: str = "") -> tuple[str, Any]:
        name = VersionId or self.labels.get(VersionStage, "")
        if name not in self.versions:
            return "ResourceNotFoundException", None
        return "", {"VersionId": name, "SecretString": self.versions[name]}

    def PutSecretValue(self, SecretString: str, ClientRequestToken: str, VersionStages: list[str]) -> tuple[str, Any]:
        if self.versions.get(ClientRequestToken, SecretString) != SecretString:
            return "ResourceExistsException", None
        if ClientRequestToken not in self.versions:
            self.versions[ClientRequestToken] = SecretString
            for label in VersionStages:
                self.attach(label, ClientRequestToken)
        return "", {"VersionStages": [label for label, at in self.labels.items() if at == ClientRequestToken]}

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
        if label == "AWSCURRENT" and before not in (None, version):
            self.labels["AWSPREVIOUS"] = str(before)

    def write(self, key: KeyMaterial, field: str = "OPENAI_API_KEY") -> None:
        """Somebody's hand, in one step."""
        text, token = key.reveal(), str(uuid.uuid4())
        if self.secret.field is not None:
            before = self.versions[self.labels["AWSCURRENT"]] if self.labels else '{"OTHER": "x"}'
            text = json.dumps(json.loads(before) | {field: text})
        self.PutSecretValue(text, token, ["AWSCURRENT"])

    def consumed(self) -> str:
        text = self.versions[self.labels["AWSCURRENT"]]
        return NAMES[KeyMaterial(json.loads(text)["OPENAI_API_KEY"] if self.secret.field else text).fingerprint()]

    def view(self) -> View:
        stages = finished(self.store().stages(self.secret))
        return {stage: NAMES[version.fingerprint] for stage, version in stages.items()}

    def view_then(self) -> View:
        return Model(self.secret, self.versions, self.then).view()


def finished(verb: Coroutine[Any, Any, Any]) -> Any:
    """Run one verb alone."""
    try:
        while True:
            verb.send(None)
    except StopIteration as end:
        return end.value


def version(key: KeyMaterial) -> VersionRef:
    return VersionRef(TOKENS[key.fingerprint()], key.fingerprint())


def staged_model(secret: SecretRef, pending: KeyMaterial | None = NEW) -> Model:
    """CURRENT is old, PREVIOUS is older, and PENDING is new unless told otherwise."""
    model = Model(secret)
    model.write(OLDER)
    finished(stage(OLD, secret)(model.store()))
    finished(promote(OLD, OLDER, secret)(model.store()))
    if pending is not None:
        finished(stage(pending, secret)(model.store()))
    model.calls = 0
    return model


def stage(key: KeyMaterial, secret: SecretRef, token: str | None = None) -> Verb:
    return lambda store: store.stage(secret, key, token or TOKENS[key.fingerprint()])


def spend(model: Model, token: str) -> Verb:
    async def turn(store: AWSSecretsManager) -> None:
        await store.spend(model.secret, token)
        model.then = dict(model.labels)

    return turn


def promote(key: KeyMaterial, replacing: KeyMaterial, secret: SecretRef) -> Verb:
    return lambda store: store.promote(secret, version(key), version(replacing))


def discard(key: KeyMaterial, secret: SecretRef) -> Verb:
    return lambda store: store.discard(secret, version(key))


def hand(model: Model, key: KeyMaterial, field: str = "OPENAI_API_KEY") -> Verb:
    async def write(store: AWSSecretsManager) -> None:
        await Step()
        model.write(key, field)

    return write


@dataclass
class Worker:
    """A verb under way. `outcome`: None when it came back, else its error."""

    verb: Coroutine[Any, Any, object]
    done: bool = False
    outcome: Outcome = None

    def step(self) -> None:
        try:
            self.verb.send(None)
        except StopIteration:
            self.done = True
        except (KeyturnError, DeadError) as error:
            self.done, self.outcome = True, error


def schedules(
    prepare: Callable[[], Model], *verbs: Callable[[Model], Verb], switches: int = PREEMPTIONS
) -> Iterator[tuple[Model, list[Outcome]]]:
    """Every order with at most so many switches away from a worker that could go on."""
    open_prefixes: list[tuple[int, ...]] = [(first,) for first in range(len(verbs))]
    while open_prefixes:
        prefix = open_prefixes.pop()
        model = prepare()
        workers = [Worker(verb(model)(model.store())) for verb in verbs]
        trace: list[int] = []
        preemptions = 0
        while ready := [n for n, worker in enumerate(workers) if not worker.done]:
            here = len(trace)
            stay = trace[-1] if trace and trace[-1] in ready else None
            if here < len(prefix):
                chosen = prefix[here]
            else:
                chosen = ready[0] if stay is None else stay
                if stay is None or preemptions < switches:
                    open_prefixes += [(*trace, other) for other in ready if other != chosen]
            preemptions += stay is not None and chosen != stay
            trace.append(chosen)
            workers[chosen].step()
        yield model, [worker.outcome for worker in workers]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(turn: int) -> None:
        pass

    monkeypatch.setattr(aws_secrets_manager, "_pause", at_once)


@pytest.fixture(params=[WHOLE, FIELD], ids=["whole", "field"])
def secret(request: pytest.FixtureRequest) -> SecretRef:
    chosen: SecretRef = request.param
    return chosen


def kinds(outcomes: Sequence[Outcome]) -> list[type | None]:
    return [None if outcome is None else type(outcome) for outcome in outcomes]


def test_two_workers_promote_the_same_version(secret: SecretRef) -> None:
    both = promote(NEW, OLD, secret)
    for model, outcomes in schedules(lambda: staged_model(secret), lambda m: both, lambda m: both):
        assert kinds(outcomes) == [None, None]
        assert model.view() == {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}
        assert "AWSPENDING" not in model.labels


@pytest.mark.parametrize(
    ("key", "pending"),
    [(NEW, NEW), (OLDER, NEW), (OLDER, None)],
    ids=["pending", "previous", "previous without pending"],
)
def test_a_discard_that_succeeded_is_followed_by_no_promote(
    secret: SecretRef, key: KeyMaterial, pending: KeyMaterial | None
) -> None:
    name = NAMES[key.fingerprint()]
    for model, outcomes in schedules(
        lambda: staged_model(secret, pending), lambda m: promote(key, OLD, secret), lambda m: discard(key, secret)
    ):
        assert sorted(map(str, kinds(outcomes))) == sorted([str(ConflictError), "None"])
        assert model.consumed() == ("old" if outcomes[1] is None else name)
        view = model.view()
        assert name not in [view.get(Stage.PENDING), view.get(Stage.PREVIOUS)]
        if outcomes[1] is None:
            others = {Stage.PREVIOUS: "older", **({Stage.PENDING: "new"} if pending else {})}
            assert view == {Stage.CURRENT: "old", **{stage: other for stage, other in others.items() if other != name}}


def test_pending_and_rollback_race_and_one_wins(secret: SecretRef) -> None:
    for model, outcomes in schedules(
        lambda: staged_model(secret), lambda m: promote(NEW, OLD, secret), lambda m: promote(OLDER, OLD, secret)
    ):
        assert sorted(map(str, kinds(outcomes))) == sorted([str(ConflictError), "None"])
        view = model.view()
        assert view[Stage.CURRENT] == ("new" if outcomes[0] is None else "older")
        assert view[Stage.PREVIOUS] == "old"


def test_a_change_by_hand_is_never_overwritten(secret: SecretRef) -> None:
    for model, outcomes in schedules(
        lambda: staged_model(secret), lambda m: promote(NEW, OLD, secret), lambda m: hand(m, THEIRS)
    ):
        assert kinds(outcomes)[0] in (None, ConflictError)
        view = model.view()
        assert view[Stage.CURRENT] == "theirs"
        # A field's journal is not written after a promote, so it may take ours, which was CURRENT for a while, for PENDING
        # still. What matters is that no key is lost sight of.
        assert "old" in view.values() or outcomes[0] is None
        assert "new" in view.values()


def test_a_neighbour_changed_at_any_moment_is_kept() -> None:
    for model, outcomes in schedules(
        lambda: staged_model(FIELD), lambda m: promote(NEW, OLD, FIELD), lambda m: hand(m, THEIRS, "OTHER")
    ):
        assert kinds(outcomes) == [None, None]
        assert model.view() == {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}
        assert json.loads(model.versions[model.labels["AWSCURRENT"]])["OTHER"] == THEIRS.reveal()


def test_two_workers_stage_two_keys_under_one_token(secret: SecretRef) -> None:
    token = new_token()
    for model, outcomes in schedules(
        lambda: staged_model(secret, None), lambda m: stage(NEW, secret, token), lambda m: stage(NEWER, secret, token)
    ):
        assert sorted(map(str, kinds(outcomes))) == sorted([str(ConflictError), "None"])
        winner = "new" if outcomes[0] is None else "newer"
        assert model.view() == {Stage.CURRENT: "old", Stage.PREVIOUS: "older", Stage.PENDING: winner}


def test_staging_anew_while_a_promote_is_under_way(secret: SecretRef) -> None:
    for model, outcomes in schedules(
        lambda: staged_model(secret), lambda m: promote(NEW, OLD, secret), lambda m: stage(NEWER, secret)
    ):
        assert kinds(outcomes)[0] in (None, ConflictError)
        assert kinds(outcomes)[1] is None
        view = model.view()
        assert view[Stage.PENDING] == "newer"
        now = ("new", "old") if outcomes[0] is None else ("old", "older")
        assert (view[Stage.CURRENT], view[Stage.PREVIOUS]) == now


def test_staging_does_not_bring_a_discarded_previous_back(secret: SecretRef) -> None:
    for model, outcomes in schedules(
        lambda: staged_model(secret, None), lambda m: stage(NEW, secret), lambda m: discard(OLDER, secret)
    ):
        assert kinds(outcomes) == [None, None]
        assert model.view() == {Stage.CURRENT: "old", Stage.PENDING: "new"}


def test_two_rotations_of_one_value_at_once(secret: SecretRef) -> None:
    def rotation(key: KeyMaterial) -> Verb:
        async def turn(store: AWSSecretsManager) -> None:
            await store.stage(secret, key, TOKENS[key.fingerprint()])
            await store.promote(secret, version(key), version(OLD))

        return turn

    for model, outcomes in schedules(lambda: staged_model(secret, None), lambda m: rotation(NEW), lambda m: rotation(NEWER)):
        assert sorted(map(str, kinds(outcomes))) == sorted([str(ConflictError), "None"])
        view = model.view()
        assert view[Stage.CURRENT] == ("new" if outcomes[0] is None else "newer")
        assert view[Stage.PREVIOUS] == "old"


def is_spent(model: Model, token: str, *keys: KeyMaterial) -> bool:
    """Whether the token refuses each of these."""
    for key in keys:
        with pytest.raises(ConflictError):
            finished(model.store().stage(model.secret, key, token))
    return True


def stage_and_spend(secret: SecretRef, dies_at: int = -1, dies_before: bool = False) -> bool:
    """Every order of a stage and a spend of its token; whether somebody was killed."""
    token, start, killed = new_token(), {Stage.CURRENT: "old", Stage.PREVIOUS: "older"}, False

    def prepare() -> Model:
        model = staged_model(secret, None)
        model.dies_at, model.dies_before = dies_at, dies_before
        return model

    for model, outcomes in schedules(prepare, lambda m: stage(NEWER, secret, token), lambda m: spend(m, token)):
        model.dies_at = -1
        stager, spender = kinds(outcomes)
        killed = killed or DeadError in (stager, spender)
        end = model.view()
        staged = end.get(Stage.PENDING) == "newer"
        assert end == {**start, **({Stage.PENDING: "newer"} if staged else {})}
        assert spender in (None, DeadError)
        assert stager in (None if staged else ConflictError, DeadError)
        if spender is None:
            assert model.view_then() == end, "staged after the spend was back"
        finished(spend(model, token)(model.store()))
        assert is_spent(model, token, NEW, OLD, OLDER, *(() if staged else (NEWER,)))
        if staged:
            finished(stage(NEWER, secret, token)(model.store()))
        assert model.view() == end
    return killed


def test_of_a_stage_and_a_spend_of_its_token_the_first_one_stands(secret: SecretRef) -> None:
    stage_and_spend(secret)


@pytest.mark.parametrize("dies_before", [True, False], ids=["before", "after"])
def test_of_a_stage_and_a_spend_the_first_one_stands_whoever_is_killed(secret: SecretRef, dies_before: bool) -> None:
    deaths = 0
    while stage_and_spend(secret, deaths, dies_before):
        deaths += 1
    assert deaths > 8, "not every call was a death"


def test_a_promote_goes_through_beside_a_spend(secret: SecretRef) -> None:
    token = new_token()
    for model, outcomes in schedules(
        lambda: staged_model(secret), lambda m: promote(NEW, OLD, secret), lambda m: spend(m, token)
    ):
        assert kinds(outcomes) == [None, None]
        assert model.view_then()[Stage.CURRENT] in ("old", "new")
        assert is_spent(model, token, NEWER, NEW, OLD)
        assert model.view() == {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}


@pytest.mark.parametrize("key", [NEW, OLDER], ids=["pending", "previous"])
def test_a_discard_keeps_a_promote_out_also_beside_a_spend(secret: SecretRef, key: KeyMaterial) -> None:
    token, name = new_token(), NAMES[key.fingerprint()]
    for model, outcomes in schedules(
        lambda: staged_model(secret),
        lambda m: promote(key, OLD, secret),
        lambda m: spend(m, token),
        lambda m: discard(key, secret),
        switches=2,
    ):
        promoted, spent, discarded = kinds(outcomes)
        assert spent is None
        assert {promoted, discarded} == {None, ConflictError}
        assert model.consumed() == ("old" if discarded is None else name)
        assert is_spent(model, token, NEWER)


@pytest.mark.parametrize("value", [OLD, OLDER, THEIRS], ids=["back", "further back", "theirs"])
@pytest.mark.parametrize("promoted", [False, True])
def test_a_spend_hides_no_key_whatever_a_hand_makes_of_the_value(
    secret: SecretRef, value: KeyMaterial, promoted: bool
) -> None:
    """What stands beside the value says what it would say without the spend."""

    def prepare() -> Model:
        model = staged_model(secret)
        if promoted:
            finished(promote(NEW, OLD, secret)(model.store()))
        return model

    plain = prepare()
    plain.write(value)
    for model, outcomes in schedules(prepare, lambda m: spend(m, new_token()), lambda m: hand(m, value)):
        assert kinds(outcomes) == [None, None]
        assert model.view() == plain.view()


def test_two_tokens_spent_at_once_are_both_spent(secret: SecretRef) -> None:
    tokens = new_token(), new_token()
    for model, outcomes in schedules(
        lambda: staged_model(secret), lambda m: spend(m, tokens[0]), lambda m: spend(m, tokens[1])
    ):
        assert kinds(outcomes) == [None, None]
        assert all(is_spent(model, token, NEWER) for token in tokens)
        assert model.view() == staged_model(secret).view()


def test_a_field_remembers_its_last_fifty_tokens_and_not_the_one_before() -> None:
    model, tokens = staged_model(FIELD), [new_token() for _ in range(51)]
    for token in tokens:
        finished(model.store().spend(FIELD, token))
    assert all(is_spent(model, token, NEWER) for token in tokens[1:])
    finished(model.store().stage(FIELD, NEWER, tokens[0]))
    assert model.view()[Stage.PENDING] == "newer"


SPENT_TOKEN = new_token()

# What is PENDING at the start, the verb, and what is held in the end.
VERBS: Mapping[str, tuple[KeyMaterial | None, Callable[[SecretRef], Verb], View]] = {
    "stage": (
        NEW,
        lambda secret: stage(NEWER, secret),
        {Stage.CURRENT: "old", Stage.PREVIOUS: "older", Stage.PENDING: "newer"},
    ),
    "spend": (
        NEW,
        lambda secret: lambda store: store.spend(secret, SPENT_TOKEN),
        {Stage.CURRENT: "old", Stage.PREVIOUS: "older", Stage.PENDING: "new"},
    ),
    "promote": (NEW, lambda secret: promote(NEW, OLD, secret), {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}),
    "rollback": (None, lambda secret: promote(OLDER, OLD, secret), {Stage.CURRENT: "older", Stage.PREVIOUS: "old"}),
    "rollback beside pending": (
        NEW,
        lambda secret: promote(OLDER, OLD, secret),
        {Stage.CURRENT: "older", Stage.PREVIOUS: "old", Stage.PENDING: "new"},
    ),
    "discard pending": (NEW, lambda secret: discard(NEW, secret), {Stage.CURRENT: "old", Stage.PREVIOUS: "older"}),
    "discard previous": (NEW, lambda secret: discard(OLDER, secret), {Stage.CURRENT: "old", Stage.PENDING: "new"}),
}


@pytest.mark.parametrize("dies_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("name", VERBS)
def test_a_worker_killed_at_any_call_is_finished_by_the_next(secret: SecretRef, name: str, dies_before: bool) -> None:
    pending, verb, expected = VERBS[name]
    start = staged_model(secret, pending).view()
    for at in range(100):
        model = staged_model(secret, pending)
        model.dies_at, model.dies_before = at, dies_before
        try:
            finished(verb(secret)(model.store()))
        except DeadError:
            model.dies_at = -1
        else:
            assert at > 3, "the worker was never killed"
            model.dies_at = -1
            assert name != "spend" or is_spent(model, SPENT_TOKEN, NEW, NEWER)
            return
        if not lost_the_way_back(secret, name, model, expected):
            # At every instant it is as before or as after: nothing in between is ever shown.
            assert model.view() in (start, expected)
            finished(verb(secret)(model.store()))
            assert model.view() == expected
            assert name != "spend" or is_spent(model, SPENT_TOKEN, NEW, NEWER)
    pytest.fail("the verb never ends")


def lost_the_way_back(secret: SecretRef, name: str, model: Model, expected: View) -> bool:
    """The one gap that is known: see AWSSecretsManager._fence."""
    without = {stage: key for stage, key in expected.items() if stage is not Stage.PREVIOUS}
    return secret.field is None and name == "discard pending" and model.view() == without
