"""MongoDB Atlas's AI model keys of one project, and its token endpoint. Control: see keyturn.testing.vendors.service."""

from __future__ import annotations

import binascii
import secrets
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route
from keyturn.testing.vendors.tokens import TokenSimulator

GROUP = "69681d39c9e8cfd375386316"
CLIENT = "mdb_sa_id_69681d39c9e8cfd375386317"
VERSION = "2025-03-12"
_KEYS = f"/api/atlas/v2/groups/{GROUP}/aiModelApiKeys"
_TELL = ("envelope", "pretty")
_LARGEST_PAGE = 500


class VoyageAtlasSimulator(TokenSimulator):
    """See the module's text."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(
        By.PAGE, "Atlas Admin API v2, 2025-03-12, AI Model API Keys", "tests/providers/test_voyage_atlas.py"
    )
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("issue_token", "key", "POST", "/api/oauth/token", body=("grant_type",)),
        Route("list_keys", "admin", "GET", _KEYS, query=("itemsPerPage", "pageNum", *_TELL)),
        Route("create_key", "admin", "POST", _KEYS, query=_TELL, body=("name", "cloud", "geography")),
        Route("delete_key", "admin", "DELETE", f"{_KEYS}/{{id}}", query=_TELL),
    )

    def text(self, literal: str) -> str:
        return f"al-{literal}{secrets.token_urlsafe(32)}"

    def key_of(self, request: Request) -> str:
        """The password of HTTP Basic, of the one service account."""
        scheme, _, told = request.headers.get("authorization", "").partition(" ")
        try:
            user, _, password = b64decode(told if scheme == "Basic" else "").decode().partition(":")
        except (binascii.Error, ValueError):
            return ""
        return password if user == CLIENT else ""

    def error(self, status: int, message: str, code: str = "") -> Response:
        told = {"error": status, "errorCode": code or "UNEXPECTED_ERROR", "detail": message, "reason": "", "parameters": []}
        return JSONResponse(told, status)

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        self._demand_version(call.request)
        size, page = int(call.query.get("itemsPerPage", 100)), int(call.query.get("pageNum", 1))
        if not (1 <= size <= _LARGEST_PAGE and page >= 1):
            raise RefusedError(400, "no such page", "VALIDATION_ERROR")
        shown = self.live()[(page - 1) * size : page * size]
        return {"links": [], "results": [self._shown(key) for key in shown], "totalCount": len(self.live())}

    async def create_key(self, call: Call) -> Response:
        self._demand_version(call.request)
        name = call.body.get("name")
        if not isinstance(name, str) or not 1 <= len(name) <= 250:
            raise RefusedError(400, "name has 1 to 250 characters", "VALIDATION_ERROR")
        if (call.body.get("cloud"), call.body.get("geography")) != ("ANY", "ANY"):
            raise RefusedError(400, "cloud and geography are ANY", "VALIDATION_ERROR")
        key, material = self.add_key(name)
        return JSONResponse({**self._shown(key), "secret": material.reveal()}, 201)

    async def delete_key(self, call: Call) -> Response:
        self._demand_version(call.request)
        self.delete(self.by_id(call.path["id"]))
        return Response(status_code=204)

    def _demand_version(self, request: Request) -> None:
        """Atlas has no answer for a media type without a version."""
        if request.headers.get("accept") != f"application/vnd.atlas.{VERSION}+json":
            raise RefusedError(406, "no such version", "INVALID_VERSION_DATE")

    def _shown(self, key: Key) -> Mapping[str, Any]:
        used = self.last_use(key)
        return {
            "apiKeyId": key.id,
            "cloud": "ANY",
            "createdAt": _stamp(key.created_at),
            "createdBy": CLIENT,
            "endpoint": "ai.mongodb.com",
            "geography": "ANY",
            "groupId": GROUP,
            "lastUsedAt": None if used is None else _stamp(used),
            "maskedSecret": f"al-****{key.hint[-4:]}",
            "name": key.name,
            "secret": None,
            "status": "ACTIVE",
        }


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")
