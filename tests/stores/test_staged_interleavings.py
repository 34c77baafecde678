"""The promises of a StagedStore in every order in which two workers' requests can arrive, with a death after each.

The server here is a model that takes one request at a time; the stores are the real ones. What is a backend's alone is in
test_kubernetes_interleavings.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from keyturn.errors import ConflictError
from keyturn.material import KeyMaterial
from keyturn.model import Stage, VersionRef
from keyturn.testing.store_scene import new_key, new_token
from tests.stores.kubernetes_model import KUBERNETES
from tests.stores.orders import DIED, Once, Work, Worker, alone, play
from tests.stores.staged_scene import (
    FINGERPRINTS,
    NAMES,
    NEW,
    NEWER,
    OLD,
    OLDER,
    PROMOTED,
    SECRET,
    START,
    Backend,
    Run,
    Server,
    View,
    check_always,
    check_old_is_kept,
    name_of,
    operator,
    version,
)
from tests.stores.vault_model import VAULT

REQUESTS = 6  # of a promote; the last one only tidies


@pytest.fixture(params=[VAULT, KUBERNETES], ids=lambda backend: backend.name)
def at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backend:
    backend: Backend = request.param
    monkeypatch.setattr(backend.replaced, backend.client)
    return backend


def test_a_promote_and_a_discard_of_its_version_exclude_each_other(at: Backend) -> None:
    for run in at.orders(lambda server: [at.promote(NEW), at.discard(NEW)], mortal=[0], switches=4):
        check_always(run)
        check_old_is_kept(run)
        promoted, discarded = run.outcomes
        if discarded is None:
            assert promoted in (ConflictError, DIED)
            assert run.views[-1][Stage.CURRENT] == "old"
        else:
            assert promoted in (None, DIED)
            assert run.views[-1] == PROMOTED


def test_two_workers_promote_the_same_version(at: Backend) -> None:
    for run in at.orders(lambda server: [at.promote(NEW), at.promote(NEW)], mortal=[0, 1], alike=True):
        check_always(run)
        assert set(run.outcomes) <= {None, DIED}
        assert run.views[-1] == PROMOTED
        check_old_is_kept(run)


def test_a_rotation_and_a_rollback_exclude_each_other(at: Backend) -> None:
    for run in at.orders(lambda server: [at.promote(NEW), at.promote(OLDER)], mortal=[0]):
        check_always(run)
        check_old_is_kept(run)
        assert run.outcomes in ([None, ConflictError], [ConflictError, None], [DIED, None], [DIED, ConflictError])
        assert run.views[-1][Stage.PREVIOUS] == "old"
        assert run.views[-1][Stage.CURRENT] == ("older" if run.outcomes[1] is None else "new")


def test_a_promote_and_a_later_stage_never_serve_what_was_replaced(at: Backend) -> None:
    for run in at.orders(lambda server: [at.promote(NEW), at.stage(NEWER)], mortal=[0]):
        check_always(run)
        check_old_is_kept(run)
        assert isinstance(run.outcomes[1], VersionRef)
        assert run.views[-1][Stage.PENDING] == "newer"
        assert run.views[-1][Stage.CURRENT] == ("old" if run.outcomes[0] is ConflictError else run.views[-1][Stage.CURRENT])


def staged(view: View) -> bool:
    return view.get(Stage.PENDING) == "newer"


def test_of_a_stage_and_a_spend_of_its_token_the_first_one_stands(at: Backend) -> None:
    token = new_token()
    for run in at.orders(lambda server: [at.stage(NEWER, token), at.spend(token)], mortal=[0, 1]):
        stager, spender = run.workers
        check_always(run)
        end = run.views[-1]
        assert end == {**START, Stage.PENDING: "newer" if staged(end) else "new"}
        assert spender.outcome in (None, DIED)
        if spender.outcome is None:
            assert staged(run.since(spender)[0]) == staged(end), "staged after the spend was back"
        if stager.outcome != DIED:
            assert isinstance(stager.outcome, VersionRef if staged(end) else ConflictError)
        alone(at.spend(token))
        for key in (NEW, OLD) if staged(end) else (NEWER, NEW, OLD):
            with pytest.raises(ConflictError):
                alone(at.stage(key, token))
        if staged(end):
            alone(at.stage(NEWER, token))
        assert run.server.view() == end


def test_a_promote_goes_through_beside_a_spend(at: Backend) -> None:
    token = new_token()
    for run in at.orders(lambda server: [at.promote(NEW), at.spend(token)], mortal=[0, 1]):
        check_always(run)
        check_old_is_kept(run)
        promoted, spent = run.outcomes
        assert run.outcomes in ([None, None], [DIED, None], [None, DIED])
        assert run.views[-1] == PROMOTED if promoted is None else run.views[-1] in (PROMOTED, START)
        assert all(view in (PROMOTED, START) for view in run.views)
        if spent is None:
            with pytest.raises(ConflictError):
                alone(at.stage(NEWER, token))
        alone(at.promote(NEW))
        assert run.server.view() == PROMOTED


def test_a_discard_keeps_a_promote_out_also_beside_a_spend(at: Backend) -> None:
    token = new_token()
    for run in at.orders(lambda server: [at.promote(NEW), at.spend(token), at.discard(NEW)], switches=at.switches - 1):
        check_always(run)
        check_old_is_kept(run)
        promoted, spent, discarded = run.outcomes
        assert spent is None
        assert {promoted, discarded} == {None, ConflictError}
        assert run.views[-1][Stage.CURRENT] == ("old" if discarded is None else "new")


def changed_by_hand(at: Backend, server: Server, requests: int, value: KeyMaterial) -> Work:
    """After a promote that died, or did not."""
    Worker(at.promote(NEW)).go(requests)
    return operator(server, "OPENAI_API_KEY", value.reveal())


def ends_after_a_promote(at: Backend, value: KeyMaterial) -> list[View]:
    """What stands where after so many requests of it, and that change."""
    ends = []
    for requests in range(REQUESTS + 1):
        server = at.prepared()
        alone(changed_by_hand(at, server, requests, value))
        ends.append(server.view())
    return ends


@pytest.mark.parametrize("value", [OLD, OLDER, new_key()], ids=["back", "further back", "theirs"])
def test_a_spend_hides_no_key_whatever_an_operator_makes_of_the_value(at: Backend, value: KeyMaterial) -> None:
    """The second document says what it would say without it."""
    for requests, end in enumerate(ends_after_a_promote(at, value)):
        for run in at.orders(lambda server: [changed_by_hand(at, server, requests, value), at.spend(new_token())]):  # noqa: B023
            assert run.outcomes == [None, None]
            assert run.views[-1] == end


def test_two_tokens_spent_at_once_are_both_spent(at: Backend) -> None:
    tokens = new_token(), new_token()
    for run in at.orders(lambda server: [at.spend(token) for token in tokens], mortal=[0, 1], alike=True):
        for token, spent in zip(tokens, run.outcomes, strict=True):
            assert spent in (None, DIED)
            if spent is None:
                with pytest.raises(ConflictError):
                    alone(at.stage(NEWER, token))
        assert run.views[-1] == run.views[0]


def test_the_last_fifty_tokens_are_remembered_and_the_one_before_is_not(at: Backend) -> None:
    at.prepared()
    tokens = sorted((new_token() for _ in range(51)), reverse=True)  # the newest is the first in the alphabet
    for token in tokens:
        alone(at.spend(token))
    for token in tokens[1:]:
        with pytest.raises(ConflictError):
            alone(at.stage(NEWER, token))
    assert isinstance(alone(at.stage(NEWER, tokens[0])), VersionRef)


# Versions that are barred.


def check_it_stays_barred(at: Backend, run: Run, key: KeyMaterial) -> None:
    """Whatever else happens. Plays on at the run's server, where CURRENT is old."""
    assert at.is_refused(key)
    alone(at.spend(new_token()))
    alone(at.stage(NEWER))
    assert at.is_refused(key)
    if name_of(key) in run.server.view().values():
        assert alone(at.make().read(SECRET, version(key))) == key
    alone(at.stage(key))
    assert at.is_refused(key)
    Worker(at.promote(NEWER)).go(REQUESTS - 2)  # dies before its pivot
    alone(at.discard(key))
    assert name_of(key) not in run.server.view().values()
    assert at.is_refused(key)


