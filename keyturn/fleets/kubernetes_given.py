"""What the pods of a workload are given by Secrets: whether it is a version already, and waiting until it is."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from keyturn.delivery.variable_names import Names
from keyturn.durations import text
from keyturn.errors import MisconfiguredError, PermanentError, RollFailedError, UnavailableError
from keyturn.fleets.kubernetes_objects import NotThereError, Object, Objects
from keyturn.key_parts import joined
from keyturn.kubernetes.given import Given, Place, Reads, reads_of
from keyturn.kubernetes.owners import owners
from keyturn.material import KeyMaterial
from keyturn.model import VersionRef

HOW_TO_GIVE = (
    "give it the variable by secretKeyRef or envFrom, or name the right one with `env` of the credential; where its program "
    "reads the store by itself when it starts: `reads: at_start`"
)
Pause = Callable[[float], Awaitable[None]]


class WhatPodsRead:
    """For one fleet. `variables`: from a credential's name to those that LiteLLM reads; None where that is not known."""

    def __init__(
        self,
        objects: Objects,
        variables: Callable[[str], Names | None],
        container: str | None,
        *,
        at_start: bool,
        pause: Pause,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects, self._variables = objects, variables
        self._container, self._at_start = container, at_start
        self._pause, self._now = pause, now

    def names(self, credential: str) -> Names:
        found = self._variables(credential)
        if found is None:
            raise MisconfiguredError(
                f"which variable LiteLLM reads for {credential} is not known", remedy="add `env: NAME` to the credential"
            )
        return found

    def reads(self, pod: Object, credential: str) -> Reads:
        return reads_of(pod, self.names(credential).variables, self._container, at_start=self._at_start)

    async def holds(self, pod: Object, credential: str, version: VersionRef) -> bool:
        """Whether a container that starts now is given this version. RollFailedError where it is given nothing."""
        return not await self._behind(self._demanded(pod, credential), credential, version)

    async def wait(self, pod: Object, credential: str, version: VersionRef, within: timedelta, every: float) -> None:
        """Until it is so. UnavailableError, which says who has not written it, where that takes longer."""
        reads = self._demanded(pod, credential)
        deadline = self._now() + within.total_seconds()
        while behind := await self._behind(reads, credential, version):
            if self._now() >= deadline:
                raise await self._late(behind, credential, within)
            await self._pause(every)

    async def fingerprint(self, given: Sequence[Given], names: Names) -> str:
        """Of the value that a container is given; "" where it is none. NotThereError where it could not start."""
        texts = {one.variable: await self._text(one) for one in given}
        if None in texts.values():
            return ""
        parts = {part.variable: texts[variable] or "" for part, variable in names.parts}
        try:
            return KeyMaterial(joined(parts) if parts else (texts[names.key] or "")).fingerprint()
        except ValueError:
            return ""

    def _demanded(self, pod: Object, credential: str) -> Reads:
        reads = self.reads(pod, credential)
        if reads.faults:
            raise RollFailedError(
                f"{'; '.join(reads.faults)}: a new pod would not have the new key of {credential}",
                remedy=HOW_TO_GIVE,
            )
        return reads

    async def _behind(self, reads: Reads, credential: str, version: VersionRef) -> Sequence[Given]:
        """What a container is given that is not this version yet; of a container that gets it, nothing."""
        names = self.names(credential)
        for given in reads.given:
            try:
                found = await self.fingerprint(given, names)
            except NotThereError:
                found = ""
            if found != version.fingerprint:
                return given
        return ()

    async def place(self, given: Given) -> Place:
        """The one that decides: the first that holds something; where none does, a Secret that should."""
        for place in given.places:
            with suppress(NotThereError):
                if await self._objects.text(place) is not None:
                    return place
        return next((each for each in given.places if each.must_be), given.places[0])

    async def _text(self, given: Given) -> str | None:
        for place in given.places:
            if (found := await self._objects.text(place)) is not None:
                return found
        return None

    async def _late(self, behind: Sequence[Given], credential: str, within: timedelta) -> UnavailableError:
        place = await self.place(behind[0])
        try:
            content = await self._objects.content(place)
        except PermanentError:
            content = {}
        who = ", ".join(owners(content))
        return UnavailableError(
            f"{place} does not hold the new key of {credential} after {text(within)}, and nothing was restarted"
            + (f"; it is written by {who}" if who else "" if content else ": it is not there"),
            remedy="look there why it is not brought up to date (how often does it look?), or raise sync_timeout"
            if who
            else "is it the Secret that this credential's store writes, or that an operator fills from it?",
        )
