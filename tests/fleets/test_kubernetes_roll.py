"""A roll of a Deployment on the double: begun once, finished whoever does it, and never taken for done before it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keyturn.errors import DeniedError, RetryableError, RollFailedError, UnavailableError
from keyturn.kubernetes.pods import mark_name, name_of
from keyturn.model import Member
from keyturn.testing.kubernetes_double import Kind
from keyturn.testing.kubernetes_requests import Call
from keyturn.testing.store_scene import new_key
from tests.fleets.kubernetes_scene import (
    CREDENTIAL,
    DEPLOYMENT,
    KEYS,
    NAME,
    SPACE,
    Scene,
    container,
    deployment,
    rollout_of,
    scene,
    version_of,
)

PATCH = "patch deployments"


async def test_every_pod_is_replaced_and_proved_once_and_none_of_before_is_left() -> None:
    async with scene() as s:
        before, key = s.names(), new_key()
        s.set_key(key)
        await s.replace(key)
        assert not s.names() & before
        assert s.marks() == {rollout_of(key)}
        assert sorted(s.asked) == sorted(s.names()) and len(s.asked) == 2
        assert s.double.calls[PATCH] == 1


async def test_a_pod_that_is_ending_is_waited_for() -> None:
    async with scene() as s:
        s.ends_after = 40
        s.turn(1)
        for pod in s.pods():  # those that run keep what they were started with
            s.core.delete_namespaced_pod(name_of(pod), SPACE)
        s.turn(45)
        before, key, began = s.names(), new_key(), s.clock()
        s.set_key(key)
        await s.replace(key)
        assert not s.names() & before and (s.clock() - began).total_seconds() > 40


async def test_only_the_annotation_is_changed() -> None:
    async with scene() as s:
        key, before = new_key(), s.read()["spec"]
        s.set_key(key)
        await s.replace(key)
        after = s.read()["spec"]
        assert after["template"]["metadata"].pop("annotations") == {mark_name(CREDENTIAL): rollout_of(key)}
        assert after == before


async def test_a_roll_that_is_asked_for_again_begins_nothing() -> None:
    async with scene() as s:
        key = new_key()
        s.set_key(key)
        await s.replace(key)
        uids = set(s.uids)
        await s.replace(key)
        assert s.uids == uids and s.double.calls[PATCH] == 1


@pytest.mark.story("9: the roll that did not happen, and the one that did")
async def test_two_rotations_in_one_second_are_two_rolls_and_a_restart_of_keyturn_is_none() -> None:
    """The name of a roll is made of the value, too: a timestamp alone would be the same text, and no change."""
    async with scene() as s:
        first, second = new_key(), new_key()
        s.set_key(first)
        await s.replace(first)
        generation = s.read()["metadata"]["generation"]
        s.set_key(second)
        task = asyncio.create_task(s.replace(second))
        while not task.done() and not s.marks() & {rollout_of(second)}:  # noqa: ASYNC110  the double's pods, not ours
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await s.replace(second)
        assert s.read()["metadata"]["generation"] == generation + 1, "read back: one more template, and no other"
        assert s.marks() == {rollout_of(second)} and len(s.uids) == 6
        await s.replace(second, rollout_of(second, "20260101T000001Z"))
        assert len(s.uids) == 8, "the same value again, promoted again, is another roll"


async def calls_of_a_roll() -> list[str]:
    async with scene() as s:
        key, calls = new_key(), []

        def note(call: Call) -> None:
            calls.append(f"{call.verb} {call.about.plural}")

        s.set_key(key)
        s.double.before = note
        await s.replace(key)
        return calls


async def test_killed_before_and_after_each_call_it_is_finished_by_another_with_no_extra_restart() -> None:
    calls = await calls_of_a_roll()
    assert calls.count(PATCH) == 1 and len(calls) > 15
    for number, call in enumerate(calls):
        # A read whose answer is lost is as one that was not made.
        for fault in (Kind.RESET, Kind.LOST) if call == PATCH else (Kind.RESET,):
            async with scene() as s:
                key = new_key()
                s.set_key(key)
                s.double.inject("*", fault, after=number)
                with pytest.raises(UnavailableError):
                    await s.replace(key)
                await s.replace(key)
                assert s.marks() == {rollout_of(key)}, (number, fault)
                assert len(s.uids) == 4, (number, fault, calls[number])
                assert s.read()["metadata"]["generation"] == 2


async def test_two_workers_at_once_make_one_patch() -> None:
    async with scene() as s:
        key = new_key()
        s.set_key(key)
        await asyncio.gather(s.replace(key), s.replace(key), s.replace(key))
        assert s.read()["metadata"]["generation"] == 2
        assert len(s.uids) == 4 and s.marks() == {rollout_of(key)}


async def test_a_workload_that_was_changed_since_it_was_read_is_read_again() -> None:
    async with scene() as s:
        key, other = new_key(), list[Call]()

        def somebody(call: Call) -> None:
            if call.verb == "patch" and not other:
                other.append(call)
                s.patch({"metadata": {"labels": {"team": "platform"}}})

        s.set_key(key)
        s.double.before = somebody
        await s.replace(key)
        assert s.read()["metadata"]["labels"]["team"] == "platform" and s.marks() == {rollout_of(key)}


async def test_a_stalled_worker_does_not_roll_for_what_was_taken_back_meanwhile() -> None:
    """It has seen the Secret hold its version, and writes after another has gone back: nothing it writes may count."""
    async with scene() as s:
        key, back = new_key(), rollout_of(s.key, "20260101T000009Z")
        s.set_key(key)
        done: list[Any] = []

        def taken_back(call: Call) -> None:
            if call.verb == "patch" and not done:
                done.append(call)
                s.set_key(s.key)
                s.patch({"spec": {"template": {"metadata": {"annotations": {mark_name(CREDENTIAL): back}}}}})

        s.double.before = taken_back
        with pytest.raises(UnavailableError, match="does not hold the new key"):
            await s.replace(key, sync_timeout="10s")
        s.turn(10)
        assert s.marks() == {back}


# What goes wrong.


async def test_a_key_with_which_no_pod_becomes_ready_fails_at_the_deadline_and_the_old_pods_serve_on() -> None:
    async with scene() as s:
        before, key = s.names(), new_key()
        s.refused.add(key.fingerprint())
        s.set_key(key)
        with pytest.raises(RollFailedError, match="progressDeadlineSeconds"):
            await s.replace(key)
        assert before <= s.names() and s.asked == []


async def test_the_roll_back_supersedes_one_that_hangs() -> None:
    async with scene() as s:
        key = new_key()
        s.refused.add(key.fingerprint())
        s.set_key(key)
        with pytest.raises(RollFailedError):
            await s.replace(key)
        s.set_key(s.key)
        await s.replace(s.key)
        assert s.marks() == {rollout_of(s.key)} and len(s.names()) == 2


async def test_the_deadline_of_the_roll_before_is_no_failure_of_this_one() -> None:
    async with scene() as s:
        bad, good = new_key(), new_key()
        s.refused.add(bad.fingerprint())
        s.set_key(bad)
        with pytest.raises(RollFailedError):
            await s.replace(bad)
        s.set_key(good)
        said = {each["reason"]: each["status"] for each in s.read()["status"]["conditions"]}
        assert said["ProgressDeadlineExceeded"] == "False"
        await s.replace(good)  # the first look after the patch finds it there still
        assert s.marks() == {rollout_of(good)}


async def test_a_rollout_that_never_moves_ends_also_where_no_deadline_is_told() -> None:
    async with scene([deployment(progressDeadlineSeconds=2**31 - 1)]) as s:
        key = new_key()
        s.refused.add(key.fingerprint())
        s.set_key(key)
        began = s.clock()
        with pytest.raises(RollFailedError, match="not done after 5m: 1 of 2 pods"):
            await s.replace(key, roll_timeout="5m")
        assert 290 < (s.clock() - began).total_seconds() < 400


async def test_pods_that_cannot_be_made_are_told() -> None:
    async with scene() as s:
        key = new_key()
        s.set_key(key)
        s.workloads.replica_sets.refusing = "exceeded quota"
        with pytest.raises(RollFailedError, match=r"FailedCreate|progressDeadlineSeconds"):
            await s.replace(key, roll_timeout="30s")


async def test_a_pod_that_the_provider_refuses_stops_the_roll_and_no_further_pod_is_replaced() -> None:
    """With minReadySeconds it is asked before any pod has gone for it."""
    async with scene([deployment(minReadySeconds=10)]) as s:
        s.turn(10)
        before, key = s.names(), new_key()
        s.set_key(key)

        async def refused(member: Member) -> None:
            raise RollFailedError(f"{member.name}: the provider refuses it")

        fleet = s.fleet()
        with pytest.raises(RollFailedError, match="the provider refuses it"):
            await fleet.replace(DEPLOYMENT, CREDENTIAL, version_of(key), rollout_of(key), refused)
        assert not await fleet.was_rolled(DEPLOYMENT, CREDENTIAL, rollout_of(key))
        s.turn(60)
        assert s.names() == before, "the pod that was made has gone, and those that serve are those of before"
        assert s.marks() == {""}
        s.set_key(s.key)
        await s.replace(s.key)
        assert s.marks() == {rollout_of(s.key)}


async def test_a_pod_that_cannot_be_asked_now_ends_the_waiting_and_nothing_else() -> None:
    async with scene() as s:
        key = new_key()
        s.set_key(key)

        async def away(member: Member) -> None:
            raise UnavailableError(f"{member.name} does not answer")

        with pytest.raises(UnavailableError):
            await s.fleet().replace(DEPLOYMENT, CREDENTIAL, version_of(key), rollout_of(key), away)
        await s.replace(key)
        assert s.marks() == {rollout_of(key)} and len(s.uids) == 4


async def test_somebody_who_undoes_the_rollout_is_told_of_and_not_waited_for() -> None:
    async with scene() as s:
        template, key = s.read()["spec"]["template"], new_key()
        s.set_key(key)
        undone: list[Any] = []

        def undo() -> None:
            if s.marks() & {rollout_of(key)} and not undone:
                undone.append(s.patch({"spec": {"template": {"metadata": {"annotations": {mark_name(CREDENTIAL): None}}}}}))

        s.meanwhile = undo
        with pytest.raises(RollFailedError, match="somebody has changed it since"):
            await s.replace(key)
        assert s.read()["spec"]["template"]["spec"] == template["spec"]


async def test_a_person_who_deploys_meanwhile_is_waited_for_where_the_mark_stays() -> None:
    """As a deploy by Helm or kubectl does: its pods are made after the Secret held the key, too."""
    async with scene() as s:
        key = new_key()
        s.set_key(key)
        deployed: list[Any] = []

        def deploy() -> None:
            if s.marks() & {rollout_of(key)} and not deployed:
                image = {"name": "litellm", "image": "local/litellm:2"}
                deployed.append(s.patch({"spec": {"template": {"spec": {"containers": [image]}}}}))

        s.meanwhile = deploy
        await s.replace(key)
        assert {pod["spec"]["containers"][0]["image"] for pod in s.pods()} == {"local/litellm:2"}
        assert s.marks() == {rollout_of(key)} and len(s.names()) == 2


@pytest.mark.parametrize(("spec", "said"), [({"paused": True}, "kubectl rollout resume")])
async def test_what_no_change_would_roll_is_left_as_it_is(spec: dict[str, Any], said: str) -> None:
    async with scene([deployment(**spec)]) as s:
        key = new_key()
        s.set_key(key)
        with pytest.raises(RollFailedError, match=said):
            await s.replace(key)
        assert s.double.calls[PATCH] == 0


async def test_no_pods_are_nothing_to_replace_and_those_that_come_later_count() -> None:
    async with scene([deployment(replicas=0)]) as s:
        key = new_key()
        s.set_key(key)
        await s.replace(key)
        assert s.asked == []
        s.patch({"spec": {"replicas": 1}})
        s.turn(5)
        fleet = s.fleet()
        (member,) = await fleet.members()
        assert await fleet.serving(member, CREDENTIAL) == version_of(key)


async def test_an_api_server_that_is_away_is_a_reason_to_try_again() -> None:
    async with scene() as s:
        key = new_key()
        s.set_key(key)
        s.double.inject("list pods", Kind.UNAVAILABLE, after=2, times=3)
        failed = 0
        while True:
            try:
                await s.replace(key)
                break
            except RetryableError:
                failed += 1
        assert failed == 3 and len(s.uids) == 4


async def test_what_is_not_permitted_is_said_as_a_rule() -> None:
    async with scene() as s:
        key = new_key()
        s.set_key(key)
        readers = [
            {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
        ]
        token = s.double.account("reader", readers, namespace=SPACE)
        with pytest.raises(DeniedError) as caught:
            await s.replace(key, token=token, kinds=["Deployment"])
        assert f"{{apiGroups: [apps], resources: [deployments], resourceNames: [{NAME}], verbs: [patch]}}" in str(
            caught.value
        )
        assert s.marks() == {""}


async def test_a_workload_that_is_deleted_meanwhile_is_gone() -> None:
    async with scene() as s:
        key = new_key()
        s.set_key(key)
        s.meanwhile = lambda: _delete(s)
        with pytest.raises(RollFailedError, match="is gone"):
            await s.replace(key)


def _delete(s: Scene) -> None:
    if s.marks() & {""} and s.double.calls["delete deployments"] == 0:
        s.apps.delete_namespaced_deployment(NAME, SPACE)


# What the pods are given is waited for.


async def test_nothing_is_restarted_before_the_secret_holds_the_key() -> None:
    """As External Secrets brings it: some time after the store has it."""
    async with scene() as s:
        key, began = new_key(), s.clock()

        def synced_late() -> None:
            assert s.double.calls[PATCH] == 0 or (s.clock() - began).total_seconds() >= 60
            if (s.clock() - began).total_seconds() >= 60:
                s.set_key(key)

        s.meanwhile = synced_late
        await s.replace(key)
        assert s.marks() == {rollout_of(key)} and len(s.uids) == 4


async def test_a_secret_that_is_never_written_is_told_with_who_should_have() -> None:
    async with scene() as s:
        labels = {"metadata": {"labels": {"reconcile.external-secrets.io/managed": "true"}}}
        s.core.patch_namespaced_secret(KEYS, SPACE, labels)
        with pytest.raises(UnavailableError) as caught:
            await s.replace(new_key(), sync_timeout="1m")
        assert "External Secrets" in caught.value.message and KEYS in caught.value.message
        assert s.double.calls[PATCH] == 0


async def test_kubelets_are_given_time_to_see_the_secret() -> None:
    async with scene() as s:
        key, began = new_key(), s.clock()
        s.set_key(key)
        patched: list[float] = []

        def note(call: Call) -> None:
            if call.verb == "patch":
                patched.append((s.clock() - began).total_seconds())

        s.double.before = note
        await s.replace(key, settle="30s")
        assert patched == [30]


async def test_a_program_that_reads_its_store_itself_is_restarted_without_waiting() -> None:
    starts = {"containers": [container(command=["keyturn", "exec", "--proxy", "prod", "--", "litellm"], envFrom=None)]}
    async with scene([deployment(pod=starts)]) as s:
        key = new_key()
        s.ends_after = 0
        s.workloads.kubelet  # noqa: B018
        with pytest.raises(RollFailedError):  # no variable, so no pod of this scene becomes ready
            await s.replace(key, roll_timeout="10s")
        assert s.double.calls[PATCH] == 1