@pytest.mark.parametrize("key", [NEW, OLDER], ids=["pending", "previous"])
def test_a_promote_and_a_bar_of_its_version_exclude_each_other(at: Backend, key: KeyMaterial) -> None:
    once = Once()
    for run in at.orders(lambda server: [at.promote(key), at.bar(key)], mortal=[0, 1], switches=4):
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
                alone(at.bar(key))
                check_it_stays_barred(at, run, key)
        else:
            with pytest.raises(ConflictError):
                alone(at.bar(key))


def test_a_bar_of_previous_leaves_a_promote_alone(at: Backend) -> None:
    once = Once()
    for run in at.orders(lambda server: [at.promote(NEW), at.bar(OLDER)], mortal=[0, 1]):
        check_always(run)
        check_old_is_kept(run)
        promoted, barred = run.outcomes
        assert {promoted, barred} <= {None, DIED}
        assert run.views[-1] == PROMOTED if promoted is None else run.views[-1] in (START, PROMOTED)
        if not once(run.server.state, barred):
            continue
        if barred is None and run.views[-1] == START:
            check_it_stays_barred(at, run, OLDER)
        elif run.views[-1] == PROMOTED:
            alone(at.promote(OLD, NEW))


def test_a_barred_value_that_is_staged_meanwhile_is_barred_too(at: Backend) -> None:
    for run in at.orders(lambda server: [at.stage(OLDER), at.bar(OLDER)], mortal=[0, 1]):
        check_always(run)
        assert run.outcomes[1] in (None, DIED)
        assert run.views[-1] in (START, {**START, Stage.PENDING: "older"})
        if run.outcomes[1] is None:
            assert at.is_refused(OLDER)
            alone(at.stage(OLDER))
            assert at.is_refused(OLDER)
            assert run.server.view() == {**START, Stage.PENDING: "older"}


