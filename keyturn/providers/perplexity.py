"""Perplexity: keys of an API group, which it knows by their text alone. Source: docs.perplexity.ai, openapi-auth.json.

A key is made and deleted by another one: there is no admin key, no list, no id, no expiry. So `key` names the key in
service, best where it is kept (store:...): each create reads it anew. A deletion is logged in with the successor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, PermanentError
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, Finding, KeyRef, Verdict
from keyturn.providers.admin_api import AdminApi, Headers
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source
from keyturn.providers.fields import key_text, name_of, unix
from keyturn.providers.logins import bearer, with_bearer
from keyturn.providers.permissions import findings
from keyturn.providers.probe import Probe
from keyturn.providers.vendor import Vendor, VendorSettings
from keyturn.providers.verdicts import Verdicts, dead
from keyturn.references import Address, SecretReference

_IN_SERVICE = "a live key of the API group"
_BY_TEXT = "Perplexity knows keys by their text alone"


class Perplexity(Vendor):
    """The keys of the API group that `key` is of."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="Perplexity",
        shape=Shape.CREATE_DELETE,
        variables=("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
        models="perplexity/",
        login="the key in service: it may make and delete keys of its API group",
        lists=False,
        sources=(
            Source("docs.perplexity.ai/openapi-auth.json and api-reference/async-sonar-get, read 2026-11-23"),
            Source("memory", Known.RECALLED, "that a dead key is answered 401: the setting refused_as"),
            Source("memory", Known.RECALLED, "that to list one's async requests costs nothing: the setting check_path"),
        ),
        permissions=(Permission(May.CREATE, (_IN_SERVICE,)), Permission(May.DELETE, (_IN_SERVICE,))),
        risks=(
            "Keys cannot be listed: a key whose create lost its answer, or whose run died before it was written, cannot be "
            "seen by keyturn, and does not expire. Look into Perplexity's console after such a failure.",
            "A key is deleted by its text: one whose text is held nowhere any more is left for a person to delete.",
            "The key in service may make keys: whoever has it can, too.",
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "Perplexity",
        (dead(401, "Perplexity", known="R"),),
        accepted=lambda document: isinstance(document.get("requests"), list),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("nothing: Perplexity has no list", "none"),
        "create": ("POST /generate_auth_token", "the key in service"),
        "check": ("GET <check_path>, with the key under test, and once with a garbage key", "none"),
        "last_used": ("nothing: Perplexity does not tell", "none"),
        "revoke": (
            "POST /revoke_auth_token, with the successor; where it is refused GET <check_path>",
            "the key in service",
        ),
    }

    class Settings(VendorSettings):
        """`key`: where the key in service is. `check_path`: a call that costs nothing and answers with `requests`."""

        key: SecretReference
        check_path: str = Field(default="/v1/async/sonar", pattern=r"^/[A-Za-z0-9/_.-]*$")
        base_url: Address = "https://api.perplexity.ai"

    def _admin(self) -> AdminApi:
        s = self.settings
        login = bearer(s.key, self._resolve)
        return AdminApi("Perplexity", s.base_url, login, s.timeout, f"let {s.key} lead to the key in service")

    def _probe(self, verdicts: Verdicts) -> Probe:
        return Probe(self.api, "GET", self.settings.check_path, with_bearer, verdicts)

    async def preflight(self) -> Sequence[Finding]:
        """Whether the key in service is accepted, and what cannot be seen."""
        what = "the key in service, which makes the next one, is accepted by Perplexity"
        try:
            found = await self.check(await self._resolve(self.settings.key))
        except KeyturnError as error:
            return [Finding(what, False, error.message, error.remedy)]
        remedy = "" if found.verdict is Verdict.ACCEPTED else f"let {self.settings.key} lead to the key in service"
        ok = {Verdict.ACCEPTED: True, Verdict.REJECTED: False}.get(found.verdict)
        unseen = Finding("keys that nobody knows of can be seen", None, self.FACTS.risks[0])
        others = () if ok is False else await findings(self.facts)
        return [Finding(what, ok, found.reason, remedy), *others, unseen]

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. Its id is made of its fingerprint: Perplexity tells none."""
        return await self.api.make("/generate_auth_token", _created, json={"token_name": label})

    async def _keys(self) -> Sequence[KeyRef]:
        raise MisconfiguredError(f"{_BY_TEXT}: they cannot be listed")

    async def find(self, label: str) -> Sequence[KeyRef]:
        """None: see `capabilities.can_list`."""
        return []

    async def revoke(self, key: KeyRef) -> None:
        """Refused: `revoke_text`."""
        raise PermanentError(f"{_BY_TEXT}: {key.id} was not deleted")

    async def revoke_text(self, material: KeyMaterial, successor: KeyMaterial) -> None:
        """As RevokesByText says. A key is never taken for gone without asking: a new one is refused for a while, too."""
        s = self.settings

        async def login() -> Headers:
            return with_bearer(successor)

        api = AdminApi("Perplexity", s.base_url, login, s.timeout, "see whether the key in service may delete keys")
        try:
            await api.call("POST", "/revoke_auth_token", json={"auth_token": material.reveal()}, may_be_empty=True)
        except DeniedError:
            raise
        except PermanentError:  # what a key that is gone is answered with is written nowhere
            if not await self._is_gone(material, successor):
                raise
        finally:
            await api.aclose()

    async def _is_gone(self, material: KeyMaterial, successor: KeyMaterial) -> bool:
        """Refused, by an address that accepts the successor and no garbage."""
        if (await self.check(material)).verdict is not Verdict.REJECTED:
            return False
        return (await self.check(successor)).verdict is Verdict.ACCEPTED


def _created(document: Mapping[str, Any]) -> CreatedKey:
    material = key_text(document.get("auth_token"))
    made = unix(document.get("created_at_epoch_seconds"))
    return CreatedKey(
        KeyRef(f"text-{material.fingerprint()}", name_of(document.get("token_name")), created_at=made), material
    )
