"""A LiteLLM proxy as upstream: the suite, LiteLLM's own client at the simulator, and its own models over every exchange."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.errors import UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import Verdict
from keyturn.providers.litellm_proxy import LiteLLMProxy
from keyturn.testing.provider_scene import Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite, fault
from keyturn.testing.vendors.litellm_proxy import LiteLLMProxySimulator
from keyturn.testing.vendors.service import Call
from tests.providers.description import Recorder
from tests.providers.sdk import ROOT, drive


class TestLiteLLMProxy(ProviderSuite):
    PROVIDER, SIMULATOR = LiteLLMProxy, LiteLLMProxySimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return {"admin_key": "env:KEYTURN_SUITE_ADMIN", "base_url": url}

    @pytest.mark.real
    async def test_litellms_client_and_litellms_models(self, scene: Scene, tmp_path: Path) -> None:
        recorder = scene.server.app = Recorder(scene.server.app)
        await scene.provider.preflight()
        created = await scene.provider.create(new_label(), timedelta(days=1))
        await scene.provider.list()
        await scene.provider.disable(created.ref)
        await scene.provider.check(created.material)
        await scene.provider.list()
        await scene.provider.enable(created.ref)
        await scene.provider.check(created.material)
        await scene.provider.revoke(created.ref)
        await scene.provider.revoke(created.ref)
        exchanges = tmp_path / "exchanges"
        exchanges.touch(0o600)
        exchanges.write_text(json.dumps([asdict(each) for each in recorder.exchanges]))
        told = await drive(scene, "litellm_proxy", str(exchanges), python=ROOT / ".proxy" / "bin" / "python")
        _, key = scene.vendor.keys.values()
        assert (told["id"], KeyMaterial(told["text"]).fingerprint()) == (key.id, key.fingerprint)
        assert (told["listed"], told["deleted"], told["after"]) == (["from the client"], [key.id], [])
        assert told["refused"] is True
        calls = {"generate", "list", "block", "unblock", "delete"}
        assert set(told["seen"]) == {f"/key/{call}" for call in calls} | {"/v1/models", "/v2/user/info"}

    @pytest.mark.parametrize(
        ("user", "role", "ok"),
        [
            ("admin", "proxy_admin", True),
            ("admin", "proxy_admin_viewer", False),
            ("default_user_id", "proxy_admin_viewer", None),
            ("somebody", "internal_user", None),
            ("somebody", None, None),
        ],
    )
    async def test_only_a_role_that_may_never_is_a_denial(self, scene: Scene, user: str, role: str | None, ok: Any) -> None:
        async def told(call: Call) -> Mapping[str, Any]:
            return {"user_id": user, "user_role": role}

        scene.vendor.user = told  # type: ignore[attr-defined]
        scene.server.app = scene.vendor.app()
        assert [each.ok for each in await scene.provider.preflight()] == [True, ok]

    async def test_a_label_can_be_used_again_and_finds_all_its_keys(self, scene: Scene) -> None:
        """LiteLLM refuses an alias that it has: a create could not be repeated once its answer was lost."""
        name = new_label()
        made = {(await scene.provider.create(name)).ref.id for _ in range(2)}
        assert {key.id for key in await scene.provider.find(name)} == made
        assert len({key.name for key in scene.vendor.live()}) == 2

    async def test_a_blocked_and_an_expired_key_are_refused_for_themselves(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label(), timedelta(days=1))
        await scene.provider.disable(created.ref)
        assert (await scene.provider.check(created.material)).verdict is Verdict.REJECTED
        await scene.provider.enable(created.ref)
        assert (await scene.provider.check(created.material)).verdict is Verdict.ACCEPTED
        scene.clock.now += 2 * 86400
        assert (await scene.provider.check(created.material)).verdict is Verdict.REJECTED

    async def test_a_failure_to_authenticate_of_the_proxys_own_is_no_dead_key(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        scene.vendor.faults.append(fault("key", "status", status=401, code="auth_error", times=None))
        assert (await scene.provider.check(created.material)).verdict is Verdict.INDETERMINATE

    async def test_a_list_that_moves_between_its_pages_is_read_anew(self, scene: Scene) -> None:
        """A key that is deleted after the first page was read moves one of the second page up to the first."""
        names = {f"key {number}" for number in range(150)}
        gone, *_ = [self.by_hand(scene, name) for name in sorted(names)][::-1]
        simulator, lost = scene.vendor, scene.vendor.keys[gone.fingerprint()]
        honest = simulator.list_keys  # type: ignore[attr-defined]

        async def list_keys(call: Call) -> Mapping[str, Any]:
            answer: Mapping[str, Any] = await honest(call)
            if not lost.deleted:
                simulator.delete(lost)
            return answer

        simulator.list_keys = list_keys  # type: ignore[attr-defined]
        scene.server.app = simulator.app()
        assert {key.name for key in await scene.provider.list()} == names - {lost.name}

    async def test_a_list_that_never_comes_to_rest_is_an_error(self, scene: Scene) -> None:
        for number in range(150):
            self.by_hand(scene, f"key {number}")
        simulator = scene.vendor
        honest = simulator.list_keys  # type: ignore[attr-defined]

        async def list_keys(call: Call) -> Mapping[str, Any]:
            answer: Mapping[str, Any] = await honest(call)
            simulator.delete(simulator.live()[-1])
            return answer

        simulator.list_keys = list_keys  # type: ignore[attr-defined]
        scene.server.app = simulator.app()
        with pytest.raises(UnavailableError, match="changes while"):
            await scene.provider.list()
