"""Hugging Face: the suite of pools, its client at the simulator, and that a 202 is no proof."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from keyturn.errors import UnavailableError
from keyturn.model import Verdict
from keyturn.providers.huggingface import HuggingFace
from keyturn.testing.pool_suite import POOL, PoolSuite
from keyturn.testing.provider_scene import ADMIN, Scene, new_label
from keyturn.testing.provider_suite import fault
from keyturn.testing.vendors.huggingface import HuggingFaceSimulator
from tests.providers.sdk import drive


class TestHuggingFace(PoolSuite):
    PROVIDER, SIMULATOR = HuggingFace, HuggingFaceSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return {"pool": POOL, "base_url": url}

    @pytest.mark.real
    async def test_the_vendors_client_asks_who_it_is(self, scene: Scene) -> None:
        (material,) = await self.filled(scene)
        scene.environ[ADMIN] = material.reveal()
        assert await drive(scene, "huggingface") == {"known": "fineGrained", "unknown": "401"}

    async def test_a_202_says_nothing_and_the_check_does(self, scene: Scene) -> None:
        """What is asked of the vendor is that the token is refused, which the step waits for."""
        (material,) = await self.filled(scene)
        taken = await scene.provider.take(new_label(), ())
        scene.vendor.behaviour.refuse_delay = 20
        await scene.provider.end(taken.ref, None)
        assert (await scene.provider.check(material)).verdict is Verdict.ACCEPTED
        scene.clock.now += 30
        assert (await scene.provider.check(material)).verdict is Verdict.REJECTED

    async def test_a_revoke_that_was_not_taken_is_an_error(self, scene: Scene) -> None:
        await self.filled(scene)
        taken = await scene.provider.take(new_label(), ())
        for kind, status in (("status", 500), ("reset", 500)):
            scene.vendor.faults[:] = [fault("revoke_keys", kind, status=status)]
            with pytest.raises(UnavailableError):
                await scene.provider.end(taken.ref, None)
        assert len(scene.live()) == 1
