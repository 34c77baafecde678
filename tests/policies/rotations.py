"""Everything that keyturn does with a store in the life of a credential: what a policy has to allow, all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, NoReturn

from flows.outcome import Result
from keyturn.assembly import Assembly
from keyturn.errors import DeniedError, KeyturnError, RejectedError
from keyturn.lifecycle import Reason
from keyturn.model import Finding, Judgement, Mark, SecretRef, Verdict
from keyturn.ports import SecretStore
from keyturn.settings import CredentialSettings
from keyturn.testing.world import Clock, MemoryCanary, MemoryFleet, MemoryProvider
from tests.steps import plain_flows


def changed(part: Any, **verbs: Any) -> Any:
    """The part with other verbs."""

    class Changed:
        def __getattr__(self, name: str) -> Any:
            return verbs.get(name) or getattr(part, name)

    return Changed()


async def _unasked(secret: SecretRef) -> Sequence[Finding]:
    """In the place of a store's preflight: what is not allowed has to show where it is done."""
    return [Finding("it was not asked", True)]


class PendingError(KeyturnError):
    """Rotated, and the old key could not be revoked: the flow tells that as a result, with the words of the error."""


class Life:
    """A credential with one secret. `proxy`: the store as its proxies see it."""

    def __init__(self, secret: SecretRef, store: SecretStore, proxy: SecretStore) -> None:
        self.clock = Clock()
        self.provider = MemoryProvider(self.clock)
        self.first = self.provider.add(self.provider.new_key(), "made by hand")
        self.secret, self.store = secret, store
        self.fleet = MemoryFleet(proxy, secret)

    def worker(self) -> Assembly:
        address = {"store": self.secret.store, "path": self.secret.path, "field": self.secret.field}
        settings = CredentialSettings.model_validate(
            {
                "provider": "openai",
                "secrets": [address],
                "canary": {"proxy": "local", "model": "gpt"},
                "proxies": ["local"],
                "overlap": "1h",
            }
        )
        store = changed(self.store, preflight=_unasked)
        return Assembly(
            name="openai-prod",
            settings=settings,
            mark=Mark.of("openai-prod", "policies"),
            provider=self.provider,
            secrets=((self.secret, store),),
            fleets={"local": self.fleet},
            canaries={"local": MemoryCanary(self.provider, self.fleet)},
            now=self.clock.now,
            pause=self.clock.pause,
        )

    async def rotate(self, overlap: timedelta = timedelta(0)) -> None:
        self.clock.forward(hours=1)
        outcome = await plain_flows.rotate(self.worker(), self.clock.now(), Reason.MANUAL, overlap)
        if outcome.result is Result.PENDING:
            raise PendingError(outcome.sentence)

    async def given_up(self) -> None:
        """A new key that the canary refuses for good: everything is undone."""
        worker = self.worker()

        async def refuses(material: object) -> Judgement:
            return Judgement(Verdict.REJECTED, "it is refused")

        worker.canaries = {"local": changed(worker.canary, candidate=refuses)}
        self.clock.forward(hours=1)
        try:
            await plain_flows.rotate(worker, self.clock.now())
        except RejectedError:
            return
        raise RuntimeError("a refused key was rotated to")

    async def denied(self) -> None:
        """The provider makes no key: that is written down, and nothing else is there yet."""
        worker = self.worker()

        async def create(*_: object) -> NoReturn:
            raise DeniedError("it may not")

        worker.provider = changed(self.provider, create=create)
        self.clock.forward(hours=1)
        with suppress(DeniedError):
            await plain_flows.rotate(worker, self.clock.now())

    async def lived(self) -> None:
        """One that fails, the first rotation, one that is given up, one that is taken back, one more."""
        await self.fleet.start()
        await self.denied()
        await self.rotate()
        await self.given_up()
        await self.rotate(timedelta(hours=1))
        await plain_flows.rollback(self.worker())
        self.clock.forward(hours=2)
        await plain_flows.retire(self.worker(), self.clock.now())
        await self.rotate()


async def outcome_of(life: Life) -> KeyturnError | None:
    """None when all of it went well."""
    try:
        async with asyncio.timeout(120):
            await life.lived()
    except KeyturnError as error:
        return error
    return None