def test_two_values_barred_at_once_are_both_barred(at: Backend) -> None:
    once = Once()
    for run in at.orders(lambda server: [at.bar(NEW), at.bar(OLDER)], mortal=[0, 1]):
        assert run.views[-1] == START
        assert {*run.outcomes} <= {None, DIED}
        if not once(run.server.state, *run.outcomes):
            continue
        for key, outcome in zip((NEW, OLDER), run.outcomes, strict=True):
            assert outcome == DIED or at.is_refused(key)
        for key in (NEW, OLDER):
            alone(at.bar(key))
        assert at.is_refused(NEW)
        check_it_stays_barred(at, run, OLDER)


@pytest.mark.parametrize("key", [NEW, OLDER], ids=["pending", "previous"])
@pytest.mark.parametrize("third", ["spend", "stage", "discard"])
def test_a_bar_keeps_a_promote_out_whoever_else_is_about(at: Backend, third: str, key: KeyMaterial) -> None:
    """A spend, somebody who stages that value again, somebody who discards it."""
    token = new_token()
    argument = token if third == "spend" else key
    for run in at.orders(lambda server: [at.promote(key), at.bar(key), getattr(at, third)(argument)], switches=2):
        check_always(run)
        check_old_is_kept(run)
        promoted, barred, _ = run.outcomes
        assert promoted in (None, ConflictError)
        if promoted is None:
            assert run.views[-1][Stage.CURRENT] == name_of(key)
            assert barred in (ConflictError, None)
            assert barred or third != "spend", "quiet, and yet it was held all the time"
        else:
            assert run.views[-1][Stage.CURRENT] == "old"
            assert barred is None
            assert third == "discard" or at.is_refused(key)


def test_a_bar_that_is_back_is_followed_by_no_promote_whoever_else_is_about(at: Backend) -> None:
    for run in at.orders(lambda server: [at.promote(OLDER), at.bar(OLDER), at.promote(NEW)], switches=2):
        check_always(run)
        check_old_is_kept(run)
        promoted, barred, other = run.outcomes
        assert barred is (ConflictError if promoted is None else None)
        assert {promoted, other} == {None, ConflictError}


@pytest.mark.parametrize("requests", range(REQUESTS + 1))
def test_a_promote_that_displaces_a_barred_value_frees_it(at: Backend, requests: int) -> None:
    """A person has put it back. Before the promote has happened it is CURRENT, and after it the way back."""
    server = at.prepared()
    alone(at.bar(OLDER))
    server.set_field("OPENAI_API_KEY", OLDER.reveal())
    Worker(at.promote(NEW, OLDER)).go(requests)
    if server.view()[Stage.CURRENT] == "older":
        with pytest.raises(ConflictError):
            alone(at.bar(OLDER))
        alone(at.spend(new_token()))
        alone(at.promote(NEW, OLDER))
    assert server.view() == {Stage.CURRENT: "new", Stage.PREVIOUS: "older"}
    alone(at.promote(OLDER, NEW))
    alone(at.promote(NEW, OLDER))
    alone(at.bar(OLDER))
    assert at.is_refused(OLDER, NEW)


