"""HashiCorp Vault and OpenBao, KV version 2: what is kept where, see vault_documents; how it is kept safe, staged_store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from keyturn.errors import PermanentError
from keyturn.model import Finding, SecretRef
from keyturn.references import Resolver
from keyturn.stores.staged_store import StagedStore
from keyturn.stores.vault_documents import Documents
from keyturn.stores.vault_policy import BESIDE, MAIN, NOTES
from keyturn.vault.client import VaultClient
from keyturn.vault.permissions import granted
from keyturn.vault.settings import ConnectionSettings, Mount

# For people: where the two documents are.
_MAIN = "<mount>/data/<path>"
_BESIDE = "<mount>/data/<staging_prefix>/<path>/<field>"
_METADATA = "<mount>/metadata/<staging_prefix>/<path>/<field>"


class VaultKV2(StagedStore):
    """A SecretStore. `CALLS` says what each verb needs, and vault_policy gives it; `current` needs `read` on the first."""

    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "stages": (f"GET {_MAIN}, GET {_BESIDE}", f"read on {_MAIN} and {_BESIDE}"),
        "create": (f"POST {_MAIN} (check-and-set)", f"create, read, update on {_MAIN}"),
        "stage": (
            f"POST {_BESIDE} (check-and-set), at first POST {_METADATA}",
            f"update on {_BESIDE}, create and update on {_METADATA}",
        ),
        "spend": (
            f"POST {_BESIDE} (check-and-set), at first POST {_METADATA}",
            f"update on {_BESIDE}, create and update on {_METADATA}",
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
        super().__init__(self._documents)

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

    async def aclose(self) -> None:
        await self._vault.aclose()

    async def _capabilities(self, secret: SecretRef) -> list[Finding]:
        wanted = {
            self._documents.main_path(secret): MAIN,
            self._documents.beside_path(secret): BESIDE,
            self._documents.metadata_path(secret): NOTES,
        }
        try:
            answer = await self._vault.request("POST", "sys/capabilities-self", {"paths": list(wanted)})
        except PermanentError as error:
            return [Finding("what the token may do", None, error.message, error.remedy)]
        return granted(answer, wanted)
