"""Kind `http`: the suite over what docs/provider-http.md declares, and what the settings refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.errors import LostAnswerError, NotFoundError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import Verdict
from keyturn.providers.http_declared import HttpDeclared
from keyturn.providers.http_settings import HttpSettings
from keyturn.references import resolver
from keyturn.testing.provider_scene import ADMIN, Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite, fault
from keyturn.testing.vendors.openrouter import OpenRouterSimulator
from tests.hostile import PLANTED, tells
from tests.providers import on_the_page
from tests.providers.invented import AcmeSimulator
from tests.providers.on_the_page import PAGE
from tests.test_docs import default_of, rows, section, settings_of


def declared(name: str, url: str = "http://127.0.0.1:1") -> dict[str, Any]:
    """With the suite's reference."""
    return on_the_page.declared(name, url, ADMIN)


def changed(data: Mapping[str, Any], where: str, value: Any) -> dict[str, Any]:
    """With another value at a dotted place; `...` takes it out."""
    whole = deepcopy(dict(data))
    *path, last = where.split(".")
    inner = whole
    for name in path:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return whole


class TestOpenRouterDeclared(ProviderSuite):
    PROVIDER, SIMULATOR = HttpDeclared, OpenRouterSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return declared("router", url)


class TestAcmeDeclared(ProviderSuite):
    PROVIDER, SIMULATOR = HttpDeclared, AcmeSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return declared("acme", url)

    @pytest.mark.parametrize(
        ("where", "value", "setting"),
        [
            ("list.last_used_at", "$.times.usd", "list.last_used_at"),
            ("list.items", "$.result.token[*].token", "list.items"),
            ("list.items", "$.result[*].token", "list.items"),
            ("list.id", "$.meta", "list.id"),
            ("list.created_at", "$.meta.displayName", "list.created_at"),
            ("list.next.from", "$.result.page.cursr", "list.next.from"),
            ("list.next.from", "$.result.page", "list.next.from"),
        ],
    )
    async def test_a_slip_in_a_path_is_an_error_that_names_it_and_never_an_empty_value(
        self, scene: Scene, where: str, value: str, setting: str
    ) -> None:
        self.by_hand(scene, "somebody's")
        provider = made(changed(self.settings(scene.url), where, value), scene)
        with pytest.raises(UnavailableError, match=f"nothing usable at {re.escape(setting)} Remedy") as raised:
            await provider.list()
        assert scene.literal not in str(raised.value)
        await provider.aclose()

    @pytest.mark.parametrize("where", ["create.id", "create.text", "create.expires"])
    async def test_a_slip_in_what_a_create_is_read_by_is_a_lost_answer(self, scene: Scene, where: str) -> None:
        provider = made(changed(self.settings(scene.url), where, "$.token.nothing"), scene)
        name = new_label()
        with pytest.raises(LostAnswerError, match=where):
            await provider.create(name)
        assert [key.name for key in await provider.find(name)] == [name]
        await provider.aclose()

    async def test_a_2xx_that_is_not_declared_is_no_success(self, scene: Scene) -> None:
        data = self.settings(scene.url)
        created = await scene.provider.create(new_label())
        provider = made(changed(changed(data, "create.success", [200]), "revoke.success", [200]), scene)
        with pytest.raises(LostAnswerError):
            await provider.create(new_label())
        with pytest.raises(UnavailableError):
            await provider.revoke(created.ref)
        await provider.aclose()

    async def test_a_2xx_that_is_not_declared_accepts_no_key(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        provider = made(changed(self.settings(scene.url), "check.accepted", [203]), scene)
        assert (await provider.check(created.material)).verdict is Verdict.INDETERMINATE
        await provider.aclose()

    async def test_a_page_without_what_a_key_needs_to_be_accepted_accepts_none(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        provider = made(changed(self.settings(scene.url), "check.needs", "$.token.of_another_vendor"), scene)
        assert (await provider.check(created.material)).verdict is Verdict.INDETERMINATE
        await provider.aclose()

    async def test_a_refusal_in_other_words_refuses_no_key(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        scene.vendor.faults.append(fault("key", "status", status=403, code="ip_not_allowed", times=None))
        assert (await scene.provider.check(created.material)).verdict is Verdict.INDETERMINATE

    async def test_the_body_has_no_expiry_where_there_is_none(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        assert created.ref.expires_at is None
        (key,) = scene.vendor.live()
        assert key.expires_at is None

    async def test_facts_and_capabilities_are_what_is_declared(self, scene: Scene) -> None:
        can = scene.provider.capabilities
        assert (can.can_list, can.can_disable, can.can_check, can.supports_expiry, can.reports_last_use) == (True,) * 5
        data = self.settings(scene.url)
        for where in ("disable", "enable", "check", "list.last_used_at", "create.body.token.expireTime"):
            data = changed(data, where, ...)
        less = made(data, scene)
        can = less.capabilities
        assert can.can_list
        assert (can.can_disable, can.can_check, can.supports_expiry, can.reports_last_use) == (False,) * 4
        assert not hasattr(less, "disable") and "disable" not in less.calls
        with pytest.raises(NotFoundError):
            await less.check(KeyMaterial("any-text"))
        assert (
            made(changed(data, "list.next", ...), scene).facts.risks[-1].startswith("the list is declared as a single page")
        )


class TestWithoutAList(ProviderSuite):
    PROVIDER, SIMULATOR = HttpDeclared, AcmeSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return changed(declared("acme", url), "list", ...)

    # Nothing shows that a key is gone but the vendor's 404, which a wrong address gives too: a person has to look.
    async def test_revoking_again_is_quiet_and_deletes_nothing_else(self, scene: Scene) -> None:
        kept, created = await scene.provider.create(new_label()), await scene.provider.create(new_label())
        await scene.provider.revoke(created.ref)
        for _ in range(2):
            with pytest.raises(NotFoundError) as raised:
                await scene.provider.revoke(created.ref)
            assert raised.value.remedy
        assert [key.fingerprint for key in scene.live()] == [kept.material.fingerprint()]

    async def test_a_delete_whose_answer_is_lost_is_settled_by_repeating_it(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        scene.vendor.faults.append(fault(self.DELETE, "lose_answer"))
        with pytest.raises(UnavailableError):
            await scene.provider.revoke(created.ref)
        with pytest.raises(NotFoundError):
            await scene.provider.revoke(created.ref)
        assert scene.live() == []

    # It needs a list to see that the disabled key is still there.
    async def test_a_disabled_key_is_refused_until_it_is_enabled(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        await scene.provider.disable(created.ref)
        assert scene.live() == []
        await scene.provider.enable(created.ref)
        assert len(scene.live()) == 1

    async def test_a_page_that_is_not_the_vendors_has_revoked_nothing_also_where_200_is_success(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        provider = made(changed(self.settings(scene.url), "revoke.success", [200, 204]), scene)
        scene.vendor.faults.append(fault(self.DELETE, "html", status=200))
        with pytest.raises(UnavailableError):
            await provider.revoke(created.ref)
        assert len(scene.live()) == 1
        await provider.aclose()

    def test_the_risk_is_told(self) -> None:
        provider = self.unconnected()
        assert not provider.capabilities.can_list
        assert [risk for risk in provider.facts.risks if "cannot be listed" in risk]


def made(data: Mapping[str, Any], scene: Scene) -> HttpDeclared:
    return HttpDeclared(HttpSettings.model_validate(data), resolver(environ=scene.environ), scene.clock.moment)


# Settings ---------------------------------------------------------------------------------------------------------------

ACME = declared("acme")


@pytest.mark.parametrize(
    ("where", "value", "told"),
    [
        ("create.body.token.displayName", "{lable}", "unknown placeholder"),
        ("create.body.token.displayName", "{label!r}", "unknown placeholder"),
        ("create.body.token.displayName", "{label.__class__}", "unknown placeholder"),
        ("create.body.token.displayName", "{}", "unknown placeholder"),
        ("create.body.token.displayName", "{label", "unknown placeholder"),
        ("create.body.token.displayName", "{id}", "{id} has no value here"),
        ("create.body.token.displayName", "fixed", "{label} must stand in it"),
        ("create.body.token.scopes", {"a": float("nan")}, "what JSON has"),
        ("create.body.token.scopes", [2**64], "what JSON has"),
        ("create.body.token.scopes", [b"x"], "what JSON has"),
        ("create.body.token.scopes", ["\ud800"], "half a character"),
        ("create.body.token.scopes", [[[[[[[["x"]]]]]]]], "deeper"),
        ("create.body.token.scopes", ["x"] * 300, "more than"),
        ("create.id", "$.a[*]", "one value"),
        ("create.id", "$.a?", "has to be there"),
        ("create.id", "$..a", "must be a path"),
        ("create.id", "$.a[?(@.b =~ 'x')]", "must be a path"),
        ("create.id", "$.a.`parent`", "must be a path"),
        ("create.id", "$.a|$.b", "must be a path"),
        ("create.id", "$.a,b", "must be a path"),
        ("create.id", "$.a[0,1]", "must be a path"),
        ("create.id", "$.a[0:1]", "must be a path"),
        ("create.id", "$.a where b", "must be a path"),
        ("create.id", "$.a.$.b", "must be a path"),
        ("create.id", "a.b", "must be a path"),
        ("create.id", "$", None),
        ("create.id", "$." + "a." * 20 + "a", "must be a path"),
        ("create.id", "$." + "a" * 300, "must be a path"),
        ("create.path", "keys", "must be a path below base_url"),
        ("create.path", "/../keys", "must be a path below base_url"),
        ("create.path", "/keys?x=1", "must be a path below base_url"),
        ("create.path", "//other.example/keys", "must be a path below base_url"),
        ("create.path", "/%2e%2e/keys", "must be a path below base_url"),
        ("create.path", "/keys/{expires_at}", "no placeholder for an expiry"),
        ("create.success", [404], "less than or equal"),
        ("create.success", [], "at least 1"),
        ("create.method", "GET", "POST"),
        ("list.items", "$.a", "[*] once"),
        ("list.items", "$.a[*].b[*]", "[*] once"),
        ("list.items", "$.a[*]?", "is not an empty one"),
        ("list.path", "/keys/{id}", "{id} has no value here"),
        ("list.next", {"query": "after"}, "go together"),
        ("list.next", {"from": "$.a"}, "needs one of"),
        ("list.next", {}, "needs one of"),
        ("list.next", {"offset": "o", "page": "p"}, "needs one of"),
        ("list.next", {"offset": "o", "first": 1}, "goes with page"),
        ("list.next", {"offset": "limit"}, "must not stand in query too"),
        ("revoke.path", "/tokens", "{id} must stand in it"),
        ("revoke.path", "/tokens/{name}", "{id} must stand in it"),
        ("revoke.path", "/tokens/{id}/{label}", "{label} has no value here"),
        ("revoke.already_gone", [403], "do not say whether a key is there"),
        ("revoke.already_gone", [429], "do not say whether a key is there"),
        ("revoke.already_gone", [500], "less than or equal"),
        ("revoke.success", [404], "less than or equal"),
        ("disable", ..., "go together"),
        ("enable", ..., "go together"),
        ("owner", ..., "setting owner is missing"),
        ("check.refused", ["403"], "bare 403"),
        ("check.refused", ["402"], "402 never says"),
        ("check.refused", ["402:x"], "402 never says"),
        ("check.refused", ["429"], "429 never says"),
        ("check.refused", ["401", "500"], "from 400 to 499"),
        ("check.refused", ["404"], "bare 404"),
        ("check.refused", [401], "string"),
        ("check.refused", [], "at least 1"),
        ("check.needs", ..., "required"),
        ("check.needs", "$.a?", "has to be there"),
        ("check.accepted", [401], "less than or equal"),
        ("check.header", "Acme-Version", "stands in headers too"),
        ("headers", {"Authorization": "x"}, "sounds like a secret"),
        ("headers", {"X-Api-Key": "x"}, "sounds like a secret"),
        ("headers", {"Cookie": "x"}, "sounds like a secret"),
        ("headers", {"Host": "x"}, "HTTP itself needs"),
        ("headers", {"A": "x\r\nB: y"}, "pattern"),
        ("login", [], "at least 1"),
        ("login", [{"header": "A", "secret": "env:A"}, {"header": "a", "secret": "env:B"}], "stands twice"),
        ("login.secret", "just-text", "reference"),
        ("login.prefix", "x" * 40, "short text"),
        ("login.prefix", "Bearer 0123456789abcdef0123", "short text"),
        ("most_keys", 1, "greater than or equal"),
        ("refused_as", ["403"], "bare 403"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_loaded(where: str, value: Any, told: str | None) -> None:
    data = changed(ACME, where, value)
    if told is None:
        HttpSettings.model_validate(data)
        return
    with pytest.raises(ValidationError) as raised:
        HttpSettings.model_validate(data)
    assert told in str(raised.value)


def test_already_gone_is_not_to_be_believed_without_a_list() -> None:
    data = changed(changed(ACME, "list", ...), "revoke.already_gone", [404])
    with pytest.raises(ValidationError, match="needs list"):
        HttpSettings.model_validate(data)


@pytest.mark.parametrize(
    "where",
    [
        "create.body.token.displayName",
        "create.body.token.scopes",
        "headers.Acme-Version",
        "login.prefix",
        "login.header",
        "check.prefix",
        "check.key_prefix",
        "check.path",
        "check.refused",
        "create.path",
        "create.id",
        "list.query.limit",
        "list.items",
        "list.next.query",
        "owner",
        "vendor",
        "base_url",
        "times",
    ],
)
@pytest.mark.parametrize("kind", sorted(PLANTED))
def test_a_literal_key_is_refused_wherever_it_stands_and_not_printed(where: str, kind: str) -> None:
    secret = PLANTED[kind]
    for value in (secret, [secret], f"x {secret}", {"inner": secret}, {secret: "x"}):
        with pytest.raises(ValidationError, match="a key stands there") as raised:
            HttpSettings.model_validate(changed(ACME, where, value))
        assert not tells(str(raised.value) + json.dumps(raised.value.errors(include_input=False), default=str), secret)


def test_the_page_has_every_setting_with_its_default() -> None:
    told = rows(section(PAGE.read_text(), "Settings"))
    there = {
        name.replace("from_", "from"): default_of(field).replace("(", "[").replace(",)", "]").replace(")", "]")
        for name, field in settings_of(HttpSettings)
    }
    assert {name: cells[2] for name, cells in told.items() if not name.startswith("{")} == there