@pytest.mark.parametrize("requests", range(REQUESTS + 1))
def test_a_promote_that_dies_over_a_barred_value_frees_nothing_for_those_that_come_between(
    at: Backend, requests: int
) -> None:
    """It had been made CURRENT by hand, and a stage makes the promote begin anew; then the hand takes it away again."""
    server = at.prepared()
    alone(at.bar(OLDER))
    server.set_field("OPENAI_API_KEY", OLDER.reveal())
    Worker(at.promote(NEW, OLDER)).go(requests)
    if server.view()[Stage.CURRENT] == "older":
        alone(at.stage(NEWER))
        server.set_field("OPENAI_API_KEY", OLD.reveal())
        assert server.view() == {Stage.CURRENT: "old", Stage.PENDING: "newer", Stage.PREVIOUS: "older"}
        assert at.is_refused(OLDER)


@pytest.mark.parametrize("value", [OLD, OLDER, new_key()], ids=["back", "further back", "theirs"])
def test_a_bar_hides_no_key_whatever_an_operator_makes_of_the_value(at: Backend, value: KeyMaterial) -> None:
    """As a spend; but it tidies where the promote has only that left to do."""
    plain = ends_after_a_promote(at, value)
    for requests, end in enumerate(plain):
        for key in (NEW, OLDER, OLD):
            for run in at.orders(lambda server: [changed_by_hand(at, server, requests, value), at.bar(key)]):  # noqa: B023
                assert run.outcomes in ([None, None], [None, ConflictError])
                assert run.views[-1] in ([end, plain[REQUESTS]] if requests == REQUESTS - 1 else [end])


def test_a_second_document_from_before_there_were_bars_is_read(at: Backend) -> None:
    server = at.prepared()
    server.set_beside({name: value for name, value in server.beside.items() if name != "barred"})
    assert {stage: version.fingerprint for stage, version in alone(at.make().stages(SECRET)).items()} == {
        Stage.CURRENT: OLD.fingerprint(),
        Stage.PENDING: NEW.fingerprint(),
        Stage.PREVIOUS: OLDER.fingerprint(),
    }
    alone(at.bar(OLDER))
    assert at.is_refused(OLDER)


def test_a_bar_says_no_more_than_fingerprints_and_forgets_what_no_stage_holds(at: Backend) -> None:
    server = at.prepared()
    for key in (NEW, OLDER):
        alone(at.bar(key))
    assert server.beside["barred"] == sorted([NEW.fingerprint(), OLDER.fingerprint()])
    alone(at.stage(NEWER))
    alone(at.bar(NEWER))
    assert server.beside["barred"] == sorted([NEWER.fingerprint(), OLDER.fingerprint()])


# A value that is not there yet.


@pytest.mark.parametrize("path", [SECRET.path, "litellm/absent"], ids=["in a bundle", "alone"])
def test_of_two_who_create_a_value_one_wins(at: Backend, path: str) -> None:
    for run in at.orders(lambda server: [at.create(NEW, path=path), at.create(NEWER, path=path)], mortal=[0, 1]):
        made = run.server.fields(path)
        assert made.get("OTHER") == (run.server.other if path == SECRET.path else None)
        winner = NAMES.get(made.get("ADDED", ""))
        for name, outcome in zip(("new", "newer"), run.outcomes, strict=True):
            if outcome == DIED:
                continue
            assert isinstance(outcome, VersionRef) == (winner == name)
            assert winner == name or outcome is ConflictError
        assert winner or DIED in run.outcomes


def test_values_that_are_created_at_once_are_all_there(at: Backend) -> None:
    def verbs(server: Server) -> Sequence[Work]:
        return [at.create(NEWER, "ONE"), at.create(NEW, "TWO"), operator(server, "NEIGHBOUR", "changed")]

    for run in at.orders(verbs, switches=at.switches - 1):
        made = run.server.fields()
        assert made == {
            "OPENAI_API_KEY": OLD.reveal(),
            "OTHER": run.server.other,
            "NEIGHBOUR": "changed",
            "ONE": NEWER.reveal(),
            "TWO": NEW.reveal(),
        }


