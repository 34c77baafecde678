"""What the deployments are: of keyturn.yaml, of `keyturn serve`, of a work pool, and of prefect.yaml."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from keyturn.config import Config, load, parse
from keyturn.errors import MisconfiguredError
from tests.flows.conftest import TEXT, Source
from tests.test_house import ROOT

FLOWS = [path.stem for path in (ROOT / "flows").glob("*.py") if "\n@flow(" in path.read_text()]


@pytest.fixture
def config(source: Source) -> Config:
    return load(source.config)


def wanted(source: Source, config: Config) -> dict[str, Any]:
    return {each.flow: each for each in source.load("deployments.wanted").wanted(config)}


def test_a_cron_line_becomes_a_schedule_in_its_time_zone(source: Source, config: Config) -> None:
    """And what is rotated by age or by hand has none of its own."""
    (found,) = source.load("deployments.described").schedules_of(wanted(source, config)["rotate"])
    assert (found.slug, found.schedule.cron, found.schedule.timezone) == ("openai-prod", "0 3 * * 1", "Europe/Berlin")
    assert found.parameters == {"credential": "openai-prod", "reason": "scheduled"}
    assert found.active


def test_the_sweep_runs_on_its_interval_and_is_due_at_the_same_times_whenever_it_is_made(
    source: Source, config: Config
) -> None:
    described = source.load("deployments.described")
    first, second = (described.schedules_of(wanted(source, config)["sweep"]) for _ in range(2))
    assert first == second
    assert [each.schedule.interval for each in first] == [timedelta(minutes=10)]


def test_a_deployment_of_each_flow_that_people_and_schedules_start(source: Source, config: Config) -> None:
    every = wanted(source, config)
    assert every.keys() == set(FLOWS)
    assert {each.full_name for each in every.values()} == {f"{flow}/keyturn" for flow in every}
    assert {flow for flow, each in every.items() if each.timetables} == {"rotate", "sweep", "inventory"}
    for flow, each in every.items():
        path, _, name = each.entrypoint.partition(":")
        assert (ROOT / path).is_file()
        assert source.load("deployments.described").flow_of(each).name == name == flow


def test_where_environments_have_an_order_the_deployment_says_so(source: Source, tmp_path: Path) -> None:
    follows = f"follows: {{environment: staging, file: {tmp_path}/staging.yaml, bake: 1d, at_most: 7d, then: wait}}\n"
    every = wanted(source, parse(TEXT + follows))
    assert every["rotate"].description.endswith("By schedule 1d after staging has proved its own.")
    assert not any("staging" in each.description for flow, each in every.items() if flow != "rotate")


def test_incidents_do_not_stand_in_line_with_what_is_scheduled(source: Source, config: Config) -> None:
    module = source.load("deployments.wanted")
    table = {row.flow: row.queue for row in module._TABLE}
    assert [flow for flow, queue in table.items() if queue] == ["approve", "respond"]
    one, other = module.Wanted("rotate", "keyturn", ""), module.Wanted("respond", "keyturn", "", queue=table["respond"])
    runners = source.load("deployments.serve").runners([one, other], 3)
    assert {queue: runner.limit for queue, runner in runners.items()} == {None: 3, "incidents": 3}
    place = source.load("deployments.place").in_a_pool(config, "some-pool")
    assert [place.fields(each)["work_queue_name"] for each in (one, other)] == ["default", "incidents"]


def test_the_schedules_stay_active_when_the_process_that_serves_them_ends(source: Source, config: Config) -> None:
    made = source.load("deployments.serve").runners(source.load("deployments.wanted").wanted(config), 3)
    assert not any(runner.pause_on_shutdown for runner in made.values())


def test_prefect_yaml_has_the_same_deployments(source: Source, config: Config) -> None:
    written = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())
    place = source.load("deployments.place").Place("keyturn", "{{ $KEYTURN_ROOT }}")
    described = {}
    for each in written["deployments"]:
        pool = each["work_pool"]
        described[each["entrypoint"]] = {
            "name": each["name"],
            "description": each["description"],
            "tags": each["tags"],
            "enforce_parameter_schema": each["enforce_parameter_schema"],
            "work_pool_name": pool["name"],
            "work_queue_name": pool.get("work_queue_name", "default"),
            "pull_steps": written["pull"],
            "schedules": [(row["slug"], row["interval"]) for row in each.get("schedules", [])],
        }
    # Credentials are not known to it.
    register = source.load("deployments.register")
    meant = {}
    for each in wanted(source, config).values():
        fields = register.described(each, place)
        times = [] if each.flow == "rotate" else each.timetables
        meant[each.entrypoint] = {
            "name": each.name,
            **{name: fields[name] for name in next(iter(described.values())) if name in fields},
            "schedules": [(row.slug, row.interval.total_seconds()) for row in times],
        }
    assert described == meant


KUBERNETES = """
deploy:
  pool: cluster
  type: kubernetes
  image: registry.example.com/keyturn:1.0
  namespace: keyturn
  service_account: keyturn
  env: {LOG: plain}
  job_variables: {cpu_limit: 500m}
"""


def place(source: Source, text: str, environment: str = "", pool: str | None = None) -> Any:
    return source.load("deployments.place").in_a_pool(parse(text, source.config, environment), pool)


def test_a_run_of_a_process_pool_is_told_the_file_and_the_folder(source: Source) -> None:
    found = place(source, TEXT, pool="workers")
    assert (found.pool, found.root) == ("workers", str(ROOT))
    assert found.job_variables == {"env": {"KEYTURN_CONFIG": str(source.config)}}


def test_a_pod_is_given_its_image_its_account_and_its_variables(source: Source) -> None:
    found = place(source, TEXT + KUBERNETES, "staging")
    assert (found.pool, found.root) == ("cluster", "/opt/keyturn")
    assert found.job_variables == {
        "cpu_limit": "500m",
        "image": "registry.example.com/keyturn:1.0",
        "namespace": "keyturn",
        "service_account_name": "keyturn",
        "env": {"LOG": "plain", "KEYTURN_ENVIRONMENT": "staging"},
    }


def test_without_a_pool_it_says_how_one_is_named(source: Source) -> None:
    with pytest.raises(MisconfiguredError, match="no work pool is named"):
        place(source, TEXT)


def test_an_environment_has_deployments_of_its_own(source: Source) -> None:
    names = [each.full_name for each in source.load("deployments.wanted").wanted(parse(TEXT, environment="staging"))]
    assert names[0] == "rotate/keyturn-staging"


def test_the_limits_of_providers_become_limits_of_prefect(source: Source) -> None:
    limited = "service_account: svc_acct_abc, max_concurrent: 3, min_interval: 10s}"
    text = TEXT.replace("service_account: svc_acct_abc}", limited)
    module = source.load("deployments.limits")
    assert module.limits(parse(text)) == [
        module.Limit("keyturn-provider.openai-org", 3),
        module.Limit("keyturn-provider.openai-org.pace", 1, 0.1),
    ]
    assert module.limits(parse(TEXT)) == []
    assert module.limits(parse(text, environment="staging"))[0].name == "keyturn.staging.provider.openai-org"
