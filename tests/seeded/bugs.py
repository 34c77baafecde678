"""Bugs that are put into the product on purpose, and the test that must go red for each.

`old` is replaced by `new` once in `file`. A bug whose `old` is no longer there is a fault of this table: the guard it
takes out was moved, and has to be named anew.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bug:
    """What is broken, where, how, and by which test it is caught."""

    name: str
    file: str
    old: str
    new: str
    caught_by: str


_RESPOND = "tests/steps/test_respond.py::test_"
_IN_ORDER = "tests/steps/test_environments_in_order.py::test_"
_APPROVAL = "tests/steps/test_approval.py::test_"
_STORIES = "tests/steps/test_stories.py::test_"

# One guard for each story that a test in memory tells (tests/steps/test_stories.py, tests/flows/test_sweep.py).
STORIES = (
    Bug(
        "1: keys of a rotation's name are not tidied up",
        "flows/serve_current.py",
        "    await _tidy_quietly(c)\n",
        "",
        _STORIES + "dead_after_the_create_and_before_any_write",
    ),
    Bug(
        "2: failures are not counted",
        "keyturn/steps/failure.py",
        "parks = count >= c.patience.park_after",
        "parks = False",
        _STORIES + "a_key_that_is_refused_for_good_is_given_up_and_so_are_its_successors",
    ),
    Bug(
        "3: nothing is asked before the create",
        "flows/rotate.py",
        "        await preflight(c)\n",
        "        pass\n",
        _STORIES + "what_would_stop_it_stops_it_before_anything_is_created",
    ),
    Bug(
        "4: a revoke that fails fails the rotation",
        "flows/retire.py",
        '        c.say("revoke", f"pending: {error}")\n',
        "        raise\n",
        _STORIES + "a_revoke_that_fails_is_a_rotation_with_its_revocation_pending",
    ),
    Bug(
        "5: each run has an id of its own",
        "keyturn/steps/observe.py",
        "    return rotation_id(c.mark, ",
        "    import uuid\n\n    return rotation_id(c.mark, uuid.uuid4().hex + ",
        _STORIES + "two_workers_at_every_effect_and_one_of_them_is_killed",
    ),
    Bug(
        "6: what a member serves is not compared",
        "keyturn/steps/prove.py",
        "    if serving != version:",
        "    if False:",
        _STORIES + "proxies_that_read_another_secret_are_found_out_before_anything_is_revoked",
    ),
    Bug(
        "7: the overlap is not waited for",
        "flows/retire.py",
        "    if after is not None and c.now() < after and (watched or not now):",
        "    if False:",
        _STORIES + "both_keys_are_accepted_through_the_whole_overlap",
    ),
    Bug(
        "8: a member is believed when it says that it was rolled",
        "keyturn/steps/prove.py",
        "    if serving != version:",
        "    if False:",
        _STORIES + "a_member_that_says_it_was_rolled_and_serves_the_old_key_is_not_believed",
    ),
    Bug(
        "9: a member that serves the key already is rolled again",
        "keyturn/steps/roll.py",
        "    if await _serves(c, name, member, onto.version):\n",
        "    if False:\n",
        _STORIES + "two_rotations_in_one_second_are_two_rolls_and_a_resumed_one_is_none",
    ),
    Bug(
        "10: a fresh key that is refused is given up at once",
        "keyturn/steps/validate.py",
        "found.verdict is Verdict.REJECTED and c.now() - begun >= c.propagation",
        "found.verdict is Verdict.REJECTED",
        _STORIES + "a_key_that_is_slow_to_be_accepted_is_waited_for_and_one_that_cannot_be_judged_is_not_undone",
    ),
    Bug(
        "11: a retirement does not ask whether the rotation is finished",
        "flows/retire.py",
        "    if turn.decision.step in half_way:",
        "    if False:",
        _STORIES + "a_lost_create_and_an_unproved_key_revoke_nothing",
    ),
    Bug(
        "12: what was promoted is not rolled by the next run",
        "keyturn/lifecycle.py",
        "    unrolled,\n    unproved,\n",
        "",
        _STORIES + "a_roll_that_failed_is_resumed_at_the_next_tick_and_nothing_is_created",
    ),
    Bug(
        "lemur: a key that is gone is not forgotten",
        "keyturn/steps/fence.py",
        "{**notes(keys={fingerprint: None}, retired_at=c.now()), **settled}",
        "{**notes(retired_at=c.now()), **settled}",
        _STORIES + "a_second_sweep_right_after_a_success_does_nothing",
    ),
    Bug(
        "AWS: a foreign pending version is taken for ours",
        "keyturn/steps/create.py",
        "    if pending.id != turn.rotation:\n",
        "    if False:\n",
        _STORIES + "a_stale_staged_value_is_cleared_or_adopted",
    ),
    Bug(
        "ai-gateway: all credentials share the places of a sweep",
        "flows/choice.py",
        "places[_parts(config.credential(name))]",
        "places[None]",
        "tests/flows/test_sweep.py::test_a_provider_that_hangs_holds_up_nobody_who_does_not_use_it",
    ),
)

# Bugs that somebody could put in without a thought.
SLIPS = (
    Bug(
        "promote without compare-and-swap",
        "keyturn/stores/staged_store.py",
        "            if now.version != replacing:",
        "            if False:",
        "tests/stores/test_staged_interleavings.py",
    ),
    Bug(
        "revoke before proof",
        "keyturn/steps/revoke.py",
        "    members = await ask_members(c, stages[Stage.CURRENT])\n    demand_complete(Evidence(members), waiver=waiver)\n",
        "    members = tuple(replace(m, rule=Rule.ANSWERED) for m in await ask_members(c, stages[Stage.CURRENT]))\n",
        "tests/steps/test_rotation.py",
    ),
    Bug(
        "owner_project_access forgotten",
        "keyturn/providers/openai.py",
        ', "owner_project_access": "any"}',
        "}",
        "tests/providers/test_openai.py::test_keys_whose_owner_has_no_access_are_listed_too",
    ),
    Bug(
        "create retried blindly",
        "keyturn/steps/create.py",
        "            created = await _turned_or_made(c, turn)\n    except LostAnswerError:\n",
        "            created = await _turned_or_made(c, turn)\n    except LostAnswerError:\n"
        "        return await c.provider.create(turn.label + 'b', c.settings.fuse)\n",
        "tests/steps/test_races.py::test_one_more_run_ends_what_a_fault_at_any_call_left",
    ),
    Bug(
        "undo revokes before it discards",
        "keyturn/steps/undo.py",
        "    try:\n        await store.discard(secret, pending)\n",
        "    await c.provider.revoke(await ref_of(c, key_id))\n    try:\n        await store.discard(secret, pending)\n",
        "tests/steps/test_races.py::test_an_undo_that_sleeps_anywhere_spares_a_key_that_others_brought_into_service",
    ),
    Bug(
        "a key is deleted that a rollback may still bring back",
        "keyturn/steps/fence.py",
        "    await store.bar(secret, version)\n",
        "",
        "tests/steps/test_rollback.py::test_a_retirement_and_a_rollback_at_once_never_leave_a_dead_key_in_service",
    ),
    Bug(
        "a key is deleted that members were rolled back onto",
        "keyturn/steps/revoke.py",
        "    await refuse_what_is_served(c, fingerprint, waiver)\n    can_disable",
        "    can_disable",
        "tests/steps/test_latecomers.py::test_a_late_retirement_spares_a_key_that_a_rollback_brought_back_to_the_members",
    ),
    Bug(
        "a stray is deleted that its maker may still stage",
        "keyturn/steps/strays.py",
        "        await _spend(c, c.mark.rotation_of(key.name))\n",
        "",
        "tests/steps/test_sweep.py::test_a_maker_that_slept_through_the_sweep_brings_no_dead_key_into_service",
    ),
    Bug(
        "a stray is taken by its name alone",
        "keyturn/steps/strays.py",
        "        if reason := await _why_it_stays(c, seen, key):",
        "        if reason := '':",
        "tests/steps/test_sweep.py::test_a_key_that_cannot_be_explained_is_told_and_left",
    ),
    Bug(
        "the way back leads to a dead key",
        "keyturn/steps/take_back.py",
        "    await _demand_accepted(c, secret, store, previous)\n",
        "",
        "tests/steps/test_rollback.py::test_there_is_no_way_back_to_a_key_that_the_provider_refuses",
    ),
    Bug(
        "the next member is moved before the last one is proved",
        "keyturn/steps/roll.py",
        "    if onto.proves:\n        await prove_moved(c, name, member, onto.version)\n",
        "",
        "tests/steps/test_prove_member.py",
    ),
    Bug(
        "a fleet is rolled while another run asks its members",
        "flows/at_fleets.py",
        "            if not self._inside and self._open:\n",
        "            if self._open:\n",
        "tests/flows/test_at_fleets.py",
    ),
    Bug(
        "in an incident the leaked key is served again",
        "flows/serve_current.py",
        "    if _in_incident(turn):",
        "    if False:",
        "tests/steps/test_rollback.py::test_an_incident_never_goes_back_to_the_key_that_may_have_leaked",
    ),
    Bug(
        "a 403 reads as a dead key",
        "keyturn/providers/openai.py",
        "(403, None): (Verdict.INDETERMINATE",
        "(403, None): (Verdict.REJECTED",
        "tests/providers/test_openai.py",
    ),
    Bug(
        "the neighbours of a field are lost",
        "keyturn/stores/vault_documents.py",
        "        fields = {**main.content, field_of(secret): material.reveal()}\n",
        "        fields = {field_of(secret): material.reveal()}\n",
        "tests/stores/test_staged_interleavings.py",
    ),
    Bug(
        "an update that changes nothing is taken for a write",
        "keyturn/stores/kubernetes_documents.py",
        "{_IS_FOR: _title(place), _WRITTEN: str(uuid.uuid4())}",
        "{_IS_FOR: _title(place)}",
        "tests/stores/test_staged_interleavings.py",
    ),
    Bug(
        "a key is printed",
        "keyturn/material.py",
        "    def __repr__(self) -> str:\n        return MASK\n",
        "    def __repr__(self) -> str:\n        return self.__text\n",
        "tests/test_material.py",
    ),
    Bug(
        "the other wrong key of a race is left alive",
        "keyturn/steps/write.py",
        '        await drop(c, "write", key.ref, fingerprint, key.material)\n',
        "        pass\n",
        "tests/steps/test_races.py::test_two_workers_that_take_turns_anywhere_make_one_rotation",
    ),
    Bug(
        "a key is turned a second time away from one value",
        "keyturn/steps/in_place.py",
        "    if _may_have_an_old_text(c, journal, current):\n",
        "    if False:\n",
        "tests/steps/test_in_place.py::test_while_an_old_text_lives_that_members_may_serve_its_key_is_not_turned_again",
    ),
    Bug(
        "a key is deleted while another of its texts is in service",
        "keyturn/steps/in_place.py",
        "    return shares_its_key(journal, stages, key_id, fingerprint)\n",
        "    return False\n",
        "tests/steps/test_in_place.py::test_the_key_stays_and_its_old_text_ends_by_itself",
    ),
    Bug(
        "a key whose old text lives while it is disabled stays as long as that",
        "keyturn/steps/revoke.py",
        " and not await has_other_texts(c, ref.id, fingerprint)",
        "",
        "tests/steps/test_in_place.py::test_a_key_is_deleted_though_its_old_text_lives_while_it_is_disabled",
    ),
    Bug(
        "a leaked key is revoked first, and that is noted nowhere",
        "flows/respond_one.py",
        "        noted = await report_leak(c, current.fingerprint, leak.at, first=leak.first)\n",
        "        noted = True\n",
        _RESPOND + "a_parked_credential_whose_key_was_revoked_first_is_not_left_without_one",
    ),
    Bug(
        "a leaked key is replaced by nobody once its run is dead",
        "keyturn/lifecycle.py",
        "    leaked,\n    parked,",
        "    parked,",
        _RESPOND + "a_parked_credential_whose_key_was_revoked_first_is_not_left_without_one",
    ),
    Bug(
        "the call for a leak that is repeated takes the new key for the leaked one",
        "flows/respond_one.py",
        " and (leak.fingerprint or not is_promoted_since(turn.seen, leak.at))",
        "",
        _RESPOND + "the_same_call_again_makes_no_second_key",
    ),
    Bug(
        "a key that was disabled for a leak is enabled again",
        "keyturn/steps/revoke.py",
        "    can_disable = c.provider.capabilities.can_disable and not ended_first",
        "    can_disable = c.provider.capabilities.can_disable",
        _RESPOND + "a_key_that_was_disabled_for_a_leak_is_never_enabled_again",
    ),
    Bug(
        "a thief's use keeps the leaked key alive",
        "keyturn/steps/revoke.py",
        "            evidence = _used_by_a_thief(evidence)\n",
        "            pass\n",
        _RESPOND + "that_a_leaked_key_is_used_is_no_reason_to_keep_it",
    ),
    Bug(
        "a leaked key is ended before the person who is asked has answered",
        "flows/retire.py",
        "    asks = not said and force is None\n",
        "    asks = False\n",
        _APPROVAL + "the_new_key_is_served_while_the_leaked_one_waits_for_an_answer",
    ),
    Bug(
        "a leaked key is revoked first although nobody has said yes",
        "flows/incident.py",
        "if leaked.first and not await held_back(c, leaked.text):",
        "if leaked.first:",
        _APPROVAL + "nothing_is_revoked_first_before_somebody_said_so",
    ),
    Bug(
        "the answer about one key ends another",
        "keyturn/steps/answer.py",
        'if fingerprint in ("", each)',
        "if True",
        _APPROVAL + "an_answer_to_an_old_question_ends_no_other_key",
    ),
    Bug(
        "production is rotated before staging's bake time is over",
        "keyturn/order.py",
        "    if now < proved + follows.bake:",
        "    if False:",
        _IN_ORDER + "production_waits_for_staging_and_for_the_bake_time_and_then_is_rotated_by_the_sweep",
    ),
    Bug(
        "production waits for staging until its key ends",
        "keyturn/order.py",
        "    if ends is not None and c.now()",
        "    if False and c.now()",
        _IN_ORDER + "no_key_is_waited_for_to_its_end",
    ),
    Bug(
        "a text that ends by itself waits for the next schedule",
        "flows/sweep_one.py",
        'DUE_AT_ONCE = ("turned", "leaked")',
        'DUE_AT_ONCE = ("leaked",)',
        "tests/steps/test_in_place.py::test_after_a_rollback_for_good_the_text_that_ends_is_replaced_all_the_same",
    ),
    Bug(
        "a second store is left behind",
        "keyturn/steps/roll.py",
        "    await follow(c, version)\n",
        "",
        "tests/steps/test_rotation.py::test_a_second_store_that_was_changed_by_hand_later_is_brought_back",
    ),
    Bug(
        "a note about a key is overwritten with the others",
        "keyturn/stores/aws_tags.py",
        "apart = {name: text for name, text in notes.items() if name.startswith(APART)}",
        "apart: dict[str, str | None] = {}",
        "tests/stores/test_aws_tags.py::test_who_writes_other_notes_touches_no_tag_apart",
    ),
    Bug(
        "a value staged anew is promoted by who saw it staged before",
        "keyturn/model.py",
        "(pending.version, pending.version.id) == (version, version.id)",
        "pending.version == version",
        "tests/stores/test_memory.py",
    ),
    Bug(
        "a file is written where it stands",
        "keyturn/stores/safe_file.py",
        "        scratch.replace(path)\n",
        "        path.write_bytes(content)\n",
        "tests/stores/test_dotenv_processes.py",
    ),
    Bug(
        "who was let in by an access list is shut out",
        "keyturn/stores/safe_file.py",
        "    for name, value in seen.attributes.items():\n",
        "    for name, value in ():\n",
        "tests/stores/test_dotenv_disk.py::test_attributes_and_the_access_list_stay",
    ),
    Bug(
        "of several lines for a variable one is guessed",
        "keyturn/stores/dotenv_text.py",
        "    if len(mentions) > 1:\n",
        "    if False:\n",
        "tests/stores/test_dotenv_text.py::test_what_readers_take_differently_is_refused",
    ),
    Bug(
        "a slot of another account is made anew",
        "keyturn/steps/create.py",
        "    return (await c.judge(current.material)).verdict is Verdict.REJECTED\n",
        "    return True\n",
        "tests/steps/test_slots.py::test_a_key_of_ours_that_is_in_no_slot_and_is_accepted_all_the_same_stops_the_rotation",
    ),
    Bug(
        "a member is believed before its workers can have read the table",
        "keyturn/fleets/litellm_credentials.py",
        "self.settings.settle <= self._now() - told.mark.at",
        "told.mark.at <= self._now()",
        "tests/fleets/test_litellm_credentials.py::test_a_member_does_not_count_before_the_others_could_read_it",
    ),
    Bug(
        "a key is written by a member that the others cannot read",
        "keyturn/fleets/litellm_credentials.py",
        "    return member if member in readers else next(iter(readers), None)\n",
        "    return member\n",
        "tests/fleets/test_litellm_credentials.py::test_one_with_another_salt_key_never_writes_and_does_not_count",
    ),
    Bug(
        "who has ended keeps others off for as long as the slowest beside it",
        "flows/shared_lease.py",
        "            self._later = self._later or asyncio.create_task(self._give_back_what_rests())\n",
        "",
        "tests/flows/test_shared_lease.py::test_what_was_left_is_given_back_while_the_others_are_at_work",
    ),
)