def test_a_promote_goes_through_beside_a_create(at: Backend) -> None:
    for run in at.orders(lambda server: [at.promote(NEW), at.create(NEWER)], mortal=[0]):
        check_always(run)
        check_old_is_kept(run)
        promoted, created = run.outcomes
        assert isinstance(created, VersionRef)
        assert promoted in (None, DIED)
        assert run.server.fields()["ADDED"] == NEWER.reveal()
        assert promoted == DIED or run.views[-1] == PROMOTED


# After a death, and beside others.


def test_whoever_comes_after_a_death_finishes_the_rotation(at: Backend) -> None:
    for run in at.orders(lambda server: [at.promote(NEW)], mortal=[0]):
        alone(at.promote(NEW))
        assert run.server.view() == PROMOTED
        assert "displaced" not in run.server.beside


def test_whoever_comes_after_a_death_may_give_the_rotation_up(at: Backend) -> None:
    for run in at.orders(lambda server: [at.promote(NEW)], mortal=[0]):
        if run.server.view()[Stage.CURRENT] == "old":
            alone(at.discard(NEW))
            assert run.server.view() == {Stage.CURRENT: "old", Stage.PREVIOUS: "older"}


def test_a_discard_of_previous_leaves_a_promote_alone(at: Backend) -> None:
    for run in at.orders(lambda server: [at.promote(NEW), at.discard(OLDER)]):
        check_always(run)
        assert run.outcomes == [None, None]
        assert run.views[-1] == PROMOTED
        check_old_is_kept(run)


def test_two_discards_at_once_drop_both(at: Backend) -> None:
    for run in at.orders(lambda server: [at.discard(NEW), at.discard(OLDER)]):
        assert run.outcomes == [None, None]
        assert run.views[-1] == {Stage.CURRENT: "old"}


def test_an_operator_who_changes_a_neighbour_loses_nothing(at: Backend) -> None:
    for run in at.orders(lambda server: [at.promote(NEW), operator(server, "NEIGHBOUR", "changed")]):
        check_always(run)
        assert run.outcomes == [None, None]
        fields = run.server.fields()
        assert fields == {"OPENAI_API_KEY": NEW.reveal(), "OTHER": run.server.other, "NEIGHBOUR": "changed"}


def test_an_operator_who_changes_the_value_is_never_overwritten(at: Backend) -> None:
    theirs = new_key()
    for run in at.orders(lambda server: [at.promote(NEW), operator(server, "OPENAI_API_KEY", theirs.reveal())]):
        assert run.views[-1][Stage.CURRENT] == "theirs"
        check_old_is_kept(run) if run.outcomes[0] is None else None


@pytest.mark.parametrize("other", ["promote", "discard", "bar"])
def test_what_a_reader_sees_was_so_at_one_instant(at: Backend, other: str) -> None:
    for run in at.orders(lambda server: [getattr(at, other)(NEW), at.make().stages(SECRET)]):
        reader = run.workers[1]
        assert isinstance(reader.outcome, Mapping)
        seen = {stage: version.fingerprint for stage, version in reader.outcome.items()}
        assert seen in [{stage: FINGERPRINTS[name] for stage, name in view.items()} for view in run.until(reader)]


def test_many_at_once_in_random_orders(at: Backend) -> None:
    for seed in range(400):
        chance = random.Random(seed)
        restless = chance.random()

        def choose(options: int, chance: random.Random = chance, restless: float = restless) -> int:
            return chance.randrange(options) if chance.random() < restless else 0

        def works(server: Server) -> Sequence[Work]:
            verbs = [at.promote(NEW), at.promote(NEW), at.discard(NEW), at.promote(OLDER), at.bar(OLDER), at.stage(NEWER)]
            return [*verbs, at.spend(new_token()), at.annotate(key_new="x")]

        run = play(at.scene(works), choose, mortal=range(seed % 3))
        check_always(run)
        check_old_is_kept(run)
        assert set(map(str, run.outcomes[:5])) <= {"None", DIED, str(ConflictError)}
        barrer = run.workers[4]
        served = [view[Stage.CURRENT] for view in run.since(barrer)]
        assert barrer.outcome is not None or "older" not in served or "older" not in run.until(barrer)[-1].values()
