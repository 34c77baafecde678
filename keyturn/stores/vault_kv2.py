"""HashiCorp Vault and OpenBao, KV version 2. What is kept where: see vault_documents.

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

tests/stores/test_vault_interleavings.py tries all of this in every order of requests, and with a death after each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar

from keyturn.errors import ConflictError, KeyturnError, NotFoundError, PermanentError
from keyturn.material import KeyMaterial
from keyturn.model import Finding, HeldKey, SecretRef, Stage, VersionRef, meant
from keyturn.references import Resolver
from keyturn.stores.vault_documents import TRIES, Beside, Documents, Seen, crowded
from keyturn.vault.client import VaultClient
from keyturn.vault.permissions import stanza
from keyturn.vault.settings import ConnectionSettings, Mount

_MAIN_NEEDS = ("read", "update")
_BESIDE_NEEDS = ("create", "read", "update")
_NOTES_NEEDS = (*_BESIDE_NEEDS, "patch")


# For people: where the two documents of vault_documents are.
_MAIN = "<mount>/data/<path>"
_BESIDE = "<mount>/data/<staging_prefix>/<path>/<field>"
_METADATA = "<mount>/metadata/<staging_prefix>/<path>/<field>"


def policy(path: str, mount: str = "secret", staging_prefix: str = "keyturn") -> str:
    """The least that keyturn needs for every value at `path`, as the text of a policy: see deployments/vault-policy.hcl."""
    beside = f"{staging_prefix}/{path}/*"
    rules = ((f"data/{path}", _MAIN_NEEDS), (f"data/{beside}", _BESIDE_NEEDS), (f"metadata/{beside}", _NOTES_NEEDS))
    return "".join(f"{stanza(f'{mount}/{where}', needs)}\n" for where, needs in rules)


class VaultKV2:
    """A SecretStore. See the module's text; `policy()` gives the permissions that each verb's docstring names."""

    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "stages": (f"GET {_MAIN}, GET {_BESIDE}", f"read on {_MAIN} and {_BESIDE}"),
        "stage": (
            f"POST {_BESIDE} (check-and-set), at first POST {_METADATA}",
            f"create, update on {_BESIDE} and {_METADATA}",
        ),
        "spend": (
            f"POST {_BESIDE} (check-and-set), at first POST {_METADATA}",
            f"create, update on {_BESIDE} and {_METADATA}",
        ),
        "promote": (f"POST {_BESIDE}, then POST {_MAIN} (both check-and-set)", f"update on {_BESIDE} and {_MAIN}"),
        "bar": (f"POST {_BESIDE} (check-and-set)", f"update on {_BESIDE} and {_MAIN}"),
        "discard": (f"POST {_BESIDE} (check-and-set)", f"update on {_BESIDE} and {_MAIN}"),
        "annotate": (f"PATCH {_METADATA}", f"create, read, update, patch on {_METADATA}"),
        "annotations": (f"GET {_METADATA}", f"read on {_METADATA}"),
    }

    class Settings(ConnectionSettings):
        """`mount`: the KV v2 engine. `staging_prefix`: where, in the same engine, keyturn keeps what is not served."""

        mount: Mount = "secret"
        staging_prefix: Mount = "keyturn"

    def __init__(self, settings: Settings, resolve: Resolver) -> None:
        self._vault = VaultClient(settings, resolve)
        self._documents = Documents(self._vault, settings.mount, settings.staging_prefix)

    async def preflight(self, secret: SecretRef) -> Sequence[Finding]:
        """Looks at the engine's version, the secret, and the token's capabilities. A RetryableError comes through."""
        findings = []
        for what, look in (
            ("the engine is KV v2", self._documents.require_v2),
            (f"{secret} exists", lambda: self.current(secret)),
        ):
            try:
                await look()
                findings.append(Finding(what, True))
            except PermanentError as error:
                findings.append(Finding(what, False, error.message, error.remedy))
        return [*findings, *await self._vault.about_token(), *await self._capabilities(secret)]

    async def stages(self, secret: SecretRef) -> Mapping[Stage, VersionRef]:
        """Needs `read` on both documents."""
        return {stage: key.version for stage, key in (await self._documents.look(secret)).held.items()}

    async def current(self, secret: SecretRef) -> HeldKey:
        """Needs `read` on the main document alone, so that a proxy may use it, too."""
        return await self._documents.current(secret)

    async def read(self, secret: SecretRef, version: VersionRef) -> KeyMaterial:
        """Needs `read` on the main document, and on the second for what is not CURRENT."""
        current = await self._documents.current(secret)
        key = current if current.version == version else (await self._documents.look(secret)).find(version)
        if key is None:
            raise NotFoundError(f"{secret}: no stage holds the version {version.fingerprint}")
        return key.material

    async def stage(self, secret: SecretRef, material: KeyMaterial, token: str) -> VersionRef:
        """Needs `create` and `update` on the second document.

        A token is used once: when its version has left every stage, staging under it again is a ConflictError.
        """
        version = VersionRef(token, material.fingerprint())
        for _ in range(TRIES):
            seen = await self._documents.look(secret)
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
        """Needs `create` and `update` on the second document. Forgotten as vault_documents says."""
        for _ in range(TRIES):
            seen = await self._documents.look(secret)
            if token in seen.raw.issued:
                return
            if await self._documents.write_beside(secret, seen.raw.having_issued(token)) is not None:
                return
        raise crowded(secret)

    async def promote(self, secret: SecretRef, version: VersionRef, replacing: VersionRef) -> None:
        """Needs `update` on both documents."""
        for _ in range(TRIES):
            seen = await self._documents.look(secret)
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
            # Written at each try, also when it says so already: a discard or a bar that was decided before it then fails.
            beside = replace(seen.beside, displaced=now)
            number = await self._documents.write_beside(secret, beside)
            if number is not None and await self._documents.write_main(secret, seen.main, key.material):
                return await self._tidy(secret, replace(beside, number=number), key)
        raise crowded(secret)

    async def bar(self, secret: SecretRef, version: VersionRef) -> None:
        """Needs `update` on both documents."""
        for _ in range(TRIES):
            seen = await self._documents.look(secret)
            if seen.current.version == version:
                raise ConflictError(f"{secret}: the version {version.fingerprint} is CURRENT, and is not barred")
            if seen.find(version) is None or version.fingerprint in seen.beside.barred:
                return
            if await self._keep_out_and_write(secret, seen, seen.barring(version)):
                return
        raise crowded(secret)

    async def discard(self, secret: SecretRef, version: VersionRef) -> None:
        """Needs `update` on both documents. When it has returned, no promote of this version can succeed any more."""
        for _ in range(TRIES):
            seen = await self._documents.look(secret)
            if seen.current.version == version:
                raise ConflictError(f"{secret}: the version {version.fingerprint} is CURRENT, and is not discarded")
            if seen.find(version) is None or await self._keep_out_and_write(secret, seen, seen.beside.without(version)):
                return
        raise crowded(secret)

    async def annotate(self, secret: SecretRef, notes: Mapping[str, str | None]) -> None:
        """Needs `create`, `update` and `patch` on the second document's metadata."""
        await self._documents.annotate(secret, notes)

    async def annotations(self, secret: SecretRef) -> Mapping[str, str]:
        """Needs `read` on the second document's metadata."""
        return await self._documents.annotations(secret)

    async def aclose(self) -> None:
        await self._vault.aclose()

    async def _keep_out_and_write(self, secret: SecretRef, seen: Seen, beside: Beside) -> bool:
        """Write the second document, where a version may be dropped or barred; False: somebody was faster."""
        if seen.promoting and not await self._documents.touch_main(secret, seen.main):
            return False
        return await self._documents.write_beside(secret, beside) is not None

    async def _tidy(self, secret: SecretRef, beside: Beside, current: HeldKey) -> None:
        """Say in the second document that a promote is over. It is over without that, so a failure here is none."""
        settled = beside.settled(current)
        if settled != beside:
            with suppress(KeyturnError):
                await self._documents.write_beside(secret, settled)

    async def _capabilities(self, secret: SecretRef) -> list[Finding]:
        wanted = {
            self._documents.main_path(secret): _MAIN_NEEDS,
            self._documents.beside_path(secret): _BESIDE_NEEDS,
            self._documents.metadata_path(secret): _NOTES_NEEDS,
        }
        try:
            answer = await self._vault.request("POST", "sys/capabilities-self", {"paths": list(wanted)})
        except PermanentError as error:
            return [Finding("what the token may do", None, error.message, error.remedy)]
        findings = []
        for path, needs in wanted.items():
            granted = answer.data.get(path)
            if not isinstance(granted, list):
                findings.append(Finding(f"the token may {', '.join(needs)} {path}", None, "Vault does not say"))
                continue
            missing = [need for need in needs if need not in granted and "root" not in granted]
            detail = f"not granted: {', '.join(missing)}" if missing else ""
            remedy = f"add to the policy of the token: {stanza(path, needs)}" if missing else ""
            findings.append(Finding(f"the token may {', '.join(needs)} {path}", not missing, detail, remedy))
        return findings
