"""Whose a leaked key is: the values that the stores hold, compared with what was reported."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from keyturn.config import Config
from keyturn.errors import KeyturnError, NotFoundError
from keyturn.incidents.digests import is_of
from keyturn.incidents.leak import Digests, Leak, Subject, alert_subject, key_subject
from keyturn.journal import Journal
from keyturn.key_parts import Part, taken_apart
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, Stage
from keyturn.ports import SecretStore

_AT_ONCE = 16  # credentials of one store; no store waits for another
_QUICK = 2.0  # seconds that a run of named credentials is held up at most, for what only spares another one


class Holds(Protocol):
    """keyturn.assembly.Adapters, as far as it is needed."""

    async def held(self, credential: str) -> Mapping[Stage, HeldKey]: ...

    def parts(self, credential: str) -> tuple[Part, ...]: ...

    def store(self, name: str) -> SecretStore: ...


@dataclass(frozen=True, slots=True)
class Found:
    """What became of the leaks of a report.

    `subjects`: those that are about credentials of ours. `strange`: how many were about nothing of ours, as far as the
    stores tell. `unseen`: credentials whose stores did not tell: one of the strange ones may be theirs.
    """

    subjects: tuple[Subject, ...]
    strange: int = 0
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Intake:
    """Compares reports with the values of the configured credentials. `seconds`: the stores have so long, all together."""

    config: Config
    holds: Holds
    seconds: float

    async def whose(
        self, leaks: Sequence[Leak], source: str = "", types: Mapping[str, Sequence[str]] | None = None
    ) -> Found:
        """Read every store once, and tell whose each key is: of a value that is held, or that a note remembers.

        `types`: for leaks that fit neither.
        """
        asks = any(leak.material or leak.digest for leak in leaks)
        seen, unseen = await self._look(self.config.credentials, self.seconds) if asks else ({}, ())
        subjects: dict[str, Subject] = {}
        strange = 0
        for leak in leaks:
            subject = await asyncio.to_thread(_by_value, leak, seen) or _by_note(leak, seen)
            if subject is None and (types or {}).get(leak.type) and leak.alert:
                subject = alert_subject(source, leak.alert, (types or {})[leak.type])
            if subject is None:
                strange += 1
            else:
                subjects[subject.name] = subject
        return Found(tuple(subjects.values()), strange, unseen)

    async def current(self, names: Collection[str]) -> Mapping[str, str]:
        """Credential -> fingerprint of its value in service, where its store tells."""
        seen, _ = await self._look(names, min(self.seconds, _QUICK))
        return {name: one.current for name, one in seen.items() if one.current}

    async def _look(self, names: Collection[str], seconds: float) -> tuple[dict[str, _Seen], tuple[str, ...]]:
        places = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(_AT_ONCE))
        seen: dict[str, _Seen] = {}

        async def look(name: str) -> None:
            async with places[self.config.credential(name).secrets[0].store]:
                with suppress(KeyturnError):
                    seen[name] = await self._read(name)

        reads = [asyncio.create_task(look(name)) for name in names]
        done, late = await asyncio.wait(reads, timeout=seconds) if reads else (set(), set())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for task in done:
            task.result()
        return seen, tuple(sorted(set(names) - set(seen)))

    async def _read(self, name: str) -> _Seen:
        secret = self.config.credential(name).secrets[0]
        try:
            held = await self.holds.held(name)
        except NotFoundError:
            held = await self.holds.held(name)  # it was just promoted, or discarded: the second look is whole
        notes = await self.holds.store(secret.store).annotations(secret.ref)
        values = tuple((key.version.fingerprint, text) for key in held.values() for text in self._texts(name, key.material))
        current = held[Stage.CURRENT].version.fingerprint if Stage.CURRENT in held else ""
        return _Seen(values, current, frozenset(Journal.parse(notes).keys))

    def _texts(self, name: str, material: KeyMaterial) -> Iterator[KeyMaterial]:
        """The value, and where it has several parts each of them: a scanner may find one part alone."""
        yield material
        if parts := self.holds.parts(name):
            with suppress(KeyturnError):
                yield from taken_apart(material, parts).values()


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of one credential. `values`: each text with the fingerprint of the value that it is, or is a part of."""

    values: tuple[tuple[str, KeyMaterial], ...]
    current: str
    remembered: frozenset[str]


def _by_value(leak: Leak, seen: Mapping[str, _Seen]) -> Subject | None:
    """Every value is compared, also after one that fits."""
    fits = [(fingerprint, name) for name, one in seen.items() for fingerprint, text in one.values if _is_it(leak, text)]
    return _key_subject(fits[0][0], [name for _, name in fits], seen) if fits else None


def _key_subject(fingerprint: str, names: Sequence[str], seen: Mapping[str, _Seen]) -> Subject:
    return key_subject(fingerprint, names, [name for name in names if seen[name].current == fingerprint])


def _by_note(leak: Leak, seen: Mapping[str, _Seen]) -> Subject | None:
    """A key that was in service, or was to be, and is not known to be gone: notes have its fingerprint alone."""
    fingerprint = leak.material.fingerprint() if leak.material is not None else ""
    if leak.digest is not None and leak.digest.kind is Digests.FINGERPRINT:
        fingerprint = leak.digest.text
    names = [name for name, one in seen.items() if fingerprint in one.remembered] if fingerprint else []
    return _key_subject(fingerprint, names, seen) if names else None


def _is_it(leak: Leak, material: KeyMaterial) -> bool:
    if leak.material is not None:
        return leak.material == material
    return leak.digest is not None and is_of(leak.digest, material)
