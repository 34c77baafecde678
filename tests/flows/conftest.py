"""The flows as they are imported where a keyturn.yaml is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
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
