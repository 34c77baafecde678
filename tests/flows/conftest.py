"""The flows as they are imported where a keyturn.yaml is."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from tests.test_config import GOOD

BY_AGE = """
  openai-aged:
    provider: openai-org
    secrets: [{store: aws, name: aged/openai/api_key}]
    canary: {proxy: local, model: gpt-4o-mini}
    proxies: [local]
    max_age: 30d
"""
BY_HAND = BY_AGE.replace("aged", "manual").replace("    max_age: 30d\n", "")
TEXT = GOOD + "    timezone: Europe/Berlin" + BY_AGE + BY_HAND
NAMES = ["openai-prod", "openai-aged", "openai-manual"]

PARTS = """
providers:
  quick: {kind: openai, admin_key: env:ADMIN_KEY, project: proj_a}
  hangs: {kind: openai, admin_key: env:ADMIN_KEY, project: proj_b}
stores:
  aws: {kind: aws_secrets_manager, region: us-east-1}
proxies:
  local: {kind: process, members: ["http://127.0.0.1:4001"], master_key: env:MASTER_KEY}
credentials:
"""
CREDENTIAL = """
  {name}:
    provider: {provider}
    secrets: [{{store: aws, name: {name}}}]
    canary: {{proxy: local, model: gpt}}
    proxies: [local]
"""


class Source:
    """Imports modules of flows/ and deployments/, which read keyturn.yaml when they are imported."""

    def __init__(self, config: Path) -> None:
        self.config = config

    def load(self, name: str) -> ModuleType:
        return import_module(name)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """The modules are this test's own: others get back those that they had."""
    config = tmp_path / "keyturn.yaml"
    config.write_text(TEXT)
    monkeypatch.setenv("KEYTURN_CONFIG", str(config))
    before = _forget()
    yield Source(config)
    _forget()
    sys.modules.update(before)


def _forget() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.partition(".")[0] in ("flows", "deployments")]
    return {name: sys.modules.pop(name) for name in names}


def write_many(source: Source, places: str, names: Iterable[tuple[str, str]]) -> None:
    """Credentials, each with its provider. `places`: the section that says how many at a time."""
    credentials = "".join(CREDENTIAL.format(name=name, provider=provider) for name, provider in names)
    source.config.write_text(f"{places}{PARTS}{credentials}")
