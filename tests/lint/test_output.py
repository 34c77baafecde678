"""What comes out: SARIF by its schema, JSON, lines for people; fingerprints that stay; and never a part of a key."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest
from typer.testing import CliRunner

from keyturn.cli import app
from keyturn.lint.catalogue import RULES
from keyturn.lint.run import lint
from keyturn.lint.sarif import sarif
from tests.lint.conftest import Folder
from tests.lint.examples import EXAMPLES, MADE_UP, filled
from tests.lint.planting import FILES, planted_in

# What SARIF 2.1.0 asks of the objects that are written here, and no other member: the OASIS schema, cut to them.
# The whole one was used by hand; it is not in a package that could be installed for a test.


def closed(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties, "additionalProperties": False}


LEVEL = {"enum": ["none", "note", "warning", "error"]}
TEXT = closed("text", text={"type": "string", "minLength": 1})
RULE = closed(
    "id",
    id={"type": "string"},
    name={"type": "string"},
    shortDescription=TEXT,
    fullDescription=TEXT,
    help=TEXT,
    defaultConfiguration=closed("level", level=LEVEL),
)
LOCATION = closed(
    "physicalLocation",
    physicalLocation=closed(
        "artifactLocation region",
        artifactLocation=closed("uri", uri={"type": "string", "format": "uri-reference"}, uriBaseId={"type": "string"}),
        region=closed(
            "startLine", startLine={"type": "integer", "minimum": 1}, startColumn={"type": "integer", "minimum": 1}
        ),
    ),
)
RESULT = closed(
    "message ruleId",
    ruleId={"type": "string"},
    ruleIndex={"type": "integer", "minimum": 0},
    level=LEVEL,
    message=TEXT,
    locations={"type": "array", "items": LOCATION, "minItems": 1},
    partialFingerprints={"type": "object", "additionalProperties": {"type": "string"}},
)
RUN = closed(
    "tool results",
    tool=closed(
        "driver",
        driver=closed(
            "name",
            name={"type": "string"},
            version={"type": "string"},
            rules={"type": "array", "items": RULE, "uniqueItems": True},
        ),
    ),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    results={"type": "array", "items": RESULT},
)
LOG = closed(
    "version runs", **{"$schema": {"type": "string"}}, version={"const": "2.1.0"}, runs={"type": "array", "items": RUN}
)


def written(folder: Folder) -> None:
    """All bad examples, and every key at every kind of place."""
    for number, example in enumerate(EXAMPLES):
        folder.write(f"{number}/{example.name}", example.wrong)
    for name, key in MADE_UP.items():
        for file, template in FILES.items():
            folder.write(f"{name}/{file}", planted_in(template, key), 0o644)


def slices(text: str) -> set[str]:
    """Eight characters at each place, but for those that every key of a vendor has."""
    return {text[start : start + 8] for start in range(len(text) - 7)} - {"sk-proj-", "sk-admin", "sk-svcac"}


@pytest.mark.parametrize("style", ["human", "json", "sarif"])
def test_no_eight_characters_of_a_key_come_out(style: str, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    written(folder)
    monkeypatch.chdir(folder.path)
    monkeypatch.delenv("KEYTURN_CONFIG", raising=False)
    result = CliRunner().invoke(app, ["lint", "--format", style, "."])
    assert result.exit_code == 6, result.output
    assert all(rule in result.output for rule in {each.rule for each in EXAMPLES})
    encoded = [base64.b64encode(key.encode()).decode() for key in MADE_UP.values()]
    pieces = {piece for key in (*MADE_UP.values(), *encoded) for piece in slices(key)}
    assert pieces & slices(result.output) == set()


def test_sarif_is_as_its_schema_says(folder: Folder) -> None:
    written(folder)
    log = json.loads(json.dumps(sarif(folder.report())))
    jsonschema.Draft202012Validator(LOG).validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [each["id"] for each in rules] == list(RULES)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert not uri.startswith(("/", "file:")) and (folder.path / unquote(uri)).is_file()


def test_an_address_is_written_as_addresses_are(folder: Folder) -> None:
    folder.write("a folder/x #1.yaml", filled("a: <openai>\n"))
    (result,) = sarif(folder.report())["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20folder/x%20%231.yaml"


def fingerprints(folder: Folder, text: str) -> list[str]:
    return [each.fingerprint for each in folder.said(filled(text), "compose.yaml")]


TEXT_1 = "services:\n  x:\n    image: a:1\n    environment:\n      OPENAI_API_KEY: <openai>\n      DB_PASSWORD: <word>\n"


def test_a_fingerprint_stays_where_lines_move_and_the_key_turns(folder: Folder) -> None:
    before = fingerprints(folder, TEXT_1)
    moved = TEXT_1.replace("services", "# a comment\nx-more: {a: 1}\nservices").replace(
        "    image", "    user: root\n    image"
    )
    assert fingerprints(folder, moved) == before
    assert fingerprints(folder, TEXT_1.replace("<openai>", "<openai_project>").replace("<word>", "<word>x")) == before
    assert len(set(before)) == 2


def test_a_fingerprint_differs_by_name_file_and_turn(folder: Folder) -> None:
    before = set(fingerprints(folder, TEXT_1))
    assert not before & set(fingerprints(folder, TEXT_1.replace("OPENAI_API_KEY", "X_API_KEY").replace("DB_", "Y_")))
    assert not before & {each.fingerprint for each in folder.said(filled(TEXT_1), "other.yaml")}
    twice = fingerprints(folder, "# <openai>\n# <openai>\n")
    assert len(set(twice)) == 2


def test_a_key_for_a_files_name_is_not_told(folder: Folder) -> None:
    folder.write(filled("<openai>.yaml"), "a: }\n")
    assert [each.path for each in folder.report().findings] == ["***.yaml"]


def test_paths_are_told_from_where_one_stands(folder: Folder) -> None:
    folder.write("a/x.yaml", filled("a: <openai>\n"))
    folder.write("b/y.yaml", "a: 1\n")
    (found,) = lint([folder.path / "a"], None, folder.path / "b").findings
    assert found.path == "../a/x.yaml"


def test_a_file_is_looked_at_once(folder: Folder) -> None:
    folder.write("a/x.yaml", filled("a: <openai>\n"))
    (folder.path / "loop").symlink_to(folder.path)
    report = lint(
        [folder.path, folder.path / "a", folder.path / "a/x.yaml", folder.path / "loop/a/x.yaml"], None, folder.path
    )
    assert (report.files, len(report.findings)) == (1, 1)


@pytest.mark.parametrize("name", [".git", "node_modules", ".venv", "__pycache__"])
def test_what_is_not_ones_own_is_left_out(name: str, folder: Folder) -> None:
    folder.write(f"{name}/x.yaml", filled("a: <openai>\n"))
    folder.write(".github/x.yml", filled("a: <openai>\n"))
    assert {Path(each.path).parts[0] for each in folder.report().findings} == {".github"}
