"""The deployments that `keyturn serve` makes of keyturn.yaml, and those of prefect.yaml."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import yaml

from keyturn.config import Config, load
from tests.flows.conftest import Source
from tests.test_house import ROOT

DEPLOYMENTS = ["rotate/keyturn", "retire/keyturn", "sweep/keyturn", "rollback/keyturn", "inventory/keyturn"]


@pytest.fixture
def config(source: Source) -> Config:
    return load(source.config)


def test_a_cron_line_becomes_a_schedule_in_its_time_zone(source: Source, config: Config) -> None:
    (found,) = [each for each in source.load("deployments.serve").schedules(config) if each.slug == "openai-prod"]
    assert (found.cron, found.timezone) == ("0 3 * * 1", "Europe/Berlin")
    assert found.parameters == {"credential": "openai-prod", "reason": "scheduled"}
    assert found.active


def test_what_has_no_cron_line_has_no_schedule_of_its_own(source: Source, config: Config) -> None:
    assert [each.slug for each in source.load("deployments.serve").schedules(config)] == ["openai-prod"]


async def test_a_deployment_of_each_flow_bears_one_name_and_its_parameters_are_checked(
    source: Source, config: Config
) -> None:
    made = await source.load("deployments.serve").deployments(config)
    assert [f"{each.flow_name}/{each.name}" for each in made] == DEPLOYMENTS
    assert source.load("flows.retire").DEPLOYMENT in [f"{each.flow_name}/{each.name}" for each in made]
    assert all(each.enforce_parameter_schema for each in made)
    rotate, retire, sweep, rollback, inventory = (each.schedules for each in made)
    assert len(rotate) == 1
    assert retire == [], "a retire is asked for by each rotation"
    assert [each.schedule.interval for each in sweep] == [timedelta(minutes=10)]
    assert rollback == []
    assert [each.schedule.interval for each in inventory] == [timedelta(hours=1)]


def test_a_worker_that_ends_leaves_the_schedules_to_the_others(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    served: dict[str, Any] = {}
    module = source.load("deployments.serve")
    monkeypatch.setattr(module, "serve", lambda *made, **options: served.update(options, made=made))
    module.main(limit=3)
    assert (served["limit"], served["pause_on_shutdown"], len(served["made"])) == (3, False, 5)


def test_prefect_yaml_names_the_same_deployments(source: Source) -> None:
    described = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())
    names = set()
    for each in described["deployments"]:
        path, _, name = each["entrypoint"].partition(":")
        flow = getattr(source.load(path.removesuffix(".py").replace("/", ".")), name)
        assert (ROOT / path).is_file()
        assert each["enforce_parameter_schema"] is True
        names.add(f"{flow.name}/{each['name']}")
    assert names == set(DEPLOYMENTS)
