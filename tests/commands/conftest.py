"""The commands as they are typed, in this process: with a world in memory behind them, and flows that a test gives."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from keyturn import progress, registry
from keyturn.cli import app
from keyturn.commands import flows, launch
from keyturn.testing.world import World
from tests.commands import memory_parts

CONFIG = """
providers:
  org: {kind: memory}
stores:
  memory: {kind: memory}
proxies:
  local: {kind: memory}
credentials:
  openai-prod:
    provider: org
    secrets: [{store: memory, path: litellm/providers, field: OPENAI_API_KEY}]
    canary: {proxy: local, model: gpt, timeout: 1s}
    proxies: [local]
    overlap: 1h
"""


@dataclass
class Terminal:
    """What a person types, and what they get."""

    config: Path
    world: World
    ran: list[dict[str, Any]]
    monkeypatch: pytest.MonkeyPatch

    def type(self, *words: str) -> Result:
        return CliRunner().invoke(app, list(words))

    def json(self, *words: str, code: int = 0) -> Any:
        """The JSON on standard output of a command that must end with this code."""
        result = self.type(*words, "--json")
        assert result.exit_code == code, result.output
        assert result.stderr == ""
        return json.loads(result.stdout)

    def flow(self, run: Callable[..., Any]) -> None:
        """Commands run this instead of a flow of the project. `ran` holds what it was told."""

        async def remembered(**parameters: Any) -> Any:
            self.ran.append(parameters)
            return run()

        self.monkeypatch.setattr(flows, "load", lambda module, name, **_: remembered)


def _no_exec(*arguments: Any) -> None:
    raise RuntimeError("the tests themselves would be replaced by the program")


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    world = asyncio.run(World.make())
    memory_parts.install(world)
    for kinds, name in ((registry.PROVIDERS, "Provider"), (registry.STORES, "Store"), (registry.FLEETS, "Fleet")):
        monkeypatch.setitem(kinds, "memory", f"tests.commands.memory_parts:{name}")
    config = tmp_path / "keyturn.yaml"
    config.write_text(CONFIG)
    monkeypatch.setenv("KEYTURN_CONFIG", str(config))
    monkeypatch.setenv("LITELLM_MASTER_KEY", "master")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(progress, "listeners", [])
    monkeypatch.setattr(os, "execve", _no_exec)
    monkeypatch.setattr(launch, "end_when_told", lambda: None)  # else the tests themselves would
    return Terminal(config, world, [], monkeypatch)
