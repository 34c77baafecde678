"""Perplexity: the suite, the examples on its pages, and keys that are deleted by their text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from keyturn.errors import DeniedError, KeyturnError, PermanentError
from keyturn.material import KeyMaterial
from keyturn.ports import RevokesByText
from keyturn.providers.openrouter import OpenRouter
from keyturn.providers.perplexity import Perplexity
from keyturn.testing.provider_scene import ADMIN, Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite, fault
from keyturn.testing.vendors.perplexity import PerplexitySimulator
from tests.providers.description import Recorder

PAGE = json.loads((Path(__file__).parents[1] / "data" / "providers" / "perplexity.json").read_text())


class TestPerplexity(ProviderSuite):
    PROVIDER, SIMULATOR = Perplexity, PerplexitySimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return {"key": "env:KEYTURN_SUITE_ADMIN", "base_url": url}

    async def revoke(self, scene: Scene, created: Any) -> None:
        """By its text, with the key in service: Perplexity has nothing else."""
        await scene.provider.revoke_text(created.material, KeyMaterial(scene.environ[ADMIN]))

    async def test_an_address_that_says_404_or_a_page_to_all_has_revoked_nothing(self, scene: Scene) -> None:
        """The suite's revokes by an id, which is refused at once."""
        created = await scene.provider.create(new_label())
        for status in (200, 401, 404):
            for group in ("admin", "*"):
                scene.vendor.faults[:] = [fault(group, "html", status=status, times=None)]
                with pytest.raises(KeyturnError):
                    await self.revoke(scene, created)
        scene.vendor.faults[:] = [fault("*", "status", status=401, times=None)]
        with pytest.raises(DeniedError):
            await self.revoke(scene, created)
        scene.vendor.faults.clear()
        assert len(scene.live()) == 1

    async def test_a_gateway_that_accepts_nobody_is_not_believed_that_a_key_is_gone(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        scene.vendor.faults.append(fault("key", "status", status=401, times=None))
        scene.vendor.faults.append(fault("admin", "status", status=404))
        with pytest.raises(PermanentError):
            await self.revoke(scene, created)
        await self.revoke(scene, created)
        assert scene.live() == []

    async def test_a_new_key_that_is_not_accepted_yet_is_deleted_nevertheless(self, scene: Scene) -> None:
        """A refusal of the key is no proof that it is gone: a run gives up a key that it has just made."""
        scene.vendor.behaviour.accept_delay = 60
        created = await scene.provider.create(new_label())
        await self.revoke(scene, created)
        scene.clock.now += 120
        assert scene.live() == []

    async def test_a_new_key_that_may_not_be_deleted_is_not_taken_for_gone(self, scene: Scene) -> None:
        scene.vendor.behaviour.accept_delay = 60
        created = await scene.provider.create(new_label())
        scene.vendor.faults.append(fault(self.DELETE, "status", status=403))
        with pytest.raises(DeniedError):
            await self.revoke(scene, created)

    async def test_a_key_is_deleted_by_its_successor(self, scene: Scene) -> None:
        old, new = await scene.provider.create(new_label()), await scene.provider.create(new_label())
        await scene.provider.revoke_text(old.material, new.material)
        assert [key.fingerprint for key in scene.live()] == [new.material.fingerprint()]
        (call,) = [call for call in scene.vendor.log if call.operation == "delete_key"]
        assert call.fingerprint == new.material.fingerprint()

    async def test_a_successor_that_is_refused_deletes_nothing(self, scene: Scene) -> None:
        created, dead = await scene.provider.create(new_label()), KeyMaterial(scene.vendor.text(""))
        with pytest.raises(DeniedError):
            await scene.provider.revoke_text(created.material, dead)
        assert len(scene.live()) == 1

    async def test_a_key_is_not_deleted_by_an_id(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        with pytest.raises(PermanentError, match="by their text alone"):
            await scene.provider.revoke(created.ref)
        assert len(scene.live()) == 1

    async def test_preflight_says_that_an_orphan_cannot_be_seen(self, scene: Scene) -> None:
        findings = await scene.provider.preflight()
        assert [finding.ok for finding in findings] == [True, None, None]
        assert findings[1].what == "may create and delete keys at Perplexity"
        assert "console" in findings[2].detail

    async def test_no_text_is_in_an_error_of_a_deletion(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        told = []
        for kind, status in (("status", 500), ("status", 400), ("html", 200), ("reset", 500)):
            scene.vendor.faults[:] = [fault("admin", kind, status=status, code=created.material.reveal(), times=None)]
            with pytest.raises(KeyturnError) as raised:
                await self.revoke(scene, created)
            told += [str(raised.value), repr(raised.value), repr(raised.value.__context__), repr(raised.value.__cause__)]
        everything = "\n".join((*told, *scene.vendor.addresses))
        assert scene.literal not in everything and scene.environ[ADMIN] not in everything

    async def test_requests_and_answers_have_the_fields_of_the_pages(self, scene: Scene) -> None:
        recorder = scene.server.app = Recorder(scene.server.app)
        created = await scene.provider.create(new_label())
        await self.revoke(scene, created)
        await scene.provider.check(KeyMaterial(scene.environ[ADMIN]))
        seen = {exchange.path: exchange for exchange in recorder.exchanges if exchange.status == 200}
        made, gone = seen["/generate_auth_token"], seen["/revoke_auth_token"]
        assert forms(made.body) == forms(PAGE["create"]["request"])
        assert forms(made.answer) == forms(PAGE["create"]["answer"])
        assert (forms(gone.body), gone.answer) == (forms(PAGE["revoke"]["request"]), PAGE["revoke"]["answer"])
        assert seen["/v1/async/sonar"].answer.keys() == PAGE["check"]["answer"].keys()


def forms(document: Mapping[str, Any]) -> Mapping[str, type]:
    return {name: type(value) for name, value in document.items()}


def test_only_such_a_vendor_deletes_by_text() -> None:
    assert issubclass(Perplexity, RevokesByText)
    assert not issubclass(OpenRouter, RevokesByText)
