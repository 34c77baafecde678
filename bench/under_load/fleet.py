"""What a kind of fleet has to bring to be measured: `Fleet`, one installation of it, for one way of rolling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from keyturn.demo.traffic import STREAM_EVERY

SHORT, LONG = "gpt-4o-mini", "gpt-4o"  # models of the simulator; the long one's answers take LONG_SECONDS
LONG_SECONDS = 6.0
STREAM_PARTS = 5
BEHAVIOUR = {"answer_seconds": {LONG: LONG_SECONDS}, "stream_chunks": STREAM_PARTS}  # what the simulator is told
LONG_OF_TWENTY = (STREAM_EVERY, 13)  # one of the two is a stream


class Way(StrEnum):
    """How the members come to the new key."""

    KEYTURN = "keyturn"  # the flows rotate and retire, with the product's own fleet
    BLIND = "blind"  # all members are restarted at once
    UNDRAINED = "undrained"  # one after the other, each waited for; none is taken out of the balancer before


class Fleet(Protocol):
    """Members that run with one key, behind a balancer. Every key lives until keyturn deletes it.

    `url`: where users call. `keeps_connections`: whether they use one again for their next request.
    """

    keeps_connections: bool

    @property
    def url(self) -> str: ...

    @property
    def master_key(self) -> str: ...

    def start(self) -> None:
        """Returns when every member serves and the balancer knows it."""

    def turn(self) -> str:
        """A new key, and every member onto it; the new key's fingerprint. It blocks until all of them serve it."""

    def stop(self) -> None:
        """Every process is ended."""


Making = Callable[[Path, Way, int], Fleet]
"""Of a folder to work in, the way, and the number of members."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: the n-th of its load, and what is wanted of it."""

    number: int

    @property
    def streamed(self) -> bool:
        return self.number % STREAM_EVERY == 0

    @property
    def long(self) -> bool:
        return self.number % 20 in LONG_OF_TWENTY

    @property
    def model(self) -> str:
        return LONG if self.long else SHORT
