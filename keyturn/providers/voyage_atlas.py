"""Voyage through MongoDB Atlas: the AI model keys of one project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.admin_api import AdminApi, segment
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source
from keyturn.providers.fields import hint_of, iso, items, key_text, name_of, optional_iso, plain_id
from keyturn.providers.pages import by_number
from keyturn.providers.probe import Probe
from keyturn.providers.token_login import TokenLogin, client_credentials, no_login
from keyturn.providers.vendor import Vendor, VendorSettings
from keyturn.providers.verdicts import Verdicts, dead
from keyturn.references import Address, SecretReference

_OWNER = "the role Project Model Owner"
_PAGE = "500"  # keys; the most that Atlas gives


class VoyageAtlas(Vendor):
    """The keys of one Atlas project (a "group"), by a service account. Keys of Voyage's own dashboard are not there."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="Voyage (MongoDB Atlas)",
        shape=Shape.CREATE_DELETE,
        variables=("VOYAGE_API_KEY", "VOYAGE_AI_API_KEY", "VOYAGE_AI_TOKEN"),
        models="voyage/",
        login="an Atlas service account with the role Project Model Owner",
        last_use="to the second",
        sources=(
            Source("Atlas Admin API v2, version 2025-03-12, AI Model API Keys"),
            Source(
                "github.com/BerriAI/litellm pull request 41812", Known.SECONDARY, "what refuses a key, and where it goes"
            ),
        ),
        risks=(
            "Keys of Atlas begin with al- and are accepted at https://ai.mongodb.com/v1 alone: LiteLLM needs that as "
            "api_base, and sends them to api.voyageai.com without.",
            "An API access list of the Atlas organization has to admit the machine that keyturn runs on.",
        ),
        # GET .../groups/{group}/serviceAccounts/{client_id} tells roles; Project Model Owner is none of those on its page.
        permissions=(
            Permission(May.CREATE, (_OWNER,)),
            Permission(May.LIST, ("the role Project Read Only",)),
            Permission(May.DELETE, (_OWNER,)),
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "Voyage", (dead(401, "Voyage", says="provided api key is invalid", known="S"),), accepted=lambda _: False
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "login": ("POST /api/oauth/token, with the service account", "none"),
        "list": ("GET /api/atlas/v2/groups/{group}/aiModelApiKeys, page by page", "Project Read Only"),
        "create": ("POST /api/atlas/v2/groups/{group}/aiModelApiKeys", "Project Model Owner"),
        "check": ("none: Voyage has no call that costs nothing", "none"),
        "last_used": ("GET /api/atlas/v2/groups/{group}/aiModelApiKeys", "Project Read Only"),
        "revoke": ("DELETE /api/atlas/v2/groups/{group}/aiModelApiKeys/{id}, then GET the list", "Project Model Owner"),
    }

    class Settings(VendorSettings):
        """`client_id`, `client_secret`: of the service account. `group`: the project's id. `version`: of the Admin API, as
        its media type says it: a date, or `preview`. `cloud`, `geography`: for new keys; Atlas takes ANY alone so far."""

        client_id: str
        client_secret: SecretReference
        group: str = Field(pattern=r"^[a-f0-9]{24}$")
        version: str = Field(default="2025-03-12", pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2}|preview)$")
        cloud: str = "ANY"
        geography: str = "ANY"
        base_url: Address = "https://cloud.mongodb.com"

    def _admin(self) -> AdminApi:
        s = self.settings
        remedy = f"put into {s.client_secret} a live secret of {s.client_id}, with the role Project Model Owner"
        tokens = AdminApi("Atlas", s.base_url, no_login, s.timeout, remedy)
        media = {b"Accept": f"application/vnd.atlas.{s.version}+json".encode()}
        exchange = client_credentials(s.client_id)
        login = TokenLogin(tokens, "/api/oauth/token", exchange, s.client_secret, self._resolve, self._now, media)
        return AdminApi("Atlas", s.base_url, login, s.timeout, remedy)

    def _probe(self, verdicts: Verdicts) -> Probe | None:
        return None

    @property
    def _path(self) -> str:
        return f"/api/atlas/v2/groups/{self.settings.group}/aiModelApiKeys"

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. Atlas's keys do not expire."""
        body = {"name": label, "cloud": self.settings.cloud, "geography": self.settings.geography}
        return await self.api.make(self._path, _created, json=body)

    async def _keys(self) -> Sequence[KeyRef]:
        async def read(number: int) -> Sequence[KeyRef]:
            return await self.api.read(self._path, _page, params={"itemsPerPage": _PAGE, "pageNum": str(number)})

        return await by_number("Atlas", read)

    async def _delete(self, key: KeyRef) -> bool:
        return (await self.api.call("DELETE", f"{self._path}/{segment(key.id)}", passing=(404,))).is_success


def _created(document: Mapping[str, Any]) -> CreatedKey:
    return CreatedKey(_key(document), key_text(document.get("secret")))


def _page(document: Mapping[str, Any]) -> Sequence[KeyRef]:
    return [_key(each) for each in items(document.get("results"))]


def _key(data: Mapping[str, Any]) -> KeyRef:
    return KeyRef(
        id=plain_id(data.get("apiKeyId")),
        name=name_of(data.get("name")),
        hint=hint_of(data.get("maskedSecret")),
        created_at=iso(data.get("createdAt")),
        last_used_at=optional_iso(data.get("lastUsedAt")),
    )
