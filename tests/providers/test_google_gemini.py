"""Gemini: the suite, Google's client library at the simulator, and the discovery document; and what Google alone has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from keyturn.errors import (
    DeniedError,
    EvidenceMissingError,
    KeyturnError,
    LostAnswerError,
    MisconfiguredError,
    NotFoundError,
    UnavailableError,
)
from keyturn.material import KeyMaterial
from keyturn.model import Verdict
from keyturn.providers.google_gemini import GoogleGemini
from keyturn.testing.provider_scene import MARK, Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite, fault
from keyturn.testing.vendors.google_gemini import PROJECT, GeminiSimulator
from keyturn.testing.vendors.service import Call
from tests.providers.discovery import Discovery
from tests.providers.sdk import drive

GEMINI = {"apiTargets": [{"service": "generativelanguage.googleapis.com"}]}


class TestGoogleGemini(ProviderSuite):
    PROVIDER, SIMULATOR = GoogleGemini, GeminiSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        login = {"access_token": "env:KEYTURN_SUITE_ADMIN", "project": PROJECT}
        addresses = {"base_url": f"{url}/v2", "inference_url": f"{url}/v1beta", "resource_manager_url": f"{url}/v3"}
        return {**login, **addresses}

    def having(self, scene: Scene, **settings: Any) -> Any:
        """The scene's adapter, with settings changed."""
        scene.provider.settings = scene.provider.settings.model_copy(update=settings)
        return scene.provider

    # The suite expects LostAnswerError. Google lets the caller choose a key's id, and tells its text at any time: so what
    # was lost is read, which is better.
    async def test_a_create_whose_answer_is_lost_is_found_by_its_name(self, scene: Scene) -> None:
        for kind in ("lose_answer", "html", "status"):
            name = new_label()
            scene.vendor.faults.append(fault(self.CREATE, kind, commit=True, status=500 if kind == "status" else 200))
            created = await scene.provider.create(name)
            (found,) = await scene.provider.find(name)
            assert found.id == created.ref.id
            assert [key.fingerprint for key in scene.live()] == [created.material.fingerprint()]
            await scene.provider.revoke(found)
            assert scene.live() == []

    # Who fails before its key is staged revokes that, as a key that is nobody else's: see keyturn/steps/undo.py.
    async def test_two_runs_of_one_rotation_have_a_key_each(self, scene: Scene) -> None:
        name = new_label()
        made = await asyncio.gather(*(scene.provider.create(name) for _ in range(3)))
        assert len({each.ref.id for each in made}) == len({each.material.fingerprint() for each in made}) == 3
        assert [each.ref.fingerprint for each in made] == [each.material.fingerprint() for each in made]
        await scene.provider.revoke(made[0].ref)
        assert {key.fingerprint for key in scene.live()} == {each.material.fingerprint() for each in made[1:]}

    async def test_a_request_that_is_sent_twice_on_its_way_makes_one_key(self, scene: Scene) -> None:
        app = scene.server.app

        async def twice(scope: Any, receive: Any, send: Any) -> None:
            if scope["method"] != "POST":
                return await app(scope, receive, send)
            message = await receive()

            async def again() -> Any:
                return message

            async def nowhere(_: Any) -> None:
                return None

            await app(scope, again, nowhere)
            return await app(scope, again, send)

        scene.server.app = twice
        created = await scene.provider.create(new_label())
        assert [key.fingerprint for key in scene.vendor.keys.values()] == [created.material.fingerprint()]

    async def test_a_create_that_cannot_be_read_again_is_lost_and_found_by_its_name(self, scene: Scene) -> None:
        for operation in ("get_key", "get_text"):
            for kind in ("html", "reset", "status", "throttle"):
                name = new_label()
                scene.vendor.faults[:] = [fault(operation, kind, times=None)]
                with pytest.raises(LostAnswerError):
                    await scene.provider.create(name)
                assert [key.name for key in scene.live()] == [name]
                scene.vendor.faults.clear()
                (found,) = await scene.provider.find(name)
                await scene.provider.revoke(found)

    async def test_an_operation_that_cannot_be_asked_after_has_made_a_key_all_the_same(self, scene: Scene) -> None:
        for kind, status in (("html", 200), ("reset", 500), ("status", 403), ("throttle", 429)):
            scene.vendor.faults[:] = [fault("get_operation", kind, status=status, times=None)]
            created = await scene.provider.create(new_label())
            scene.vendor.faults.clear()
            assert (await scene.provider.check(created.material)).verdict is Verdict.ACCEPTED

    async def test_a_key_whose_text_may_not_be_read_is_taken_away_again(self, scene: Scene) -> None:
        scene.vendor.faults.append(fault("get_text", "status", status=403))
        with pytest.raises(DeniedError):
            await scene.provider.create(new_label())
        assert scene.live() == []

    async def test_a_key_that_was_deleted_meanwhile_is_no_new_key(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = GeminiSimulator.create_key

        async def deleting(simulator: GeminiSimulator, call: Call) -> Mapping[str, Any]:
            told = await made(simulator, call)
            (key,) = simulator.live()
            simulator.delete(key)
            key.more["deleted_at"] = simulator.clock()
            return told

        monkeypatch.setattr(GeminiSimulator, "create_key", deleting)
        scene.server.app = scene.vendor.app()
        with pytest.raises(LostAnswerError):
            await scene.provider.create(new_label())

    @pytest.mark.parametrize("status", [200, 400, 404])
    async def test_a_deleted_key_is_not_deleted_again_whatever_google_would_say(self, scene: Scene, status: int) -> None:
        vendor: Any = scene.vendor
        vendor.deleted_again = status
        created = await scene.provider.create(new_label())
        for _ in range(3):
            await scene.provider.revoke(created.ref)
        assert vendor.keys[created.material.fingerprint()].deletions == 1

    async def test_a_key_that_is_deleted_while_we_look_is_a_deleted_key(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        one = scene.provider._google.one

        async def overtaken(id: str) -> Any:
            raw = await one(id)
            (key,) = scene.live()
            scene.vendor.delete(key)
            key.more["deleted_at"] = scene.clock()
            return raw

        scene.provider._google.one = overtaken
        await scene.provider.revoke(created.ref)
        assert scene.live() == []

    async def test_a_name_that_is_too_long_is_refused_before_anything_is_made(self, scene: Scene) -> None:
        with pytest.raises(MisconfiguredError):
            await scene.provider.create(f"keyturn-{'a' * 40}-000000-000000000000")
        assert scene.counts("create_key") == 0

    @pytest.mark.parametrize(("code", "error"), [(3, MisconfiguredError), (7, DeniedError), (13, LostAnswerError)])
    async def test_an_operation_that_fails_is_an_error_of_ours(
        self, scene: Scene, code: int, error: type[KeyturnError]
    ) -> None:
        vendor: Any = scene.vendor
        vendor.fails = {"code": code, "message": scene.literal}
        with pytest.raises(error) as raised:
            await scene.provider.create(new_label())
        assert scene.literal not in f"{raised.value}{raised.value.__context__}"
        created = await scene.provider.create(new_label())
        vendor.fails = {"code": code, "message": scene.literal}
        with pytest.raises(KeyturnError):
            await scene.provider.revoke(created.ref)
        assert len(scene.live()) == 1

    async def test_an_operation_that_does_not_end_is_given_up_and_found_again(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        vendor: Any = scene.vendor
        vendor.polls = 1000
        scene.provider._google._patience = timedelta(seconds=0.3)
        with pytest.raises(UnavailableError):
            await scene.provider.revoke(created.ref)
        again = new_label()
        assert (await scene.provider.create(again)).ref.name == again  # its key is there, whatever the operation says

    async def test_with_refuse_used_google_keeps_what_was_used_in_the_last_7_days(self, scene: Scene) -> None:
        provider = self.having(scene, refuse_used=True)
        created = await provider.create(new_label())
        assert (await provider.check(created.material)).verdict is Verdict.ACCEPTED
        with pytest.raises(EvidenceMissingError):
            await provider.revoke(created.ref)
        assert len(scene.live()) == 1
        scene.clock.now += 7 * 86400 + 1
        await provider.revoke(created.ref)
        assert scene.live() == []

    async def test_a_deleted_key_can_be_had_back(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        await scene.provider.revoke(created.ref)
        await scene.provider.undelete(created.ref)
        assert (await scene.provider.check(created.material)).verdict is Verdict.ACCEPTED
        with pytest.raises(KeyturnError):
            await scene.provider.undelete(created.ref)

    async def test_restrictions_go_from_key_to_key(self, scene: Scene) -> None:
        await scene.provider.create(new_label())
        (first,) = scene.vendor.keys.values()
        assert first.more["restrictions"] == GEMINI
        by_hand = {**GEMINI, "serverKeyRestrictions": {"allowedIps": ["192.0.2.1"]}}
        first.more.update(restrictions=by_hand, serviceAccountEmail="gemini@suite-project.iam.gserviceaccount.com")
        scene.clock.now += 1
        scene.vendor.add_key("keyturn-other-000000-000000000000", restrictions=GEMINI)
        await scene.provider.create(new_label())
        *_, second = scene.vendor.keys.values()
        assert MARK.is_ours(second.name)
        assert (second.more["restrictions"], second.more["serviceAccountEmail"]) == (
            by_hand,
            first.more["serviceAccountEmail"],
        )

    async def test_at_first_they_are_those_of_a_key_that_is_named(self, scene: Scene) -> None:
        provider = self.having(scene, restrictions_of="no-such-key")
        with pytest.raises(NotFoundError):
            await provider.create(new_label())
        assert scene.vendor.keys == {}
        only = {"apiTargets": [{"service": "generativelanguage.googleapis.com", "methods": ["Generate*"]}]}
        theirs, _ = scene.vendor.add_key("somebody's", restrictions=only)
        await self.having(scene, restrictions_of=theirs.id).create(new_label())
        *_, made = scene.vendor.keys.values()
        assert made.more["restrictions"] == only

    async def test_settings_go_before_what_is_copied(self, scene: Scene) -> None:
        await scene.provider.create(new_label())
        account = "g@suite-project.iam.gserviceaccount.com"
        await self.having(scene, services=("example.googleapis.com",), service_account=account).create(new_label())
        *_, made = scene.vendor.keys.values()
        assert made.more["restrictions"] == {"apiTargets": [{"service": "example.googleapis.com"}]}
        assert made.more["serviceAccountEmail"] == account

    async def test_with_read_keys_a_value_is_told_from_others(self, scene: Scene) -> None:
        material = self.by_hand(scene, "somebody's")
        assert [key.fingerprint for key in await scene.provider.list()] == [""]
        assert scene.counts("get_text") == 0
        provider = self.having(scene, read_keys=True)
        for _ in range(2):
            assert [key.fingerprint for key in await provider.list()] == [material.fingerprint()]
        assert scene.counts("get_text") == 1

    @pytest.mark.real
    async def test_the_vendors_sdk_does_a_life_of_a_key(self, scene: Scene) -> None:
        told = await drive(scene, "google_gemini", PROJECT)
        (key,) = scene.vendor.keys.values()
        assert (told["id"], KeyMaterial(told["text"]).fingerprint()) == (key.id, key.fingerprint)
        assert told["granted"] is True
        assert told["names"] == ["projects/123456867718/locations/global/keys/from-the-sdk"]
        assert (told["listed"], told["deleted"], told["after"], told["with_deleted"]) == (["from the SDK"], True, [], 1)
        assert (told["again"], told["unused"], key.deletions, key.more["restrictions"]) == (409, 400, 1, GEMINI)

    async def test_requests_and_answers_fit_the_description(self, scene: Scene) -> None:
        api = Discovery("google-apikeys-v2.json")
        provider = self.having(scene, refuse_used=True, read_keys=True)
        self.by_hand(scene, "somebody's")
        async with api.watching(scene, outside=("/v1beta/models",)):
            created = await provider.create(new_label())
            await provider.list()
            await provider.revoke(created.ref)
            await provider.undelete(created.ref)
            await provider.check(created.material)
            with pytest.raises(EvidenceMissingError):
                await provider.revoke(created.ref)
        of_keys = {f"keys.{each}" for each in ("create", "get", "getKeyString", "list", "delete", "undelete")}
        assert api.seen == {"operations.get", *of_keys}
