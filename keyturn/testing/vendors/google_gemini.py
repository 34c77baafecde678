"""Google's API Keys API v2 below /v2, and Gemini's list of models. Control: see keyturn.testing.vendors.service.

What its discovery document does not say: a key's id stays taken while the key can be brought back (terraform-provider-google
#11726), and what a dead key is answered (google/timesketch #3703). Recalled: 404 for a key that is deleted already.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import Response

from keyturn.testing.vendors.google_errors import FAILED_PRECONDITION, google_error
from keyturn.testing.vendors.google_permissions import tested
from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator, stamp

PROJECT = "suite-project"
_NUMBER = "123456867718"  # Google names keys by their project's number
_KEYS = f"/v2/projects/{PROJECT}/locations/global/keys"
_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_TESTED = f"/v3/projects/{PROJECT}:testIamPermissions"
_MADE = ("displayName", "restrictions", "serviceAccountEmail", "annotations")
_ALT = ("alt",)  # the client library says `alt=json` each time
_PAGE = 50  # keys, when more are asked for: recalled
_USED_OF_LATE, _BROUGHT_BACK = 7 * 86400, 30 * 86400


@dataclass
class _Operation:
    polls: int
    done: Mapping[str, Any]


class GeminiSimulator(Simulator):
    """See the module's text. `polls`: how often an operation is asked for before it is done. `deleted_again`: the status for
    a key that is deleted already; 404 is recalled, and nothing hangs on it."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(
        By.SDK, "google-api-python-client 2.202.0, and Google's discovery document", "tests/providers/test_google_gemini.py"
    )
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("list_keys", "admin", "GET", _KEYS, query=(*_ALT, "pageSize", "pageToken", "showDeleted")),
        Route("create_key", "admin", "POST", _KEYS, query=(*_ALT, "keyId"), body=_MADE),
        Route("get_key", "admin", "GET", f"{_KEYS}/{{id}}", query=_ALT),
        Route("get_text", "admin", "GET", f"{_KEYS}/{{id}}/keyString", query=_ALT),
        Route("delete_key", "admin", "DELETE", f"{_KEYS}/{{id}}", query=(*_ALT, "checkExistingUsage", "etag")),
        Route("undelete_key", "admin", "POST", f"{_KEYS}/{{id}}:undelete", query=_ALT),
        Route("get_operation", "admin", "GET", "/v2/operations/{operation}", query=_ALT),
        Route("tell_permissions", "admin", "POST", _TESTED, query=_ALT, body=("permissions",), reads=True),
        Route("list_models", "key", "GET", "/v1beta/models", query=("pageSize", "pageToken")),
    )

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.polls, self.deleted_again = 1, 404
        self.fails: Mapping[str, Any] | None = None  # how the next operation ends instead
        self._operations: dict[str, _Operation] = {}
        self._texts: dict[str, str] = {}  # by the key's uid: Google tells them again

    def text(self, literal: str) -> str:
        return f"AIza{literal}{secrets.token_hex(18)}"[:39]

    def key_of(self, request: Request) -> str:
        return request.headers.get("x-goog-api-key", "")

    def error(self, status: int, message: str, code: str = "") -> Response:
        return google_error(status, message, code)

    def rejected(self, group: str) -> Response:
        if group == "key":
            return google_error(400, "API key not valid. Please pass a valid API key.", "API_KEY_INVALID")
        return google_error(401, "Request had invalid authentication credentials.")

    def new_id(self) -> str:
        return str(uuid.uuid4())

    def add_key(self, name: str, **given: Any) -> Any:
        key, material = super().add_key(name, **{"uid": str(uuid.uuid4()), **given})
        self._texts[key.more["uid"]] = material.reveal()
        return key, material

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        deleted = call.query.get("showDeleted") == "true"
        shown = [key for key in self.keys.values() if self._kept(key) and (deleted or not key.deleted)]
        begin, most = int(call.query.get("pageToken", "0")), min(int(call.query.get("pageSize", "50")), _PAGE)
        following = {"nextPageToken": str(begin + most)} if len(shown) > begin + most else {}
        here = [self._shown(key) for key in list(reversed(shown))[begin : begin + most]]
        return {**({"keys": here} if here else {}), **following}

    async def create_key(self, call: Call) -> Mapping[str, Any]:
        id, name = call.query.get("keyId", self.new_id()), call.body.get("displayName", "")
        if "keyId" in call.query and not _ID.fullmatch(id):
            raise RefusedError(400, "keyId is not of the form that it should have")
        if not isinstance(name, str) or len(name) > 63:
            raise RefusedError(400, "displayName is too long")
        if any(key.id == id and self._kept(key) for key in self.keys.values()):
            raise RefusedError(409, f"a key {id} exists already")
        if self.fails is not None:
            return self._operation({})
        key, _ = self.add_key(name, id=id, **{each: call.body[each] for each in _MADE[1:] if each in call.body})
        return self._operation(self._shown(key))

    async def get_key(self, call: Call) -> Mapping[str, Any]:
        return self._shown(self.by_id(call.path["id"]))

    async def get_text(self, call: Call) -> Mapping[str, Any]:
        return {"keyString": self._texts[self.by_id(call.path["id"]).more["uid"]]}

    async def delete_key(self, call: Call) -> Mapping[str, Any]:
        key = self.by_id(call.path["id"])
        if key.deleted and self.deleted_again >= 400:
            raise RefusedError(self.deleted_again, "the key is deleted", FAILED_PRECONDITION)
        if call.query.get("checkExistingUsage") == "CHECK" and any(use > self.clock() - _USED_OF_LATE for use in key.uses):
            raise RefusedError(400, "the key was used in the last 7 days", FAILED_PRECONDITION)
        if self.fails is None:
            self.delete(key)
            key.more["deleted_at"] = self.clock()
        return self._operation(self._shown(key))

    async def undelete_key(self, call: Call) -> Mapping[str, Any]:
        key = self.by_id(call.path["id"])
        if not key.deleted:
            raise RefusedError(400, "the key is not deleted", FAILED_PRECONDITION)
        key.deletions, key.refused_from = 0, float("inf")
        del key.more["deleted_at"]
        return self._operation(self._shown(key))

    async def get_operation(self, call: Call) -> Mapping[str, Any]:
        name = f"operations/{call.path['operation']}"
        if name not in self._operations:
            raise RefusedError(404, "no such operation")
        operation = self._operations[name]
        operation.polls -= 1
        return {"name": name, **(operation.done if operation.polls <= 0 else {})}

    async def tell_permissions(self, call: Call) -> Mapping[str, Any]:
        """The Resource Manager's."""
        return tested(call, self.lacks, "apikeys.keys")

    async def list_models(self, call: Call) -> Mapping[str, Any]:
        return {"models": [{"name": "models/gemini-3-flash", "version": "001", "displayName": "Gemini"}]}

    def by_id(self, id: str) -> Key:
        for key in self.keys.values():
            if key.id == id and self._kept(key):
                return key
        raise RefusedError(404, "not found")

    def _kept(self, key: Key) -> bool:
        return not key.deleted or self.clock() < key.more["deleted_at"] + _BROUGHT_BACK

    def _operation(self, response: Mapping[str, Any]) -> Mapping[str, Any]:
        """Google leaves out a `done` that is false."""
        name, typed = (
            f"operations/akmf.{uuid.uuid4()}",
            {"@type": "type.googleapis.com/google.api.apikeys.v2.Key", **response},
        )
        ends = {"error": self.fails} if self.fails is not None else {"response": typed}
        self._operations[name], self.fails = _Operation(self.polls, {"done": True, **ends}), None
        return {"name": name}

    def _shown(self, key: Key) -> Mapping[str, Any]:
        told = {each: key.more[each] for each in _MADE[1:] if each in key.more}
        deleted = {"deleteTime": stamp(key.more["deleted_at"])} if key.deleted else {}
        return {
            "name": f"projects/{_NUMBER}/locations/global/keys/{key.id}",
            "uid": key.more["uid"],
            "displayName": key.name,
            "createTime": stamp(key.created_at),
            "updateTime": stamp(key.created_at),
            "etag": 'W/"kJ5sQ0xZ1w=="',
            **told,
            **deleted,
        }
