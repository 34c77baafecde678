"""Every kind of provider has a simulator that something outside of this project holds to the truth."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

from keyturn.delivery.variable_names import BY_PROVIDER_KIND
from keyturn.registry import adapter_class, kinds
from keyturn.testing.vendors.held_by import By
from keyturn.testing.vendors.service import Simulator

ROOT = Path(__file__).parents[2]

# Kinds whose counterpart is no simulator of keyturn.testing.vendors, and what holds it.
ELSEWHERE = {
    "openai": "tests/testing/test_openai_contract.py",  # OpenAI's API description and its SDK
    "vault_dynamic": "tests/providers/test_vault_dynamic.py",  # a real OpenBao
    "http": "tests/providers/test_http_declared.py",  # OpenRouter's simulator, by what its page declares
}
OURS = [kind for kind in kinds("providers") if adapter_class("providers", kind).__module__.startswith("keyturn.")]


def simulators(kind: str) -> list[type[Simulator]]:
    module = import_module(f"keyturn.testing.vendors.{kind}")
    return [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Simulator) and each.__module__ == module.__name__ and each.ROUTES
    ]


@pytest.mark.parametrize("kind", OURS)
def test_each_kind_has_a_simulator_that_something_holds(kind: str) -> None:
    if kind in ELSEWHERE:
        assert (ROOT / ELSEWHERE[kind]).exists()
        return
    found = simulators(kind)
    assert found
    for simulator in found:
        held = simulator.HELD_BY
        path, _, name = held.test.partition("::")
        source = (ROOT / path).read_text()
        assert not name or f"def {name}(" in source
        assert held.what
        evidence = {By.SDK: "drive(", By.SPEC: "escription(", By.PAGE: f"{kind}.json"}[held.by]
        assert evidence in source or (held.by is By.PAGE and kind in source), f"{path} does not do what it is named for"
        if held.by is By.SDK:
            programs = (ROOT / "tests" / "sdk").glob("*.py")
            assert any(f'drive(scene, "{program.stem}"' in source for program in programs), f"{path} drives no program"
        if held.by is By.PAGE:
            assert (ROOT / "tests" / "data" / "providers" / f"{kind}.json").exists()


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "sdk").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_a_program_imports_a_vendors_sdk_and_nothing_of_ours(path: Path) -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        for name in ([each.name for each in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None)])
        if isinstance(node, ast.Import | ast.ImportFrom) and name
    }
    assert not imported & {"keyturn", "flows", "tasks", "tests"}
    assert imported - {"json", "os", "sys", "time", "datetime", "base64", "pathlib", "typing"}


@pytest.mark.parametrize("kind", [kind for kind in OURS if kind in BY_PROVIDER_KIND])
def test_the_usual_variable_of_a_kind_is_one_that_it_tells(kind: str) -> None:
    assert BY_PROVIDER_KIND[kind] in adapter_class("providers", kind).FACTS.variables
