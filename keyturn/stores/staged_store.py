"""The verbs of a SecretStore over two documents with check-and-set: what is kept where, see two_documents.

**A promote writes two documents**, and may die in between. First the one beside says what is about to be displaced; then
the main document is written, under the number that it was read at. Which of the two moments it is, CURRENT itself tells:
while it is still `displaced`, nothing has happened, and PREVIOUS is `previous`; once it is anything else, PREVIOUS is
`displaced`. So a reader is right at every instant, and a promote that died is finished, or overtaken, by anybody.
Afterwards the second document is tidied, at leisure.

**A version that has left the second document is never served afterwards.** Where a promote may be under way (CURRENT is
`displaced`), dropping a version first writes the main document once more, as it is: that takes the number the promote
counts on. It has to begin anew, which is a write of the second document: if it comes first, ours fails and we look
again; if ours comes first, the promote finds its version gone.

**A version that was barred is not served either,** in the same way: what is written after the main document was touched
says that it is barred, and the promote that begins anew finds that. Every later write of the second document carries it
on, and where CURRENT is no longer a `displaced` value, that one is free again.

**A token that was spent is never staged under.** Whoever stages or spends writes the second document under the number at
which the token was not in it: of two, the later one finds it there. To spend is to write that document as it was read, with
one token more. No version leaves it, and `displaced` stays, so a promote under way may go on.

Whatever can be read and written under a number is a store by this: a backend's class adds where its documents are, what
it needs to be allowed, and what its preflight looks at. tests/stores/test_staged_interleavings.py tries all of this in every
order of requests, and with a death after each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from keyturn.errors import ConflictError, KeyturnError, NotFoundError
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, SecretRef, Stage, VersionRef, meant
from keyturn.stores.two_documents import TRIES, Beside, Seen, TwoDocuments, crowded, current_of, look


class StagedStore:
    """All of a SecretStore but `preflight` and `aclose`. See the module's text."""

    def __init__(self, documents: TwoDocuments) -> None:
        self._two = documents

    async def stages(self, secret: SecretRef) -> Mapping[Stage, VersionRef]:
        """Reads both documents."""
        return {stage: key.version for stage, key in (await look(self._two, secret)).held.items()}

    async def current(self, secret: SecretRef) -> HeldKey:
        """Reads the main document alone, so that a proxy may use it, too."""
        return current_of(secret, await self._two.main(secret))

    async def read(self, secret: SecretRef, version: VersionRef) -> KeyMaterial:
        """Reads the main document, and the second one for what is not CURRENT."""
        current = await self.current(secret)
        key = current if current.version == version else (await look(self._two, secret)).find(version)
        if key is None:
            raise NotFoundError(f"{secret}: no stage holds the version {version.fingerprint}")
        return key.material

    async def create(self, secret: SecretRef, material: KeyMaterial) -> VersionRef:
        """Writes the main document. MisconfiguredError for a value that it cannot carry."""
        self._two.demand_fit(secret, material)
        for _ in range(TRIES):
            main = await self._two.main(secret)
            if main.missing is None:
                current = current_of(secret, main)
                if current.material == material:
                    return current.version
                raise ConflictError(
                    f"{secret} holds another value already: {current.version.fingerprint}",
                    remedy="find out who wrote it; to replace it, rotate",
                )
            if (number := await self._two.write_main(secret, main, material)) is not None:
                return VersionRef(number, material.fingerprint())
        raise crowded(secret)

    async def stage(self, secret: SecretRef, material: KeyMaterial, token: str) -> VersionRef:
        """Writes the second document. MisconfiguredError for a value that the main document cannot carry.

        A token is used once: when its version has left every stage, staging under it again is a ConflictError.
        """
        self._two.demand_fit(secret, material)
        version = VersionRef(token, material.fingerprint())
        for _ in range(TRIES):
            seen = await look(self._two, secret)
            if token in seen.beside.issued:
                if seen.beside.issued[token] == version.fingerprint and seen.find(version):
                    return version
                raise ConflictError(
                    f"{secret}: the token {token} is spent, it was used here before", remedy="stage under a new token"
                )
            beside = seen.beside.having_issued(token, version.fingerprint)
            beside = replace(beside, pending=HeldKey(version, material), displaced=None)
            if await self._keep_out_and_write(secret, seen, beside):
                return version
        raise crowded(secret)

    async def spend(self, secret: SecretRef, token: str) -> None:
        """Writes the second document. Forgotten as two_documents says."""
        for _ in range(TRIES):
            seen = await look(self._two, secret)
            if token in seen.raw.issued:
                return
            if await self._two.write_beside(secret, seen.raw.having_issued(token)) is not None:
                return
        raise crowded(secret)

    async def promote(self, secret: SecretRef, version: VersionRef, replacing: VersionRef) -> None:
        """Writes the second document, then the main one, then tidies the second."""
        for _ in range(TRIES):
            seen = await look(self._two, secret)
            now = seen.current
            if now.version == version:
                return await self._tidy(secret, seen.raw, now)
            if now.version != replacing:
                raise ConflictError(
                    f"{secret} was changed meanwhile: it is {now.version.fingerprint}, and not {replacing.fingerprint}",
                    remedy="find out who changed it, then start the rotation again",
                )
            key = meant(seen.held, version)
            if key is None:
                raise ConflictError(f"{secret}: no stage holds the version {version.fingerprint}")
            if version.fingerprint in seen.beside.barred:
                raise ConflictError(
                    f"{secret}: the version {version.fingerprint} is barred, since its key is being revoked",
                    remedy="rotate to a new key",
                )
            self._two.demand_fit(secret, key.material)
            # Written at each try, also when it says so already: a discard or a bar that was decided before it then fails.
            beside = replace(seen.beside, displaced=now)
            number = await self._two.write_beside(secret, beside)
            if number is not None and await self._two.write_main(secret, seen.main, key.material) is not None:
                return await self._tidy(secret, replace(beside, number=number), key)
        raise crowded(secret)

    async def bar(self, secret: SecretRef, version: VersionRef) -> None:
        """Writes the second document; before that the main one, as it is, where a promote may be under way."""
        for _ in range(TRIES):
            seen = await look(self._two, secret)
            if seen.current.version == version:
                raise ConflictError(f"{secret}: the version {version.fingerprint} is CURRENT, and is not barred")
            if seen.find(version) is None or version.fingerprint in seen.beside.barred:
                return
            if await self._keep_out_and_write(secret, seen, seen.barring(version)):
                return
        raise crowded(secret)

    async def discard(self, secret: SecretRef, version: VersionRef) -> None:
        """Writes as `bar`. When it has returned, no promote of this version can succeed any more."""
        for _ in range(TRIES):
            seen = await look(self._two, secret)
            if seen.current.version == version:
                raise ConflictError(f"{secret}: the version {version.fingerprint} is CURRENT, and is not discarded")
            if seen.find(version) is None or await self._keep_out_and_write(secret, seen, seen.beside.without(version)):
                return
        raise crowded(secret)

    async def annotate(self, secret: SecretRef, notes: Mapping[str, str | None]) -> None:
        await self._two.annotate(secret, notes)

    async def annotations(self, secret: SecretRef) -> Mapping[str, str]:
        return await self._two.annotations(secret)

    async def _keep_out_and_write(self, secret: SecretRef, seen: Seen, beside: Beside) -> bool:
        """Write the second document, where a version may be dropped or barred; False: somebody was faster."""
        if seen.promoting and await self._two.touch_main(secret, seen.main) is None:
            return False
        return await self._two.write_beside(secret, beside) is not None

    async def _tidy(self, secret: SecretRef, beside: Beside, current: HeldKey) -> None:
        """Say in the second document that a promote is over. It is over without that, so a failure here is none."""
        settled = beside.settled(current)
        if settled != beside:
            with suppress(KeyturnError):
                await self._two.write_beside(secret, settled)
