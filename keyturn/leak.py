"""From a fingerprint to the credentials that hold a key of it, or remember one: over the stores and their notes alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from keyturn.assembly import Adapters
from keyturn.config import Config
from keyturn.errors import KeyturnError
from keyturn.journal import Journal
from keyturn.model import Stage


@dataclass(frozen=True, slots=True)
class Holder:
    """A credential that knows the key. `stage`: where its deciding secret holds it; None: it is known by a note alone, as a
    key that was in service, or was to be, and is not known to be gone."""

    credential: str
    stage: Stage | None


@dataclass(frozen=True, slots=True)
class Holders:
    """`found`: by credential. `unseen`: those whose secret could not be read: they may be another."""

    found: tuple[Holder, ...]
    unseen: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(each.credential for each in self.found)

    @property
    def caveat(self) -> str:
        """For the end of a sentence that says who was found."""
        return f" ({', '.join(self.unseen)} could not be asked)" if self.unseen else ""


async def holders(config: Config, adapters: Adapters, fingerprint: str) -> Holders:
    """Every credential is asked, all at once. Raises nothing for one that cannot be: see `unseen`."""
    names = list(config.credentials)
    answers = await asyncio.gather(*(_ask(config, adapters, name, fingerprint) for name in names))
    found = tuple(each for each in answers if isinstance(each, Holder))
    return Holders(found, tuple(name for name, each in zip(names, answers, strict=True) if each is False))


async def _ask(config: Config, adapters: Adapters, name: str, fingerprint: str) -> Holder | bool | None:
    """False: it could not be asked."""
    secret = config.credential(name).secrets[0]
    try:
        store = adapters.store(secret.store)
        stages, notes = await store.stages(secret.ref), await store.annotations(secret.ref)
    except KeyturnError:
        return False
    for stage in (Stage.CURRENT, Stage.PENDING, Stage.PREVIOUS):
        if stage in stages and stages[stage].fingerprint == fingerprint:
            return Holder(name, stage)
    return Holder(name, None) if fingerprint in Journal.parse(notes).keys else None
