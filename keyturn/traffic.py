"""What a proxy tells of its users' requests: the noun, and the port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from keyturn.model import Member


@dataclass(frozen=True, slots=True)
class Counted:
    """Requests of a proxy's users since its program has begun, and how many of them failed."""

    requests: float = 0
    failed: float = 0

    def since(self, before: Counted) -> Counted:
        """What came after `before`; all of it, where the program has begun anew since."""
        if self.requests < before.requests or self.failed < before.failed:
            return self
        return Counted(self.requests - before.requests, self.failed - before.failed)

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.requests + other.requests, self.failed + other.failed)


class Traffic(Protocol):
    """What a proxy tells of its users' requests."""

    async def counted(self, member: Member) -> Counted:
        """Requests, and how many of them failed, since the member's program has begun."""
        ...

    async def aclose(self) -> None: ...
