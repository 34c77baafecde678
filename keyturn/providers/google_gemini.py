"""Google Gemini: the API keys of a Google Cloud project, by the API Keys API v2."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from keyturn.durations import Duration
from keyturn.errors import (
    EvidenceMissingError,
    KeyturnError,
    LostAnswerError,
    MisconfiguredError,
    NotFoundError,
    PermanentError,
    RetryableError,
)
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.admin_api import AdminApi, Headers
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source
from keyturn.providers.google_keys import GoogleKeys, display_name, key_ref, namesake, reason
from keyturn.providers.google_login import GoogleSettings, google_login
from keyturn.providers.google_operations import FAILED_PRECONDITION, OperationError
from keyturn.providers.google_permissions import tested
from keyturn.providers.logins import with_header
from keyturn.providers.permissions import Rights
from keyturn.providers.probe import Probe
from keyturn.providers.token_login import no_login
from keyturn.providers.vendor import Vendor
from keyturn.providers.verdicts import Row, Verdicts, dead
from keyturn.references import Address

_LONGEST_NAME = 63  # of a key's displayName and of its id
_GEMINI = "generativelanguage.googleapis.com"

_TESTED = "POST /v3/projects/{project}:testIamPermissions, of the Resource Manager"
_TURN_ON = "turn on cloudresourcemanager.googleapis.com in the project of the login"


class GoogleGemini(Vendor):
    """The API keys of one project. Google lets the caller choose a key's id, and tells its text at any time."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="Google Gemini",
        shape=Shape.CREATE_DELETE,
        variables=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        models="gemini/",
        login="an access token, or a service account's key: roles/serviceusage.apiKeysAdmin on the project",
        sources=(
            Source("Google's discovery document of apikeys v2, revision 20260818"),
            Source("issues of google/timesketch (#3703) and others", Known.SECONDARY, "the answer to a dead key"),
        ),
        risks=(
            "Google does not tell when a key was last used; with `refuse_used` it refuses to delete one of the last 7 days.",
            "There is no expiry: a key that is forgotten lives on.",
            "A deleted key can be had back for 30 days (`gcloud services api-keys undelete`).",
            "A default organization policy forbids to bind keys to service accounts: it shows at the first create.",
            "How a dead key of the newer form (AQ.) is answered is not known: see `refused_as`.",
            "Names have 63 characters at most: the credential's name may have 35.",
        ),
        permissions=tuple(
            Permission(verb, tuple(f"apikeys.keys.{name}" for name in names), _TESTED)
            for verb, names in (
                (May.CREATE, ("create", "get", "getKeyString", "list")),
                (May.LIST, ("list",)),
                (May.DELETE, ("delete", "get")),
            )
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "Google",
        (
            dead(400, "Google", code="API_KEY_INVALID", known="S"),
            Row(401, "not a key for this route (401)", code="ACCESS_TOKEN_TYPE_UNSUPPORTED", known="S"),
            Row(403, "the key's restrictions forbid it, or the API is off (403)", known="S"),
        ),
        accepted=lambda document: isinstance(document.get("models"), list),
        code=reason,
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("GET .../keys, page by page; with read_keys GET .../keyString", "apikeys.keys.list, .getKeyString"),
        "create": (
            "GET .../keys, POST .../keys?keyId=, GET operations/*, GET .../keys/{id}, GET .../keyString",
            "apikeys.keys.create, .get, .getKeyString, .list",
        ),
        "check": ("GET /models, with the key under test, and once with a garbage key", "none"),
        "last_used": ("nothing: Google does not tell", "none"),
        "revoke": ("GET .../keys/{id}, DELETE, GET operations/*, GET .../keys", "apikeys.keys.get, .delete, .list"),
    }

    class Settings(GoogleSettings):
        """New keys have the restrictions of the newest key of the same credential, at first those of `restrictions_of`
        (a key's id), without either Gemini's API alone; `services`: these APIs instead. `service_account`: bound to it.
        `refuse_used`: Google refuses to delete what was used within 7 days. `read_keys`: read the texts of keys that people
        made, to tell which one a value is."""

        project: str = Field(pattern=r"^[a-z0-9][a-z0-9.:-]*$")
        service_account: str | None = None
        services: tuple[str, ...] | None = Field(default=None, min_length=1)
        restrictions_of: str | None = None
        refuse_used: bool = False
        read_keys: bool = False
        propagation: Duration = timedelta(minutes=5)  # recalled: "minutes"
        operation_timeout: Duration = timedelta(minutes=2)
        base_url: Address = "https://apikeys.googleapis.com/v2"
        resource_manager_url: Address = "https://cloudresourcemanager.googleapis.com/v3"
        inference_url: Address = f"https://{_GEMINI}/v1beta"

    def _admin(self) -> AdminApi:
        s = self.settings
        login = google_login(s, self._resolve, self._now)
        api = AdminApi("Google", s.base_url, login, s.timeout, f"see that {s.login} has roles/serviceusage.apiKeysAdmin")
        self._projects = AdminApi("Google", s.resource_manager_url, login, s.timeout, _TURN_ON)
        self._google = GoogleKeys(api, s.project, s.operation_timeout)
        return api

    async def _granted(self) -> Rights:
        """By the Resource Manager, whose API has to be on in the project of the login."""
        return await tested(self._projects, f"/projects/{self.settings.project}", self.FACTS)

    async def aclose(self) -> None:
        await super().aclose()
        await self._projects.aclose()

    def _probe(self, verdicts: Verdicts) -> Probe:
        api = AdminApi("Google", self.settings.inference_url, no_login, self.settings.timeout, "")
        return Probe(api, "GET", "/models?pageSize=1", _presented, verdicts, lambda: f"AIza{secrets.token_hex(18)[:35]}")

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. A lost answer is made up for: the key is read by its id, which was chosen here."""
        if len(label) > _LONGEST_NAME:
            raise MisconfiguredError(f"{label} is too long for a key at Google", remedy="give the credential a shorter name")
        body = {"displayName": label, **await self._like(label)}
        # An id of this call's own, and not of the label: with that two runs of one rotation would get the same key, and the
        # one that fails would revoke it under the other.
        id = f"keyturn-{secrets.token_hex(12)}"
        try:
            raw = await self._google.create(id, body)
        except OperationError as error:
            remedy = "see whether an organization policy forbids it: such as keys that are bound to service accounts"
            raise error.as_ours("to create a key", remedy) from None
        if "deleteTime" in raw:
            raise LostAnswerError(f"the key {id} was made at Google, and is deleted already")
        material = await self._text(id)
        return CreatedKey(key_ref(raw, material.fingerprint()), material)

    async def _text(self, id: str) -> KeyMaterial:
        """Of a new key. One that may not be read is of use to nobody, and taken away again."""
        try:
            return await self._google.text(id)
        except RetryableError:
            raise LostAnswerError(f"the key {id} was made at Google, and its text cannot be read for now") from None
        except PermanentError:
            with suppress(KeyturnError, OperationError):
                await self._google.delete(id, refuse_used=False)
            raise

    async def _like(self, label: str) -> dict[str, Any]:
        """What the key may be used for, and whose it is. NotFoundError where that was to be copied, and is not there."""
        s, like = self.settings, dict[str, Any]()
        if s.services is None or s.service_account is None:
            like = dict(namesake(await self._google.all(), label, s.restrictions_of) or {})
        if s.restrictions_of and s.services is None and not like:
            raise NotFoundError(f"there is no key {s.restrictions_of} at Google", remedy="correct restrictions_of")
        limits, account = like.get("restrictions"), s.service_account or like.get("serviceAccountEmail")
        if s.services is not None or not limits:
            limits = {"apiTargets": [{"service": service} for service in s.services or (_GEMINI,)]}
        return {"restrictions": limits, **({"serviceAccountEmail": account} if account else {})}

    async def _keys(self) -> Sequence[KeyRef]:
        found = []
        for raw in await self._google.all():
            ours = display_name(raw).startswith("keyturn-")
            found.append(key_ref(raw, await self._google.fingerprint(raw) if self.settings.read_keys and not ours else ""))
        return found

    async def _delete(self, key: KeyRef) -> bool:
        """EvidenceMissingError where Google refuses to delete what was used of late."""
        raw = await self._google.one(key.id)
        if raw is None or "deleteTime" in raw:
            return False
        try:
            await self._google.delete(key.id, self.settings.refuse_used)
        except NotFoundError:  # somebody was faster
            return False
        except OperationError as error:
            if error.code == FAILED_PRECONDITION and self.settings.refuse_used:
                raise EvidenceMissingError(
                    f"Google has seen the key {key.id} used within the last 7 days, and does not delete it",
                    remedy="find who uses it; it is deleted 7 days after its last use",
                ) from None
            raise error.as_ours(f"to delete the key {key.id}", "see whether it can be deleted in the console") from None
        return True

    async def undelete(self, key: KeyRef) -> None:
        """Within 30 days of `revoke`, its text as before. For a person: keyturn never calls it by itself."""
        try:
            await self._google.undelete(key.id)
        except OperationError as error:
            raise error.as_ours(f"to bring back the key {key.id}", "see whether it was deleted within 30 days") from None


def _presented(material: KeyMaterial) -> Headers:
    return with_header("x-goog-api-key", material)
