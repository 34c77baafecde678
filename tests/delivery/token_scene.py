"""A lease with time in the test's hand: each token is a new one and lives so long."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from keyturn.delivery.keys import Variable
from keyturn.leases.terms import LeaseSettings, held
from keyturn.material import KeyMaterial
from keyturn.model import HeldToken

NAME = "AZURE_AD_TOKEN"
LIFE = timedelta(seconds=3600)


def new_token() -> KeyMaterial:
    return KeyMaterial(f"token-{secrets.token_urlsafe(40)}")


class Mint:
    """`failure`: what is raised instead. `same`: the token before is given out again, as a metadata service does.
    `next`: the tokens to come."""

    def __init__(self, now: datetime | None = None, life: timedelta = LIFE, least_left: timedelta = timedelta(seconds=30)):
        self.now = now or datetime(2026, 11, 29, 17, 45, tzinfo=UTC)
        self.life = life
        self.terms = LeaseSettings(env=NAME, proxies=("local",), least_left=least_left)
        self.failure: Exception | None = None
        self.same = False
        self.next: list[KeyMaterial] = []
        self.made: list[HeldToken] = []

    def clock(self) -> datetime:
        return self.now

    async def token(self) -> HeldToken:
        if self.failure is not None:
            raise self.failure
        if self.same and self.made:
            last = self.made[-1]
            found = held(last.material, self.clock(), last.ends, self.terms)
        else:
            found = held(self.next.pop(0) if self.next else new_token(), self.clock(), self.clock() + self.life, self.terms)
        self.made.append(found)
        return found

    async def aclose(self) -> None:
        """There is nothing to close."""

    def variable(self, lease: str = "azure", name: str = NAME) -> Variable:
        return Variable(lease, name, self.token, leased=True)
