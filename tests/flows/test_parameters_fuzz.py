"""Whatever a run is told: Prefect's check before it stores it, and ours where that is switched off, refuse alike."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.exceptions import ParameterTypeError, SignatureMismatchError
from prefect.utilities.schema_tools import ValidationError, validate
from prefect.utilities.schema_tools.hydration import HydrationContext, hydrate

from keyturn import durations
from tests.flows.conftest import NAMES, Source
from tests.flows.test_parameters import schema, the_flow
from tests.hostile import PLANTED, Changed, changed, fuzz, logged, planted, tells, texts, values

GOOD: dict[str, dict[str, Any]] = {
    "rotate": {"credential": "openai-prod", "reason": "manual", "overlap": "90m", "dry_run": False},
    "retire": {"credential": "openai-prod", "now": True, "force": "members_gone"},
    "rollback": {"credential": "openai-prod"},
    "sweep": {},
}
REFUSALS = (ParameterTypeError, SignatureMismatchError)


class Doors:
    """The two checks of each flow."""

    def __init__(self, schemas: dict[str, dict[str, Any]], flows: dict[str, Any]) -> None:
        self.schemas, self.flows = schemas, flows

    def lets_in(self, name: str, told: dict[str, Any]) -> bool:
        """Whether Prefect's API takes it, as it asks: placeholders are filled first."""
        try:
            validate(hydrate(told, HydrationContext()), self.schemas[name], raise_on_error=True)
        except ValidationError:
            return False
        return True

    def runs_with(self, name: str, told: dict[str, Any]) -> dict[str, Any] | Exception:
        """What the flow is given, or how the run fails, where Prefect's API took everything."""
        with logged() as lines:
            try:
                found: dict[str, Any] | Exception = self.flows[name].validate_parameters(told)
            except REFUSALS as error:
                found = error
        assert not any(tells(line, key) for line in lines for key in PLANTED.values())
        return found


@pytest.fixture
async def doors(source: Source) -> Doors:
    return Doors({name: await schema(source, name) for name in GOOD}, {name: the_flow(source, name) for name in GOOD})


def told_of(wrong: Changed) -> dict[str, Any]:
    return wrong.document if isinstance(wrong.document, dict) else {}


FLOWS = st.sampled_from(sorted(GOOD))


@fuzz(40)
@given(FLOWS, st.data())
def test_what_prefect_lets_in_is_what_the_flow_takes(doors: Doors, name: str, data: st.DataObject) -> None:
    told = told_of(data.draw(changed(GOOD[name], most=2)))
    found = doors.runs_with(name, told)
    if doors.lets_in(name, told):
        assert not any(tells(repr(told), key) for key in PLANTED.values()), "a key is let in"
        # Python's regular expressions let a line end after `$`; pydantic's do not.
        assert isinstance(found, dict) or str(told.get("overlap")).endswith("\n")
    if isinstance(found, dict):
        assert found.get("credential", NAMES[0]) in NAMES
        assert found.get("overlap") is None or durations.parse(found["overlap"]) is not None
        assert not any(tells(repr(found), key) for key in PLANTED.values())


KEYS_IN = ("{}", "Bearer {}", "openai-prod{}", "90m {}", " {}", "{}\n")


@fuzz(40)
@given(FLOWS, planted, st.sampled_from(KEYS_IN), st.data())
def test_a_key_is_refused_at_every_parameter_and_as_one(
    doors: Doors, name: str, key: str, form: str, data: st.DataObject
) -> None:
    text = form.format(key)
    put = data.draw(st.sampled_from([text, [text], {"x": text}, {text: 1}, {"__prefect_kind": "json", "value": f'"{key}"'}]))
    place = data.draw(st.sampled_from([*GOOD[name], "api_key", "", text]))
    told = {**GOOD[name], place: put}
    assert not doors.lets_in(name, told)
    refused = doors.runs_with(name, told)
    assert isinstance(refused, REFUSALS)
    if place in GOOD[name]:
        assert place in str(refused), "it says which one it is"
    if place != text:  # Prefect's error names the parameters that it does not know
        assert not tells("".join(traceback.format_exception(refused)), key), "what Prefect prints, and keeps in the state"


@fuzz(30)
@given(FLOWS, st.dictionaries(texts, values, max_size=3))
def test_anything_else_is_refused_at_both(doors: Doors, name: str, told: dict[str, Any]) -> None:
    if told.keys() - GOOD[name].keys():
        assert not doors.lets_in(name, told)
        assert isinstance(doors.runs_with(name, told), REFUSALS)
