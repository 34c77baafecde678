"""Voyage through Atlas: the suite, and the fields on Atlas's pages. There is no SDK of it for Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyturn.errors import PermanentError
from keyturn.providers.voyage_atlas import VoyageAtlas
from keyturn.testing.provider_scene import ADMIN, Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite
from keyturn.testing.vendors.voyage_atlas import CLIENT, GROUP, VoyageAtlasSimulator
from tests.providers.description import Recorder

PAGE = json.loads((Path(__file__).parents[1] / "data" / "providers" / "voyage_atlas.json").read_text())
KINDS = {str: "string", int: "integer", list: "array", type(None): "null", dict: "object"}


def assert_fits(told: Mapping[str, Any], described: Mapping[str, list[str]], *left_out: str) -> None:
    """The fields of it, all of them and no other, and of the types that the page says."""
    assert told.keys() == described.keys() - set(left_out)
    assert [name for name, value in told.items() if KINDS[type(value)] not in described[name]] == []


class TestVoyageAtlas(ProviderSuite):
    PROVIDER, SIMULATOR = VoyageAtlas, VoyageAtlasSimulator
    MANY = 530  # more than a page of Atlas's

    def settings(self, url: str) -> Mapping[str, Any]:
        return {"client_id": CLIENT, "client_secret": "env:KEYTURN_SUITE_ADMIN", "group": GROUP, "base_url": url}

    async def test_requests_and_answers_have_the_fields_of_the_page(self, scene: Scene) -> None:
        client = httpx.AsyncClient(base_url=scene.url)
        created = await scene.provider.create(new_label())
        scene.vendor.keys[created.material.fingerprint()].uses.append(scene.clock())
        token = await client.post(
            "/api/oauth/token", data={"grant_type": "client_credentials"}, auth=(CLIENT, scene.environ[ADMIN])
        )
        assert_fits(token.json(), PAGE["token"])
        sent = {"Authorization": f"Bearer {token.json()['access_token']}", "Accept": PAGE["media"]}
        base = PAGE["base"].format(groupId=GROUP)
        made = await client.post(base, headers=sent, json={"name": "n", "cloud": "ANY", "geography": "ANY"})
        assert made.status_code == PAGE["created"]
        assert_fits(made.json(), PAGE["key"])
        page = await client.get(base, headers=sent, params={"itemsPerPage": PAGE["largest_page"], "pageNum": 1})
        assert_fits(page.json(), PAGE["page"])
        for key in page.json()["results"]:
            assert_fits(key, PAGE["key"])
            assert key["secret"] is None
        assert_fits((await client.get(base, headers={**sent, "Authorization": "Bearer none"})).json(), PAGE["error"])
        gone = await client.delete(f"{base}/{created.ref.id}", headers=sent)
        assert (gone.status_code, gone.content) == (PAGE["deleted"], b"")
        await client.aclose()

    async def test_what_is_asked_of_atlas_is_what_the_page_says(self, scene: Scene) -> None:
        recorder = Recorder(scene.server.app)
        seen: list[str] = []

        async def watching(scope: Any, receive: Any, send: Any) -> None:
            seen.append(dict(scope["headers"]).get(b"accept", b"").decode())
            if dict(scope["headers"]).get(b"content-type", b"").startswith(b"application/x-www-form"):
                await scene.vendor.app()(scope, receive, send)
            else:
                await recorder(scope, receive, send)

        scene.server.app = watching
        created = await scene.provider.create("x" * PAGE["longest_name"])
        await scene.provider.list()
        await scene.provider.revoke(created.ref)
        assert seen[1:] == [PAGE["media"]] * (len(seen) - 1)
        base = PAGE["base"].format(groupId=GROUP)
        for each in recorder.exchanges:
            assert each.path.removeprefix(base) in ("", f"/{created.ref.id}")
            if each.method == "POST":
                assert_fits(each.body, PAGE["request"])
            if each.method == "GET":
                assert each.query.keys() <= set(PAGE["page_parameters"])
        assert {each.method for each in recorder.exchanges} == {"POST", "GET", "DELETE"}

    async def test_a_version_that_atlas_does_not_have_is_an_error(self, scene: Scene) -> None:
        settings = VoyageAtlas.Settings.model_validate({**self.settings(scene.url), "version": "preview"})
        other = VoyageAtlas(settings, scene.provider._resolve, scene.clock.moment)
        with pytest.raises(PermanentError):
            await other.create(new_label())
        await other.aclose()
        assert scene.live() == []

    @pytest.mark.parametrize("wrong", [{"version": "2025-03-12\r\nX: y"}, {"version": ""}, {"group": "../x"}, {"group": ""}])
    def test_settings_that_are_no_version_and_no_project_are_refused(self, wrong: Mapping[str, Any]) -> None:
        with pytest.raises(ValueError, match="pattern"):
            VoyageAtlas.Settings.model_validate({**self.settings("http://127.0.0.1:1"), **wrong})
