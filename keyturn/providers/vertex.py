"""Vertex AI: the keys of one of Google Cloud's service accounts. A key's text is its JSON key file, on one line."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field

from keyturn.durations import Duration
from keyturn.errors import MisconfiguredError, PermanentError
from keyturn.json_object import UnreadableError, json_object
from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.admin_api import AdminApi, segment
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source
from keyturn.providers.fields import iso, items, key_text, name_of, plain_id, text
from keyturn.providers.google_certificate import NEVER, KeyPair, label_in
from keyturn.providers.google_login import GoogleSettings, google_login
from keyturn.providers.google_permissions import tested
from keyturn.providers.google_token import TokenProbe, endpoint, key_file
from keyturn.providers.permissions import Rights
from keyturn.providers.vendor import Vendor
from keyturn.providers.verdicts import Row, Verdicts, dead
from keyturn.references import Address

_TESTED = "POST .../serviceAccounts/{service_account}:testIamPermissions"
_LONGEST_NAME = 64  # of a certificate's subject


class Vertex(Vendor):
    """Google does not name keys. So keyturn makes the pair itself, and uploads a certificate that bears the label: the
    private key never travels, a key is found again, and it may expire."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="Vertex AI",
        shape=Shape.CREATE_DELETE,
        variables=("VERTEXAI_CREDENTIALS",),
        models="vertex_ai/",
        keyless="workload identity federation, or the service account of the machine or pod: LiteLLM finds it by "
        "itself, and no key file is made",
        steps="Vertex AI",
        login="an access token, or a service account's key: roles/iam.serviceAccountKeyAdmin on the service account",
        makes_logins=True,
        disables=True,
        expiry="any moment, by the certificate (secondary)",
        most_keys=10,
        sources=(
            Source("Google's discovery document of iam v1, revision 20261023; PyPI google-auth 2.63.0 for tokens"),
            Source("cloud.google.com/iam/docs/keys-upload", what="certificates are public, with all that stands in them"),
            Source("cuberoot31.com on keys with an expiration date", Known.SECONDARY, "a certificate's end is the key's"),
            Source("issues of google-github-actions/setup-gcloud (#76) and others", Known.SECONDARY, "a dead key's answer"),
            Source("firebase/firebase-tools #6192", Known.SECONDARY, "10 keys are the most"),
            Source("nobody yet", Known.RECALLED, "a certificate is given back as it was uploaded; a disabled key's answer"),
        ),
        risks=(
            "Tokens that were given for a key before it was deleted live on for up to an hour.",
            "The label stands in a certificate, which anybody can read who knows the account's address.",
            "An organization policy may forbid uploads; `made_by: google` makes keys that cannot be named, nor expire: one "
            "whose answer was lost is not found again, and is for a person to delete.",
            "Google does not tell here when a key was last used.",
            "Names have 64 characters at most: the credential's name may have 36.",
        ),
        permissions=tuple(
            Permission(verb, tuple(f"iam.serviceAccountKeys.{name}" for name in names), _TESTED)
            for verb, names in (
                (May.CREATE, ("create", "list")),
                (May.LIST, ("list", "get")),
                (May.DELETE, ("delete",)),
                (May.DISABLE, ("disable", "enable")),
            )
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "Google",
        (
            dead(400, "Google", code="invalid_grant", says="Invalid JWT Signature", known="S"),
            Row(400, "this machine's clock is wrong (400)", code="invalid_grant", says="reasonable timeframe", known="S"),
            Row(400, "no token (400), but not in the words for a dead key", code="invalid_grant", known="S"),
        ),
        accepted=lambda document: isinstance(document.get("access_token"), str),
        message=lambda document: str(document.get("error_description") or ""),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("GET .../keys; GET .../keys/{id} for each one's certificate", "iam.serviceAccountKeys.list, .get"),
        "create": (
            "GET .../keys, POST .../keys:upload (made_by google: POST .../keys)",
            "iam.serviceAccountKeys.create, .list",
        ),
        "check": ("POST /token, with the key under test, and once with a garbage key", "none"),
        "last_used": ("nothing: Google does not tell here", "none"),
        "revoke": ("DELETE .../keys/{id}, then GET .../keys", "iam.serviceAccountKeys.delete, .list"),
        "disable": ("POST .../keys/{id}:disable", "iam.serviceAccountKeys.disable"),
        "enable": ("POST .../keys/{id}:enable", "iam.serviceAccountKeys.enable"),
    }

    class Settings(GoogleSettings):
        """`service_account`: its address; the keys are its. `made_by`: see Vertex. `most_keys`: how many Google allows."""

        project: str = Field(pattern=r"^[a-z0-9][a-z0-9.:-]*$")
        service_account: str = Field(pattern=r"^[A-Za-z0-9._-]+@[A-Za-z0-9.-]+$")
        made_by: Literal["keyturn", "google"] = "keyturn"
        most_keys: int | None = Field(default=10, ge=2)
        propagation: Duration = timedelta(minutes=5)  # recalled: a minute or more
        base_url: Address = "https://iam.googleapis.com/v1"

    def _facts(self) -> Facts:
        of_google = self.settings.made_by == "google"
        return replace(self.FACTS, most_keys=self.settings.most_keys, expiry="" if of_google else self.FACTS.expiry)

    def _admin(self) -> AdminApi:
        s, self._names = self.settings, dict[str, str]()
        self._path = f"/projects/{s.project}/serviceAccounts/{s.service_account}/keys"
        login = google_login(s, self._resolve, self._now)
        return AdminApi("Google", s.base_url, login, s.timeout, f"see that {s.login} has roles/iam.serviceAccountKeyAdmin")

    @property
    def _own_key(self) -> str:
        return self.settings.service_account_key or ""

    def _probe(self, verdicts: Verdicts) -> TokenProbe:
        api, path = endpoint(self.settings.token_uri, self.settings.timeout, "")
        return TokenProbe(api, path, verdicts, lambda: self._text(KeyPair.new(), "0" * 40), self._now)

    async def _granted(self) -> Rights:
        """Also of what is granted on the project, and above it."""
        return await tested(self.api, self._path.removesuffix("/keys"), self.FACTS)

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. PermanentError where the account is full: Google's own answer would not say so."""
        most, now = self.settings.most_keys, self._now()
        if len(label) > _LONGEST_NAME:
            raise MisconfiguredError(f"{label} is too long for a key at Google", remedy="give the credential a shorter name")
        if most is not None and len(await self._listed_keys()) >= most:
            who = self.settings.service_account
            raise PermanentError(f"{who} has {most} keys, and may have no more", remedy="delete those that nobody uses")
        if self.settings.made_by == "google":
            body = {"privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE", "keyAlgorithm": "KEY_ALG_RSA_2048"}
            return await self.api.make(self._path, self._given, json=body)
        pair = await asyncio.to_thread(KeyPair.new)
        data = base64.b64encode(pair.certificate(label, now, now + expires_in if expires_in else NEVER)).decode()

        def made(document: Mapping[str, Any]) -> CreatedKey:
            ref = self._ref(document, label)
            return CreatedKey(ref, key_text(self._text(pair, ref.id)))

        return await self.api.make(f"{self._path}:upload", made, json={"publicKeyData": data})

    async def _listed_keys(self) -> Sequence[Mapping[str, Any]]:
        return await self.api.read(self._path, _page, params={"keyTypes": "USER_MANAGED"})

    async def _keys(self) -> Sequence[KeyRef]:
        return [self._ref(raw, await self._name(raw)) for raw in await self._listed_keys()]

    async def _name(self, raw: Mapping[str, Any]) -> str:
        """From the certificate, which is read once. "" for Google's own keys."""
        id = _id(raw)
        if raw.get("keyOrigin") == "GOOGLE_PROVIDED":
            return ""
        if id not in self._names:
            asked = {"publicKeyType": "TYPE_X509_PEM_FILE"}
            read = await self.api.call("GET", f"{self._path}/{segment(id)}", params=asked, passing=(404,))
            if not read.is_success:  # deleted meanwhile
                return ""
            found = self.api.parsed(read, "GET of a key", lambda document: label_in(text(document.get("publicKeyData"))))
            self._names[id] = name_of(found)
        return self._names[id]

    def _ref(self, raw: Mapping[str, Any], name: str) -> KeyRef:
        until = iso(raw.get("validBeforeTime"))
        return KeyRef(
            id=_id(raw),
            name=name,
            # As key files begin: the id of a key stands in its text, and tells which key a value is.
            hint=f"{key_file(self.settings.project, _id(raw))[:-1]},...",
            owner=self.settings.service_account,
            created_at=iso(raw.get("validAfterTime")),
            expires_at=None if until.year >= NEVER.year else until,
        )

    def _text(self, pair: KeyPair, id: str) -> str:
        s = self.settings
        return key_file(s.project, id, private_key=pair.pem(), client_email=s.service_account, token_uri=s.token_uri)

    def _given(self, document: Mapping[str, Any]) -> CreatedKey:
        """A key that Google made: its file comes with line ends and blanks, and is put on one line."""
        try:
            found = json_object(base64.b64decode(text(document.get("privateKeyData")), validate=True))
        except ValueError:
            raise UnreadableError from None
        ref = self._ref(document, "")
        if found.get("private_key_id") != ref.id:
            raise UnreadableError
        return CreatedKey(ref, key_text(json.dumps(found, separators=(",", ":"))))

    async def _delete(self, key: KeyRef) -> bool:
        return (await self.api.call("DELETE", f"{self._path}/{segment(key.id)}", passing=(404,))).is_success

    async def disable(self, key: KeyRef) -> None:
        """Reversible: `enable`."""
        await self.api.call("POST", f"{self._path}/{segment(key.id)}:disable", json={})

    async def enable(self, key: KeyRef) -> None:
        """As before `disable`."""
        await self.api.call("POST", f"{self._path}/{segment(key.id)}:enable", json={})


def _page(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Google leaves out what is empty: a list of none is `{}`."""
    found = items(document.get("keys", []))
    for raw in found:
        _id(raw), iso(raw.get("validAfterTime")), iso(raw.get("validBeforeTime"))
    return found


def _id(raw: Mapping[str, Any]) -> str:
    return plain_id(text(raw.get("name")).rpartition("/keys/")[2])
