"""The audit log as flows use it: from keyturn.yaml, and so that a record that could not be written comes with the next."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import Field, model_validator

from keyturn.audit.log import LARGEST, AuditLog, Head
from keyturn.audit.record import Entry
from keyturn.audit.seal import Seal
from keyturn.durations import Duration
from keyturn.errors import KeyturnError, UnavailableError
from keyturn.references import AbsolutePath, Resolver, SecretReference
from keyturn.settings import Section

LONGEST_SECONDS = 20.0  # for the lock, the disk, and the store that the key may be in


class AuditSettings(Section):
    """`key`: seals each line, so that nobody without it can write the file anew. `max_bytes`, `max_age`: when the file is
    put aside, and another begun."""

    file: AbsolutePath
    key: SecretReference | None = None
    max_bytes: int = Field(default=LARGEST, ge=65536)
    max_age: Duration | None = None

    @model_validator(mode="after")
    def _fits(self) -> AuditSettings:
        if self.max_age is not None and self.max_age < timedelta(minutes=1):
            raise ValueError("max_age must be 1m or more")
        return self


@dataclass
class Audit:
    """Writes entries of one process. `waiting`: those that could not be written yet."""

    settings: AuditSettings
    resolve: Resolver
    waiting: list[Entry] = field(default_factory=list)

    async def record(self, entry: Entry) -> Head:
        """Write it, and before it what could not be written earlier.

        KeyturnError where that fails, or takes longer than a rotation may be held up: the entry waits for the next call, and
        is lost with the process. What only took too long may stand in the log twice.
        """
        self.waiting.append(entry)
        failure = ""
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                return await self._write()
        except KeyturnError:
            raise
        except Exception as error:  # whatever it is, a rotation is under way, and goes on
            failure = type(error).__name__
        raise UnavailableError(
            f"the audit log cannot be written ({failure})", remedy=f"look at {self.settings.file}, and at what is under it"
        )

    async def _write(self) -> Head:
        log = await audit_log(self.settings, self.resolve)
        head = Head()
        while self.waiting:
            head = await asyncio.to_thread(log.append, self.waiting[0])
            del self.waiting[0]
        return head


async def audit_log(settings: AuditSettings, resolve: Resolver) -> AuditLog:
    """MisconfiguredError where the key leads nowhere, or is too short."""
    return AuditLog(settings.file, await seal_of(settings.key, resolve), settings.max_bytes, settings.max_age)


async def seal_of(key: str | None, resolve: Resolver) -> Seal:
    """`key`: a reference, read anew."""
    return Seal(await resolve(key) if key is not None else None)
