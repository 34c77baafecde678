"""Vertex AI: the suite, Google's libraries at the simulator, and the discovery document; and what Google alone has."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from keyturn.errors import LostAnswerError, MisconfiguredError, PermanentError
from keyturn.json_object import json_object
from keyturn.material import KeyMaterial
from keyturn.model import Verdict
from keyturn.providers.admin_api import Answer
from keyturn.providers.verdicts import Row
from keyturn.providers.vertex import Vertex
from keyturn.testing.provider_scene import Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite, fault
from keyturn.testing.vendors.service import Call
from keyturn.testing.vendors.vertex import ACCOUNT, PROJECT, VertexSimulator, oauth_error
from tests.providers.discovery import Discovery
from tests.providers.sdk import drive


class TestVertex(ProviderSuite):
    PROVIDER, SIMULATOR = Vertex, VertexSimulator
    CREATE = "upload_key"

    def settings(self, url: str) -> Mapping[str, Any]:
        login = {"access_token": "env:KEYTURN_SUITE_ADMIN", "project": PROJECT, "service_account": ACCOUNT}
        return {**login, "base_url": f"{url}/v1", "token_uri": f"{url}/token"}

    @pytest.fixture(autouse=True)
    def _the_simulator_learns(self, scene: Scene) -> None:
        """Google sees a certificate, and never the text of a key: by that the suite knows keys, so it is told of it."""
        create, vendor = scene.provider.create, scene.vendor
        assert isinstance(vendor, VertexSimulator)

        async def learning(*given: Any) -> Any:
            created = await create(*given)
            vendor.learn(created.material)
            return created

        scene.provider.create = learning

    def having(self, scene: Scene, **settings: Any) -> Any:
        provider = scene.provider
        provider.settings = provider.settings.model_copy(update=settings)
        provider.facts = provider._facts()
        return provider

    # Keys that people make have no name at Google: the suite's keys, which shall have one, are told apart by their ids.
    async def test_more_keys_than_a_page_holds_are_all_listed_oldest_first(self, scene: Scene) -> None:
        made = []
        for _ in range(self.many(scene)):
            scene.clock.now += 1
            made.append(json.loads(self.by_hand(scene, "").reveal())["private_key_id"])
        assert [key.id for key in await scene.provider.list()] == made

    # The answers to a key are those of OAuth's token endpoint, and not of Google's APIs.
    def answer(self, row: Row) -> Answer:
        response = oauth_error(row.code or "another_code", row.says or "another message", row.status)
        return Answer(row.status, {}, json_object(bytes(response.body)), True)

    async def test_a_key_is_known_by_the_id_in_its_text(self, scene: Scene) -> None:
        created, by_hand = await scene.provider.create(new_label()), self.by_hand(scene, "")
        for material in (created.material, by_hand):
            (fitting,) = [key for key in await scene.provider.list() if material.fits_hint(key.hint)]
            assert fitting.id == json.loads(material.reveal())["private_key_id"]

    async def test_a_key_is_a_key_file_on_one_line(self, scene: Scene) -> None:
        for made_by in ("keyturn", "google"):
            created = await self.having(scene, made_by=made_by).create(new_label())
            found = json.loads(created.material.reveal())
            told = ("service_account", PROJECT, created.ref.id, ACCOUNT)
            assert tuple(found[each] for each in ("type", "project_id", "private_key_id", "client_email")) == told
            assert (await scene.provider.check(created.material)).verdict is Verdict.ACCEPTED

    async def test_no_part_of_a_private_key_is_told_or_sent(self, scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        sent: list[bytes] = []
        app = scene.server.app

        async def watching(scope: Any, receive: Any, send: Any) -> None:
            async def receiving() -> Any:
                message = await receive()
                sent.append(message.get("body", b""))
                return message

            await app(scope, receiving, send)

        scene.server.app = watching
        created = await scene.provider.create(new_label())
        assert (await scene.provider.check(created.material)).verdict is Verdict.ACCEPTED
        await scene.provider.list()
        await scene.provider.revoke(created.ref)
        pem = json.loads(created.material.reveal())["private_key"].split("\n")[1:-2]
        everything = "\n".join((caplog.text, repr(created), *scene.vendor.addresses, *map(bytes.decode, sent)))
        assert len(sent) > 5
        assert [line for line in pem if line in everything] == []
        assert "ya29." not in everything and "assertion=" not in caplog.text

    async def test_one_more_key_than_google_allows_is_not_asked_for(self, scene: Scene) -> None:
        for _ in range(10):
            self.by_hand(scene, "")
        with pytest.raises(PermanentError) as raised:
            await scene.provider.create(new_label())
        assert "10 keys" in raised.value.message and raised.value.remedy
        assert scene.counts("upload_key") == 0
        with pytest.raises(MisconfiguredError):  # by Google's word alone, which does not say why
            await self.having(scene, most_keys=None).create(new_label())
        assert scene.provider.capabilities.max_live_keys is None

    async def test_a_name_that_is_too_long_is_refused_before_anything_is_made(self, scene: Scene) -> None:
        with pytest.raises(MisconfiguredError):
            await scene.provider.create(f"keyturn-{'a' * 40}-000000-000000000000")
        assert scene.vendor.log == []

    async def test_a_key_without_a_fuse_does_not_end(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        assert created.ref.expires_at is None
        assert [key.expires_at for key in await scene.provider.list()] == [None]

    async def test_a_key_that_google_made_has_no_name_and_no_end(self, scene: Scene) -> None:
        provider = self.having(scene, made_by="google")
        assert not provider.capabilities.supports_expiry
        created = await provider.create(new_label(), timedelta(days=1))
        (found,) = await provider.list()
        assert (found.id, found.name, found.expires_at) == (created.ref.id, "", None)
        assert created.material.fits_hint(found.hint)
        scene.vendor.faults.append(fault("create_key", "lose_answer"))
        with pytest.raises(LostAnswerError):
            await provider.create(new_label())
        assert len(await provider.list()) == 2  # the one that was lost stays, as FACTS.risks says

    async def test_an_answer_with_another_key_in_it_is_no_key(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        provider, made = self.having(scene, made_by="google"), VertexSimulator.create_key
        told = [self.by_hand(scene, "").reveal(), "{", "[]", ""]

        async def lying(simulator: VertexSimulator, call: Call) -> Mapping[str, Any]:
            return {**await made(simulator, call), "privateKeyData": base64.b64encode(told[0].encode()).decode()}

        monkeypatch.setattr(VertexSimulator, "create_key", lying)
        scene.server.app = scene.vendor.app()
        while told:
            with pytest.raises(LostAnswerError):
                await provider.create(new_label())
            del told[0]

    @pytest.mark.parametrize("words", ["Invalid JWT: Token must be in a reasonable timeframe", "Robot is disabled."])
    async def test_a_refusal_for_another_reason_is_no_dead_key(self, scene: Scene, words: str) -> None:
        answer = oauth_error("invalid_grant", words)
        judged = Vertex.VERDICTS.judge(Answer(400, {}, json_object(bytes(answer.body)), True))
        assert judged.verdict is Verdict.INDETERMINATE

    async def test_a_wrong_clock_is_no_dead_key(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        scene.vendor.clock = lambda: scene.clock.now + 7200
        judged = await scene.provider.check(created.material)
        assert judged.verdict is Verdict.INDETERMINATE
        assert "clock" in judged.reason

    async def test_what_is_no_key_file_is_not_judged_and_not_sent(self, scene: Scene) -> None:
        for text in ("no key", "{}", '{"private_key":"x"}', '{"private_key":"x","private_key_id":"y","client_email":"z"}'):
            assert (await scene.provider.check(KeyMaterial(text))).verdict is Verdict.INDETERMINATE
        assert scene.counts("give_token") == 0

    @pytest.mark.real
    async def test_the_vendors_sdk_does_a_life_of_a_key(self, scene: Scene) -> None:
        uploaded = await scene.provider.create(new_label())
        told = await drive(scene, "vertex", PROJECT, ACCOUNT, uploaded.material.reveal())
        made = scene.vendor.keys[KeyMaterial(told["text"]).fingerprint()]
        assert (told["id"], told["listed"], told["disabled"]) == (made.id, sorted((uploaded.ref.id, made.id)), [made.id])
        assert (told["tokens"], told["refused"]) == (["ya29.c.", "ya29.c."], "invalid_grant: Invalid JWT Signature.")
        assert told["granted"] is True
        assert (told["after"], made.deletions, told["gone"]) == ([uploaded.ref.id], 1, 404)
        assert (told["certificate"], told["again"]) == (uploaded.ref.name, [uploaded.ref.name, "USER_PROVIDED"])

    async def test_requests_and_answers_fit_the_description(self, scene: Scene) -> None:
        api = Discovery("google-iam-v1-service-account-keys.json")
        async with api.watching(scene, outside=("/token",)):
            self.by_hand(scene, "")
            created = await scene.provider.create(new_label(), timedelta(days=1))
            await scene.provider.list()
            await scene.provider.disable(created.ref)
            await scene.provider.list()
            await scene.provider.enable(created.ref)
            await scene.provider.check(created.material)
            await scene.provider.revoke(created.ref)
            await scene.provider.revoke(created.ref)
            await self.having(scene, made_by="google").create(new_label())
        assert api.seen == {f"keys.{each}" for each in ("create", "upload", "get", "list", "disable", "enable", "delete")}
