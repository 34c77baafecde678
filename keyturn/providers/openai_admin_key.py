"""OpenAI: admin keys of an organization, among them the one that keyturn itself logs in with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from keyturn.errors import ConflictError, MisconfiguredError
from keyturn.json_object import inside
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.admin_api import AdminApi, segment
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source
from keyturn.providers.logins import bearer, with_bearer
from keyturn.providers.negative_control import no_such_key
from keyturn.providers.openai_admin_answers import KEYS, asked, created, page
from keyturn.providers.pages import TokenPage, by_token
from keyturn.providers.probe import Probe
from keyturn.providers.vendor import Vendor, VendorSettings
from keyturn.providers.verdicts import Row, Verdicts, dead
from keyturn.references import Address, SecretReference

_LONGEST_LIFETIME = timedelta(seconds=31_536_000)


class OpenAIAdminKey(Vendor):
    """The admin keys of one organization. `admin_key` is one of them, and may be the very one that is rotated: each call
    reads it anew, so a new key is made with the old one, and the old one is deleted with the new one."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="OpenAI admin keys",
        shape=Shape.CREATE_DELETE,
        variables=(),
        models="",
        login="an organization's admin key that may read and write admin keys",
        makes_logins=True,
        permissions=tuple(
            Permission(verb, (f"admin key: {right} admin keys",), known=Known.RECALLED)
            for verb, right in ((May.CREATE, "write"), (May.LIST, "read"), (May.DELETE, "write"))
        ),
        expiry="1 second to 365 days",
        last_use="to the second",
        sources=(
            Source("PyPI openai 3.54.0, resources/admin/organization/admin_api_keys, and OpenAI's OpenAPI description"),
            Source("OpenAI's guide to error codes", Known.SECONDARY, "a dead admin key is answered as any dead key"),
            Source("usage_lag and propagation", Known.RECALLED, "settings"),
        ),
        risks=(
            "A create takes a name and a lifetime alone: which permissions the successor of a restricted admin key has is "
            "published nowhere. A new key that may not list admin keys is refused before it is promoted.",
            "how late OpenAI reports a use, accepts a new key and refuses a deleted one is published nowhere: settings",
            "the check counts as a use of the key",
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "OpenAI",
        (
            dead(401, "OpenAI", code="invalid_api_key", known="S"),
            Row(401, "401, but not for the key itself: an IP allow-list, a membership, a missing scope"),
            Row(403, "the key may not list admin keys (403): it is no admin key, or a restricted one", known="R"),
            Row(429, "too many requests (429)", known="R"),
        ),
        accepted=lambda document: document.get("object") == "list" and isinstance(document.get("data"), list),
        code=lambda document: str(inside(document, "error", "code") or ""),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": (f"GET {KEYS}, page by page", "admin key: read admin keys"),
        "create": (f"POST {KEYS}", "admin key: write admin keys"),
        "check": (f"GET {KEYS}, with the key under test, and once with a garbage key", "none"),
        "last_used": (f"GET {KEYS}", "admin key: read admin keys"),
        "revoke": (f"GET {KEYS}, DELETE {KEYS}/{{key}}, then GET {KEYS}", "admin key: write admin keys"),
        "login_life": (f"GET {KEYS}", "admin key: read admin keys"),
    }

    class Settings(VendorSettings):
        """`admin_key`: the admin key that keyturn logs in with, read anew for every call."""

        admin_key: SecretReference
        base_url: Address = "https://api.openai.com/v1"

    def _admin(self) -> AdminApi:
        s = self.settings
        remedy = f"put into {s.admin_key} a live admin key of the organization that may read and write admin keys"
        return AdminApi("OpenAI", s.base_url, bearer(s.admin_key, self._resolve), s.timeout, remedy)

    @property
    def _own_key(self) -> str:
        reference: str = self.settings.admin_key
        return reference

    def _probe(self, verdicts: Verdicts) -> Probe:
        return Probe(self.api, "GET", KEYS, with_bearer, verdicts, lambda: no_such_key("sk-admin-"), _one_key)

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. MisconfiguredError, with nothing sent, for a lifetime that OpenAI does not have."""
        body: dict[str, Any] = {"name": label}
        if expires_in is not None:
            if not timedelta(seconds=1) <= expires_in <= _LONGEST_LIFETIME:
                raise MisconfiguredError("a key at OpenAI lives 1 second to 365 days", remedy="change key_lifetime")
            body["expires_in_seconds"] = int(expires_in.total_seconds())
        return await self.api.make(KEYS, created, json=body)

    async def _keys(self) -> Sequence[KeyRef]:
        async def read(after: str) -> TokenPage[KeyRef]:
            return await self.api.read(KEYS, page, params=asked(after))

        return await by_token("OpenAI", read)

    async def _delete(self, key: KeyRef) -> bool:
        """Never the key that keyturn is logged in with: so what carries the call is another one, and works."""
        login = await self._resolve(self.settings.admin_key)
        fitting = [other.id for other in await self._keys() if login.fits_hint(other.hint)]
        if fitting == [key.id]:
            raise ConflictError(
                f"the admin key {key.id} is the one that {self.settings.admin_key} holds: not deleted",
                remedy="put another live admin key there first",
            )
        answer = await self.api.call("DELETE", f"{KEYS}/{segment(key.id)}", passing=(404,))
        return answer.is_success


def _one_key(_: KeyMaterial) -> Mapping[str, Any]:
    return {"params": {"limit": "1"}}
