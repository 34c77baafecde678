"""A run is told names, choices and durations: a pasted key is refused, and the refusal does not repeat it."""

from __future__ import annotations

import logging
import secrets
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError
from prefect.utilities.schema_tools import ValidationError, validate

from tests.flows.conftest import NAMES, Source

GOOD: dict[str, dict[str, Any]] = {
    "rotate": {"credential": "openai-prod", "reason": "manual", "overlap": "90m", "dry_run": False},
    "retire": {"credential": "openai-prod", "now": True, "force": "members_gone"},
    "rollback": {"credential": "openai-prod"},
}
PLACES = [(flow, name) for flow, parameters in GOOD.items() for name in parameters]


@pytest.fixture
def logged() -> Any:
    """What Prefect prints about parameters: its own loggers, with their filters."""
    records: list[logging.LogRecord] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger, handler = logging.getLogger("prefect.flows"), Kept()
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def the_flow(source: Source, name: str) -> Any:
    return getattr(source.load(f"flows.{name}"), name)


async def schema(source: Source, name: str) -> dict[str, Any]:
    """The schema that Prefect's API is given: it checks a run's parameters against it before it stores them."""
    register, place = source.load("deployments.register"), source.load("deployments.place")
    for each in source.load("deployments.wanted").wanted(source.load("keyturn.config").load()):
        if each.flow == name:
            found: dict[str, Any] = register.described(each, place.HERE)["parameter_openapi_schema"]
            return found
    raise LookupError(name)


@pytest.mark.parametrize("name", GOOD)
async def test_the_form_offers_the_credentials_by_name(name: str, source: Source) -> None:
    asked = (await schema(source, name))["properties"]["credential"]
    assert (asked["type"], asked["enum"]) == ("string", NAMES)
    assert asked["description"] == "Which credential of keyturn.yaml"


async def test_one_credential_is_a_choice_too(source: Source) -> None:
    text = source.config.read_text()
    source.config.write_text(text[: text.index("  openai-aged:")])
    asked = (await schema(source, "rotate"))["properties"]["credential"]
    assert asked["enum"] == ["openai-prod"]
    assert "const" not in asked


async def test_the_form_asks_for_a_duration_and_offers_the_reasons(source: Source) -> None:
    asked = await schema(source, "rotate")
    overlap, nothing = asked["properties"]["overlap"]["anyOf"]
    assert (overlap["type"], overlap["pattern"], overlap["maxLength"]) == ("string", "^([0-9]{1,12}[smhdw])+$", 12)
    assert nothing == {"type": "null"}
    assert set(asked["definitions"]["Reason"]["enum"]) == {"manual", "scheduled", "incident"}


@pytest.mark.parametrize("name", GOOD)
async def test_good_parameters_pass_both_checks(name: str, source: Source) -> None:
    validate(GOOD[name], await schema(source, name), raise_on_error=True)
    assert the_flow(source, name).validate_parameters(GOOD[name])["credential"] == "openai-prod"


@pytest.mark.parametrize(("name", "place"), PLACES)
async def test_a_key_is_refused_before_it_is_stored(name: str, place: str, source: Source) -> None:
    key = "sk-" + secrets.token_hex(24)
    with pytest.raises(ValidationError):
        validate({**GOOD[name], place: key}, await schema(source, name), raise_on_error=True)


MANY: dict[str, Any] = {"credentials": ["openai-prod"], "provider": "openai-org", "every": True, "due": False}


@pytest.mark.parametrize("place", [*MANY, "overlap", "reason", "dry_run"])
async def test_a_run_of_many_is_told_nothing_but_choices(place: str, source: Source) -> None:
    asked = await schema(source, "rotate_many")
    validate(MANY, asked, raise_on_error=True)
    key = "sk-" + secrets.token_hex(24)
    for wrong in (key, [key]):
        with pytest.raises(ValidationError):
            validate({**MANY, place: wrong}, asked, raise_on_error=True)


@pytest.mark.parametrize("name", [*GOOD, "sweep"])
async def test_a_key_under_another_name_is_refused_before_it_is_stored(name: str, source: Source) -> None:
    good, key, asked = GOOD.get(name, {}), "sk-" + secrets.token_hex(24), await schema(source, name)
    validate(good, asked, raise_on_error=True)
    for wrong in ({"api_key": key}, {key: True}):
        with pytest.raises(ValidationError):
            validate({**good, **wrong}, asked, raise_on_error=True)


@pytest.mark.parametrize(("name", "place"), PLACES)
def test_with_that_check_off_the_run_refuses_without_repeating_it(
    name: str, place: str, source: Source, logged: list[logging.LogRecord]
) -> None:
    key = "sk-" + secrets.token_hex(24)
    with pytest.raises(ParameterTypeError) as refusal:
        the_flow(source, name).validate_parameters({**GOOD[name], place: key})
    assert place in str(refusal.value), "it says which one it is"
    assert key not in str(refusal.value)
    assert not any(key in record.getMessage() for record in logged)


def test_prefect_itself_would_print_it(source: Source, logged: list[logging.LogRecord]) -> None:
    """Why there is a filter. When this fails, Prefect has stopped printing values, and the filter can go."""
    key, flow, logger = "sk-" + secrets.token_hex(24), the_flow(source, "rotate"), logging.getLogger("prefect.flows")
    filters, logger.filters = logger.filters, []
    try:
        with pytest.raises(ParameterTypeError):
            flow.validate_parameters({"credential": key})
    finally:
        logger.filters = filters
    assert any(key in record.getMessage() for record in logged)


def test_without_a_configuration_a_name_has_the_shape_of_one(source: Source) -> None:
    source.config.unlink()
    flow = the_flow(source, "rotate")
    asked = flow.parameters.properties["credential"]
    assert asked["pattern"] == "^[a-z0-9][a-z0-9-]{0,39}$"
    assert flow.validate_parameters({"credential": "openai-prod"})["credential"] == "openai-prod"
    with pytest.raises(ParameterTypeError):
        flow.validate_parameters({"credential": "sk-" + secrets.token_hex(24)})
