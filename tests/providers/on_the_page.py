"""What docs/provider-http.md declares."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).parents[2] / "docs" / "provider-http.md"


def declared(name: str, url: str, secret: str) -> dict[str, Any]:
    """The settings of one of its providers, at another address, with the variable of another secret."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    found: dict[str, Any] = next(
        data for block in blocks for key, data in yaml.safe_load(block)["providers"].items() if key == name
    )
    assert found.pop("kind") == "http"
    found["base_url"] = url + re.sub(r"^https://[^/]+", "", found["base_url"])
    found["login"]["secret"] = f"env:{secret}"
    return found
