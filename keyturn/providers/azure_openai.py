"""Azure OpenAI and AI Foundry: the two keys of a Cognitive Services account, by Azure Resource Manager.

Both keys always exist and can be read again, so which one is in service is found by comparing, never remembered. A key is
made anew by its slot's name, and Azure knows no condition for that: between our last look at the slot and the moment at
which Azure does it, nothing holds up another worker. The step that asks for it has barred the doomed text by then.

Azure tells no last use of a key, has no names, expiry or disabling for them, and gives what is regenerated no idempotency.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, NoReturn

from pydantic import Field

from keyturn.errors import ConflictError, KeyturnError, LostAnswerError, MisconfiguredError, NotFoundError, UnavailableError
from keyturn.json_object import inside
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, Finding, KeyRef
from keyturn.providers.admin_api import AdminApi
from keyturn.providers.azure_login import AzureSettings, azure_login
from keyturn.providers.azure_permissions import LIST_KEYS, REGENERATE, TOLD_BY, VERSION, rights
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source
from keyturn.providers.fields import key_text, mapping
from keyturn.providers.logins import with_header
from keyturn.providers.permissions import Rights
from keyturn.providers.probe import Probe
from keyturn.providers.vendor import Vendor
from keyturn.providers.verdicts import Verdicts, dead
from keyturn.references import Address

_SLOTS = ("key1", "key2")
_NAMES = {"key1": "Key1", "key2": "Key2"}  # as regenerateKey wants them
_PART = r"^[A-Za-z0-9_.()-]{1,90}$"


class AzureOpenAI(Vendor):
    """The keys of one account. A KeyRef's id is its slot and its fingerprint: another text in the slot is another key."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="Azure OpenAI, AI Foundry",
        shape=Shape.TWO_SLOTS,
        variables=("AZURE_OPENAI_API_KEY", "AZURE_API_KEY", "AZURE_AI_API_KEY"),
        models="azure/, azure_ai/",
        login="an Entra identity that may Microsoft.CognitiveServices/accounts/ read, listKeys/action, regenerateKey/action",
        most_keys=2,
        keyless="Entra ID: give the proxies an identity with the role Cognitive Services OpenAI User, or a lease "
        "(azure_token), and LiteLLM no api_key; then disableLocalAuth refuses every key",
        steps="Azure OpenAI",
        risks=(
            "whoever else uses the idle key is cut off when it is made anew: owns_both_keys says that nobody does",
            "Azure does not tell when a key was last used: the proof is LiteLLM's alone",
            "an old key is refused the moment it is made anew; there is no way to disable it first",
        ),
        permissions=(
            Permission(May.CREATE, (LIST_KEYS, REGENERATE), TOLD_BY),
            Permission(May.LIST, (LIST_KEYS,), TOLD_BY),
            Permission(May.DELETE, (LIST_KEYS, REGENERATE), TOLD_BY),
        ),
        sources=(
            Source("PyPI azure-mgmt-cognitiveservices 14.1.0, API version 2025-09-01"),
            Source("Microsoft's page on keys of Azure AI services", what="the old key stops working immediately; 401"),
            Source("Microsoft's pages and types of Microsoft.Authorization 2022-04-01", what="what a caller may do"),
            Source("the check: GET {endpoint}/openai/models", Known.RECALLED, "a setting"),
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "Azure",
        (dead(401, "Azure"),),
        accepted=lambda document: isinstance(document.get("data"), list),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("POST .../listKeys", "listKeys/action"),
        "create": ("POST .../listKeys, POST .../regenerateKey of the idle slot", "listKeys/action, regenerateKey/action"),
        "check": (
            "GET {endpoint}/openai/models with the key, and once with a garbage key; nothing without endpoint",
            "none",
        ),
        "last_used": ("nothing: Azure does not tell", "none"),
        "revoke": ("POST .../listKeys, POST .../regenerateKey of the old slot", "listKeys/action, regenerateKey/action"),
    }

    class Settings(AzureSettings):
        """The account. `endpoint`: where it answers inference, for the check. `owns_both_keys`: nothing but this credential
        uses either key."""

        subscription: str = Field(pattern=_PART)
        resource_group: str = Field(pattern=_PART)
        account: str = Field(pattern=_PART)
        owns_both_keys: bool = False
        endpoint: Address | None = None
        check_path: str = Field(default="/openai/models?api-version=2024-10-21", pattern=r"^/[A-Za-z0-9/_.?=&-]*$")
        base_url: Address = "https://management.azure.com"
        api_version: str = Field(default="2025-09-01", pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?$")

    def _admin(self) -> AdminApi:
        s = self.settings
        remedy = f"give {s.identity} a role with the actions listKeys and regenerateKey on the account"
        return AdminApi("Azure", s.base_url, azure_login(s, self._resolve, self._now), s.timeout, remedy)

    def _probe(self, verdicts: Verdicts) -> Probe | None:
        s = self.settings
        if s.endpoint is None:
            return None
        api = AdminApi("Azure", s.endpoint, azure_login(s, self._resolve, self._now), s.timeout, "")
        return Probe(api, "GET", s.check_path, lambda material: with_header("api-key", material), verdicts)

    @property
    def _account(self) -> str:
        s = self.settings
        return (
            f"/subscriptions/{s.subscription}/resourceGroups/{s.resource_group}/providers/"
            f"Microsoft.CognitiveServices/accounts/{s.account}"
        )

    @property
    def _version(self) -> Mapping[str, str]:
        return {"api-version": self.settings.api_version}

    async def preflight(self) -> Sequence[Finding]:
        """The account, its keys, and whether they may be used at all."""
        owned = "nothing but keyturn uses the account's other key"
        if self.settings.owns_both_keys:
            findings = [Finding(owned, True)]
        else:
            remedy = "see that nothing uses it, then set owns_both_keys: true: a rotation makes it anew"
            findings = [Finding(owned, False, "that is not said in the settings", remedy)]
        findings += await super().preflight()
        what = "the account takes keys"
        try:
            local = await self.api.read(self._account, _properties, params=self._version)
        except KeyturnError as error:
            return [*findings, Finding(what, None, error.message, error.remedy)]
        if local.get("disableLocalAuth") is True:
            detail, remedy = "disableLocalAuth is set: no key is accepted", "use Entra tokens, and no key at all"
            return [*findings, Finding(what, False, detail, remedy)]
        return [*findings, Finding(what, True)]

    async def _granted(self) -> Rights:
        path = f"{self._account}/providers/Microsoft.Authorization/permissions"
        return await self.api.read(path, partial(rights, self.FACTS), params={"api-version": VERSION})

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """Never: there are two keys, and no more. See `renew`."""
        self._no_more()

    @staticmethod
    def _no_more() -> NoReturn:
        raise MisconfiguredError("Azure has two keys for an account, and makes no more")

    async def renew(self, idle: KeyRef, held: Collection[str]) -> CreatedKey:
        """As the port TwoSlots says."""
        if idle.fingerprint in held:
            raise ConflictError("the slot that was to be made anew is in service", remedy="run the rotation again")
        slot = await self._demand(idle)
        material = await self._regenerated(slot, idle.fingerprint)
        return CreatedKey(_ref(slot, material), material)

    async def text(self, slot: KeyRef) -> KeyMaterial:
        """As the port TwoSlots says."""
        return (await self._texts())[await self._demand(slot)]

    async def _demand(self, key: KeyRef) -> str:
        """The slot's name. ConflictError where it holds another text by now."""
        slot = key.id.partition(":")[0]
        texts = await self._texts()
        if slot not in texts or texts[slot].fingerprint() != key.fingerprint:
            raise ConflictError(f"{slot} holds another key by now", remedy="run the rotation again")
        return slot

    async def _regenerated(self, slot: str, was: str) -> KeyMaterial:
        """The slot's new text. An answer that is lost is read again: what is still the old text was not made anew."""
        try:
            body = {"keyName": _NAMES[slot]}
            texts = await self.api.make(f"{self._account}/regenerateKey", _pair, params=self._version, json=body)
        except LostAnswerError:
            texts = await self._texts_or_lost()
        if texts[slot].fingerprint() == was:
            raise UnavailableError(f"Azure did not make {slot} anew")
        return texts[slot]

    async def _texts_or_lost(self) -> Mapping[str, KeyMaterial]:
        try:
            return await self._texts()
        except KeyturnError:
            raise LostAnswerError("whether Azure made the key anew is not known, and cannot be read") from None

    async def _texts(self) -> Mapping[str, KeyMaterial]:
        answer = await self.api.call("POST", f"{self._account}/listKeys", params=self._version)
        return self.api.parsed(answer, "POST listKeys", _pair)

    async def _keys(self) -> Sequence[KeyRef]:
        return [_ref(slot, material) for slot, material in (await self._texts()).items()]

    async def list(self) -> Sequence[KeyRef]:
        """Both slots. Azure tells no ages."""
        return await self._keys()

    async def last_used(self, key: KeyRef) -> datetime | None:
        """None: Azure does not tell."""
        return None

    async def revoke(self, key: KeyRef) -> None:
        """Make the key's slot anew, if it holds that key still. NotFoundError for an id that is none of ours."""
        slot, _, fingerprint = key.id.partition(":")
        if slot not in _SLOTS or not fingerprint:
            raise NotFoundError("what stands for a key's id is no slot of Azure's")
        if (await self._texts())[slot].fingerprint() == fingerprint:
            await self._regenerated(slot, fingerprint)


def _pair(document: Mapping[str, Any]) -> Mapping[str, KeyMaterial]:
    return {slot: key_text(document.get(slot)) for slot in _SLOTS}


def _ref(slot: str, material: KeyMaterial) -> KeyRef:
    fingerprint = material.fingerprint()
    return KeyRef(f"{slot}:{fingerprint}", "", fingerprint=fingerprint)


def _properties(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(inside(document, "properties"))
