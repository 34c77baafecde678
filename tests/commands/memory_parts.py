"""The kinds `memory` of tests: adapters over one world in memory, which a test can see."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from keyturn.references import Resolver
from keyturn.testing.world import World


class PartSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class FleetSettings(PartSettings):
    master_key: str = "env:LITELLM_MASTER_KEY"


class _Part:
    """Gives the world's own part, whatever the settings."""

    world: ClassVar[World]
    attribute: ClassVar[str]
    Settings: ClassVar[type[BaseModel]] = PartSettings

    def __new__(cls, settings: BaseModel, resolve: Resolver) -> Any:
        return getattr(_Part.world, cls.attribute)


class Provider(_Part):
    attribute = "provider"


class Store(_Part):
    attribute = "store"


class Fleet(_Part):
    attribute = "fleet"
    Settings = FleetSettings


def install(world: World) -> None:
    _Part.world = world
