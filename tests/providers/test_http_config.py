"""A declared vendor in a whole keyturn.yaml: what comes through its door, and what is said at it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from keyturn import registry
from keyturn.config import Config, ConfigError, parse
from keyturn.errors import NotFoundError
from keyturn.json_object import UnreadableError
from keyturn.providers.http_settings import HttpSettings
from keyturn.providers.http_templates import expiry, filled, filled_path
from keyturn.providers.json_paths import json_path
from tests.hostile import PLANTED, tells
from tests.providers.test_http_declared import changed, declared

EXAMPLE = Path(__file__).parents[2] / "deployments" / "keyturn.example.yaml"


def loaded(monkeypatch: pytest.MonkeyPatch, data: dict[str, Any]) -> Config:
    monkeypatch.setitem(registry.PROVIDERS, "http", "keyturn.providers.http_declared:HttpDeclared")
    whole = yaml.safe_load(EXAMPLE.read_text())
    whole["providers"]["acme"] = {"kind": "http", **data}
    return parse(yaml.safe_dump(whole))


def test_a_declared_vendor_loads_with_its_login_from_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    store = next(iter(yaml.safe_load(EXAMPLE.read_text())["stores"]))
    config = loaded(monkeypatch, changed(declared("acme"), "login.secret", f"store:{store}/acme#ADMIN"))
    assert isinstance(config.providers["acme"].settings, HttpSettings)


def test_a_login_from_a_store_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"providers\.acme\.login.*secret.*names nothing in stores"):
        loaded(monkeypatch, changed(declared("acme"), "login.secret", "store:nowhere/acme#ADMIN"))


@pytest.mark.parametrize("kind", ["openai", "jwt"])
@pytest.mark.parametrize("where", ["create.body.token", "headers.Acme-Version", "login.secret", "create.id", "list.next"])
def test_a_literal_key_is_told_by_its_place_alone(monkeypatch: pytest.MonkeyPatch, where: str, kind: str) -> None:
    secret = PLANTED[kind]
    for value in (secret, {secret: "x"}, {"a": [secret]}):
        with pytest.raises(ConfigError) as raised:
            loaded(monkeypatch, changed(declared("acme"), where, value))
        assert "providers.acme" in str(raised.value)
        assert not tells(str(raised.value), secret)


# Templates and paths ----------------------------------------------------------------------------------------------------

NOW = datetime(2027, 1, 1, tzinfo=UTC)
BODY = {
    "name": "kt {label}",
    "until": "{expires_at}",
    "unix": "{expires_unix}",
    "text": "in {expires_in_seconds}s",
    "deep": {"list": ["{expires_in_seconds}", "stays"], "number": 1, "none": None},
    "brace": "{{label}}",
}


def test_placeholders_are_filled_and_numbers_stay_numbers() -> None:
    found = filled(BODY, {"label": "{owner}", **expiry(NOW, timedelta(days=1))})
    assert found == {
        "name": "kt {owner}",
        "until": "2027-01-02T00:00:00Z",
        "unix": 1798848000,
        "text": "in 86400s",
        "deep": {"list": [86400, "stays"], "number": 1, "none": None},
        "brace": "{label}",
    }


def test_what_has_no_value_is_left_out() -> None:
    found = filled(BODY, {"label": "a", **expiry(NOW, None)})
    assert found == {"name": "kt a", "deep": {"list": ["stays"], "number": 1, "none": None}, "brace": "{label}"}


def test_an_id_stays_one_segment_of_a_path() -> None:
    assert filled_path("/keys/{id}:off", {"id": "../a?b#c/{owner}"}) == "/keys/..%2Fa%3Fb%23c%2F%7Bowner%7D:off"


@pytest.mark.parametrize("id", ["", ".", ".."])
def test_an_id_that_leads_up_is_no_keys(id: str) -> None:
    with pytest.raises(NotFoundError):
        filled_path("/keys/{id}", {"id": id})


@pytest.mark.parametrize(
    ("path", "document", "found"),
    [
        ("$.a.b", {"a": {"b": 1}}, 1),
        ("$.a", {"a": None}, None),
        ("$['a b'].c", {"a b": {"c": 1}}, 1),
        ("$['*']", {"*": 1}, 1),
        ("$['where']", {"where": 1}, 1),
        ("$.a[0]", {"a": [1, 2]}, 1),
        ("$.a[-1].b", {"a": [1, {"b": 2}]}, 2),
        ("$.a.0", {"a": {"0": 1}}, 1),
        ("$.a?", {}, None),
        ("$.a.b?", {"a": []}, None),
    ],
)
def test_a_path_leads_to_one_value(path: str, document: Any, found: Any) -> None:
    assert json_path(path).value(document) == found


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("$.a", {}),
        ("$.a.b", {"a": None}),
        ("$.a[0]", {"a": []}),
        ("$.a[0]", {"a": {"0": 1}}),
        ("$.a", ["a"]),
        ("$.a.b", {"a": "b"}),
    ],
)
def test_a_path_that_leads_nowhere_is_no_null(path: str, document: Any) -> None:
    with pytest.raises(UnreadableError):
        json_path(path).value(document)


def test_a_list_is_a_list() -> None:
    assert json_path("$.a[*].b", many=True).values({"a": [{"b": 1}, {"b": 2}]}) == [1, 2]
    assert json_path("$.a[*]", many=True).values({"a": []}) == []
    wrong: tuple[Any, ...] = ({}, {"a": None}, {"a": {}}, {"a": {"b": {"b": 1}}}, {"a": "b"}, {"a": [{}]}, {"a": [1]})
    for document in wrong:
        with pytest.raises(UnreadableError):
            json_path("$.a[*].b", many=True).values(document)
