"""HashiCorp Vault and OpenBao, KV version 2: what is kept where, see vault_documents; how it is kept safe, staged_store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from keyturn.errors import PermanentError
from keyturn.model import Finding, SecretRef
from keyturn.references import Resolver
from keyturn.stores.staged_store import StagedStore
from keyturn.stores.vault_client import ConnectionSettings, Mount, VaultClient, stanza
from keyturn.stores.vault_documents import Documents

_MAIN_NEEDS = ("read", "update")
_BESIDE_NEEDS = ("create", "read", "update")
_NOTES_NEEDS = (*_BESIDE_NEEDS, "patch")


# For people: where the two documents are.
_MAIN = "<mount>/data/<path>"
_BESIDE = "<mount>/data/<staging_prefix>/<path>/<field>"
_METADATA = "<mount>/metadata/<staging_prefix>/<path>/<field>"


def policy(path: str, mount: str = "secret", staging_prefix: str = "keyturn", *, creating: bool = False) -> str:
    """The least that keyturn needs for every value at `path`, as the text of a policy: see deployments/vault-policy.hcl.

    `creating`: also for `create`, by which a secret comes into the store at first. No rotation needs it.
    """
    beside = f"{staging_prefix}/{path}/*"
    main_needs = ("create", *_MAIN_NEEDS) if creating else _MAIN_NEEDS
    rules = ((f"data/{path}", main_needs), (f"data/{beside}", _BESIDE_NEEDS), (f"metadata/{beside}", _NOTES_NEEDS))
    return "".join(f"{stanza(f'{mount}/{where}', needs)}\n" for where, needs in rules)


class VaultKV2(StagedStore):
    """A SecretStore. `CALLS` says what each verb needs, and `policy()` gives it; `current` needs `read` on the first."""

    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "stages": (f"GET {_MAIN}, GET {_BESIDE}", f"read on {_MAIN} and {_BESIDE}"),
        "create": (f"POST {_MAIN} (check-and-set)", f"create, read, update on {_MAIN}"),
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
        return [*findings, *await self._capabilities(secret)]

    async def aclose(self) -> None:
        await self._vault.aclose()

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
