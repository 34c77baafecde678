"""Login to Google with a service account's key file, at the token endpoint that google-auth drives in test_vertex.py."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, ThrottledError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.providers.vertex import Vertex
from keyturn.testing.provider_scene import ADMIN, ProviderScene, Scene, new_label
from keyturn.testing.provider_suite import fault
from keyturn.testing.vendors.vertex import ACCOUNT, PROJECT, VertexSimulator


class TestKeyFile(ProviderScene):
    PROVIDER, SIMULATOR = Vertex, VertexSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        login = {"service_account_key": f"env:{ADMIN}", "project": PROJECT, "service_account": ACCOUNT}
        return {**login, "base_url": f"{url}/v1", "token_uri": f"{url}/token"}

    def admin(self) -> str:
        return VertexSimulator(KeyMaterial("nobody's")).text("")

    @pytest.fixture
    def vendor(self, scene: Scene) -> Any:
        """The service account manages its own keys, with the one that the scene has at hand."""
        vendor: Any = scene.vendor
        vendor.add_key("", text=scene.environ[ADMIN])
        vendor.administers = True
        return vendor

    async def test_one_token_serves_until_shortly_before_its_end(self, scene: Scene, vendor: Any) -> None:
        for further, tokens in ((0, 1), (3500, 1), (60, 2), (3500, 2)):
            scene.clock.now += further
            assert len(await scene.provider.list()) == 1
            assert scene.counts("give_token") == tokens

    async def test_another_key_file_is_another_login(self, scene: Scene, vendor: Any) -> None:
        await scene.provider.list()
        _, second = vendor.add_key("")
        scene.environ[ADMIN] = second.reveal()
        assert len(await scene.provider.list()) == 2
        assert scene.counts("give_token") == 2
        scene.environ[ADMIN] = vendor.text("")  # nobody has it
        with pytest.raises(DeniedError) as raised:
            await scene.provider.list()
        assert "token" in raised.value.message and raised.value.remedy

    async def test_a_token_that_google_refuses_is_not_kept(self, scene: Scene, vendor: Any) -> None:
        await scene.provider.list()
        vendor.tokens.clear()
        with pytest.raises(DeniedError):
            await scene.provider.list()
        assert len(await scene.provider.list()) == 1

    async def test_what_is_no_key_file_is_said_and_not_quoted(self, scene: Scene, vendor: Any) -> None:
        good = json.loads(scene.environ[ADMIN])
        for text in ("not-json", "{}", json.dumps({**good, "private_key": good["private_key"][:400]})):
            scene.environ[ADMIN] = text
            with pytest.raises(MisconfiguredError) as raised:
                await scene.provider.list()
            assert ADMIN in raised.value.message
            assert raised.value.__context__ is None
            assert text not in str(raised.value)
        assert scene.counts("give_token") == 0

    @pytest.mark.parametrize(
        ("kind", "status", "error"),
        [
            ("status", 400, DeniedError),
            ("status", 401, DeniedError),
            ("throttle", 429, ThrottledError),
            ("status", 503, UnavailableError),
            ("html", 200, UnavailableError),
            ("reset", 500, UnavailableError),
        ],
    )
    async def test_without_a_token_nothing_is_asked_for(
        self, scene: Scene, vendor: Any, kind: str, status: int, error: type[KeyturnError]
    ) -> None:
        vendor.faults.append(fault("give_token", kind, status=status, times=None))
        with pytest.raises(error):
            await scene.provider.create(new_label())
        assert {call.operation for call in vendor.log} == {"give_token"}
        vendor.faults.clear()
        await scene.provider.create(new_label())

    async def test_neither_the_key_nor_the_token_is_logged(
        self, scene: Scene, vendor: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        await scene.provider.list()
        everything = caplog.text + repr(scene.provider.api.__dict__) + "".join(vendor.addresses)
        assert "/token" in everything
        lines = json.loads(scene.environ[ADMIN])["private_key"].split("\n")[1:-2]
        assert [line for line in (*lines, "ya29.", "assertion") if line in everything] == []

    def test_there_is_one_login(self) -> None:
        given = dict(self.settings("http://127.0.0.1:1"))
        for login in ({"access_token": f"env:{ADMIN}"}, {"service_account_key": None}):
            with pytest.raises(ValueError, match="either"):
                Vertex.Settings.model_validate({**given, **login})
