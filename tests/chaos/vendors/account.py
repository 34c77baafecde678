"""A world's account at its vendor, as the driver and a person see it: past every gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from tests.chaos.left import Left

if TYPE_CHECKING:
    from tests.chaos.watch import Watch
    from tests.chaos.world import World


@dataclass(frozen=True, slots=True)
class Known:
    """A key that there is or was, without its text. `accepted`: a call with it is served at this moment. `ending`: the last
    characters of its text, as a console shows them."""

    id: str
    name: str
    fingerprint: str
    accepted: bool
    deletions: int
    ending: str = ""

    @property
    def deleted(self) -> bool:
        return self.deletions > 0

    def __str__(self) -> str:
        return f"{self.id} ({self.name})" if self.name else self.id


@dataclass(frozen=True, slots=True)
class Made:
    """A key that a person has made."""

    id: str
    text: str = field(repr=False)


class Account:
    """One shape of provider. `bystanders`: names of keys that are nobody's of this world, and stay as they are.

    CREDENTIAL: what its kind needs in each credential's part of keyturn.yaml.
    `watches_stages`: whether its rule asks which keys a secret has ever held. `ages`: whether the vendor tells since when a
    key is there. `shows_hints`: whether it shows enough of a key to tell which one a person put into service.
    `first_differs`: whether the key that a person put into service goes by another way than those that follow.
    `late_kills`: stands in the name of a call that ends whatever key is there when it arrives; "" where there is none.
    """

    KIND: ClassVar[str]  # in keyturn.yaml
    CREDENTIAL: ClassVar[Mapping[str, str]] = MappingProxyType({})
    watches_stages: ClassVar[bool] = False
    ages: ClassVar[bool] = True
    shows_hints: ClassVar[bool] = True
    first_differs: ClassVar[bool] = False
    late_kills: ClassVar[str] = ""
    bystanders: ClassVar[Sequence[str]] = ("another team",)

    @property
    def port(self) -> int:
        """Where its API is, and what proxies call."""
        raise NotImplementedError

    @property
    def inference(self) -> str:
        """What LiteLLM has as the provider's address."""
        raise NotImplementedError

    @property
    def environ(self) -> Mapping[str, str]:
        """What a worker has to be given for the references in `settings`."""
        return {}

    @property
    def parts(self) -> Mapping[str, int]:
        """What else a worker talks to, and where that is."""
        return {}

    def now(self) -> datetime:
        """What time it is in its world."""
        return datetime.now(UTC)

    def settings(self, url: str, world: World) -> dict[str, Any]:
        """Its part of keyturn.yaml, without what all vendors have. `url`: where its API is for a worker."""
        raise NotImplementedError

    async def start(self, world: World) -> None:
        """Once."""

    def stop(self) -> None:
        """What was started is ended."""

    async def new_key(self, name: str) -> Made:
        """A person makes a key, with no trace of keyturn."""
        raise NotImplementedError

    async def keys(self) -> Sequence[Known]:
        """Every key of this account that ever was, oldest first."""
        raise NotImplementedError

    async def delete(self, key: Known) -> None:
        """As a person does it."""
        raise NotImplementedError

    async def grow_old(self, seconds: float) -> None:
        """Every key was made so much earlier."""

    async def prepare(self, world: World) -> None:
        """Before each case: what people do ahead."""

    async def clear(self, world: World) -> None:
        """After a bad end, when the keys in service are new ones made by hand."""

    async def judge(self, world: World, watch: Watch, current: Mapping[str, str], left: Left) -> None:
        """Say what is wrong with its keys in the end. `current`: credential -> the fingerprint of its key in service."""
        raise NotImplementedError

    async def refused(self, fingerprints: set[str]) -> set[str]:
        """Of these keys, those that are not accepted now."""
        return fingerprints - {key.fingerprint for key in await self.keys() if key.accepted}
