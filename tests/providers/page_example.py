"""The example on a vendor's page against what a simulator answers: names of fields, and their types.

The examples are in tests/data/providers, each with the address of its page and its date. Null stands for any type, a name
with `?` at its end may be absent, and the name `*` stands for every name.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from keyturn.testing.provider_scene import Scene
from tests.providers.description import Exchange, Recorder

FOLDER = Path(__file__).parents[1] / "data" / "providers"


class PageExample:
    """`strip`: what stands before the example's paths at the simulator. `seen`: which of its answers were compared."""

    def __init__(self, file: str, strip: str = "") -> None:
        found = json.loads((FOLDER / file).read_text())
        assert found["where"].startswith("https://")
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", found["state"])
        self.answers: Mapping[str, Any] = found["answers"]
        self.strip = strip
        self.seen: set[str] = set()

    @asynccontextmanager
    async def watching(self, scene: Scene) -> AsyncIterator[None]:
        """Every answer meanwhile that is no refusal has to have the form of the example."""
        recorder = Recorder(scene.server.app)
        scene.server.app = recorder
        yield
        scene.server.app = recorder.app
        for exchange in recorder.exchanges:
            if exchange.status < 400:
                self.check(exchange)

    def check(self, exchange: Exchange) -> None:
        asked = f"{exchange.method} {exchange.path.removeprefix(self.strip)}"
        (name,) = [each for each in self.answers if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each), asked)]
        found = differences(self.answers[name], exchange.answer, name)
        assert found == [], found
        self.seen.add(name)


def differences(example: Any, told: Any, at: str) -> list[str]:
    """Where the two are not of one form."""
    if example is None or told is None:
        return []
    if isinstance(example, dict) and isinstance(told, dict):
        return _of_objects(example, told, at)
    if isinstance(example, list) and isinstance(told, list):
        return [each for item in told for each in differences(example[0], item, f"{at}[]")]
    return [] if type(example) is type(told) else [f"{at}: {type(told).__name__}, and not {type(example).__name__}"]


def _of_objects(example: dict[str, Any], told: dict[str, Any], at: str) -> list[str]:
    if "*" in example:
        return [each for name in told for each in differences(example["*"], told[name], f"{at}.{name}")]
    optional = {name[:-1] for name in example if name.endswith("?")}
    whole = {name.removesuffix("?"): value for name, value in example.items()}
    found = [f"{at}.{name}: not there" for name in sorted(whole.keys() - told.keys() - optional)]
    found += [f"{at}.{name}: not in the example" for name in sorted(told.keys() - whole.keys())]
    return found + [
        each for name in whole.keys() & told.keys() for each in differences(whole[name], told[name], f"{at}.{name}")
    ]
