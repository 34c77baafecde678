"""Hugging Face: tokens that people make in their settings, and that anybody who has the text of one can have revoked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from keyturn.material import KeyMaterial
from keyturn.model import KeyRef
from keyturn.providers.admin_api import AdminApi
from keyturn.providers.facts import Facts, Known, Shape, Source
from keyturn.providers.logins import in_a_list, nobody, with_bearer
from keyturn.providers.pool_vendor import PoolSettings, PoolVendor
from keyturn.providers.probe import Probe
from keyturn.providers.verdicts import Verdicts, dead
from keyturn.references import Address


class HuggingFace(PoolVendor):
    """Tokens of users and organizations. A revoke is answered 202 whatever it is for: that it was done, a call shows."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="Hugging Face",
        shape=Shape.POOL,
        variables=("HUGGINGFACE_API_KEY", "HF_TOKEN"),
        models="huggingface/",
        login="nothing: a token is revoked by whoever has its text",
        expiry="chosen in the settings",
        risks=(
            "people make the tokens: with an empty pool nothing is rotated",
            "a revoke is always answered 202: whether it was done, the check tells",
            "the check, whoami-v2, is limited to few calls; what is throttled is not decided",
            "it is not told when a token was last used: the proof is LiteLLM's alone",
        ),
        sources=(
            Source("PyPI huggingface_hub", what="whoami-v2, and its 401 for an invalid token"),
            Source("other projects' notes", Known.SECONDARY, "POST /api/credentials/revoke: its path is a setting"),
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "Hugging Face",
        (dead(401, "Hugging Face"),),
        accepted=lambda document: isinstance(document.get("name"), str) and isinstance(document.get("auth"), dict),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("every place of the pool", "read the pool"),
        "create": ("takes a token out of the pool", "write the pool"),
        "check": ("GET /api/whoami-v2, with the token under test, and once with a garbage token", "none"),
        "last_used": ("nothing: Hugging Face does not tell", "none"),
        "revoke": ("POST /api/credentials/revoke with the token, and empties its place", "none; write the pool"),
    }

    class Settings(PoolSettings):
        """`revoke_path`: where a token is revoked by its text."""

        revoke_path: str = Field(default="/api/credentials/revoke", pattern=r"^/[A-Za-z0-9/_.-]*$")
        console: Address = "https://huggingface.co/settings/tokens"
        base_url: Address = "https://huggingface.co"

    @property
    def console(self) -> str:
        """See the settings."""
        address: str = self.settings.console
        return address

    def _admin(self) -> AdminApi:
        s = self.settings
        return AdminApi("Hugging Face", s.base_url, nobody, s.timeout, "see whether revoke_path is still open to anybody")

    def _probe(self, verdicts: Verdicts) -> Probe:
        return Probe(self.api, "GET", "/api/whoami-v2", with_bearer, verdicts)

    async def _end(self, key: KeyRef, material: KeyMaterial | None) -> None:
        """By its text. ByHandError where that is held nowhere."""
        if material is None:
            raise self.by_hand(key, None, "it is revoked by its text alone")
        await self.api.call("POST", self.settings.revoke_path, json={"credentials": in_a_list(material)}, may_be_empty=True)
