"""deployments/alerts.yaml is a file of rules, and what it and the dashboard ask is PromQL: as `promtool check rules` looks.
That they ask for metrics that exist is in tests/commands/test_metrics.py."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
FILE: dict[str, Any] = yaml.safe_load((DEPLOYMENTS / "alerts.yaml").read_text())
RULES: list[dict[str, Any]] = [rule for group in FILE["groups"] for rule in group["rules"]]
PANELS: list[dict[str, Any]] = json.loads((DEPLOYMENTS / "grafana-dashboard.json").read_text())["panels"]
QUERIES = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]


@pytest.mark.parametrize("query", QUERIES)
def test_what_is_asked_is_promql(query: str) -> None:
    promql_parser.parse(query)


def test_the_parser_would_say_so() -> None:
    with pytest.raises(ValueError, match="promql"):
        promql_parser.parse("keyturn_parked ==")


def test_it_is_a_file_of_rules() -> None:
    assert FILE.keys() == {"groups"}
    assert len({group["name"] for group in FILE["groups"]}) == len(FILE["groups"])
    assert all(group.keys() <= {"name", "interval", "rules", "limit"} for group in FILE["groups"])
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_a_rule_has_the_form_that_prometheus_takes(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
    assert re.fullmatch(r"[A-Za-z_]\w*", rule["alert"])
    assert promql_parser.parse_duration(rule["for"]).total_seconds() > 0
    for part in ("labels", "annotations"):
        assert all(re.fullmatch(r"[a-zA-Z_]\w*", name) and isinstance(text, str) for name, text in rule[part].items())
    for template in re.findall(r"\{\{(.*?)\}\}", " ".join(rule["annotations"].values())):
        assert re.fullmatch(r" (\$labels\.\w+|\$value)( \| humanize\w*)? ", template)
