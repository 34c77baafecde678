"""A report as SARIF 2.1.0 (OASIS), as code hosts take it: rules with help, relative addresses, fingerprints of ours."""

from __future__ import annotations

from importlib import metadata
from typing import Any
from urllib.parse import quote

from keyturn.lint.catalogue import RULES
from keyturn.lint.finding import Finding, Rule
from keyturn.lint.run import Report

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif(report: Report) -> dict[str, Any]:
    """The whole log, for json.dumps. All rules are in it, whether they found something or not."""
    rules = list(RULES.values())
    driver = {"name": "keyturn lint", "version": _version(), "rules": [_rule(each) for each in rules]}
    places = {rule.id: index for index, rule in enumerate(rules)}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [_result(each, places[each.rule.id]) for each in report.findings],
            }
        ],
    }


def _version() -> str:
    try:
        return metadata.version("keyturn")
    except metadata.PackageNotFoundError:
        return "0"


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": _sentence(rule.what)},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.why}\n\nWhat to do: {_sentence(rule.remedy)}"},
        "defaultConfiguration": {"level": rule.severity.value},
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    region = {"startLine": max(finding.line, 1), "startColumn": max(finding.column, 1)}
    file = {"uri": quote(finding.path, safe="/"), "uriBaseId": "%SRCROOT%"}
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": finding.severity.value,
        "message": {"text": f"{_sentence(finding.message)} What to do: {_sentence(finding.remedy)}"},
        "locations": [{"physicalLocation": {"artifactLocation": file, "region": region}}],
        "partialFingerprints": {"keyturnLint/v1": finding.fingerprint},
    }


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
