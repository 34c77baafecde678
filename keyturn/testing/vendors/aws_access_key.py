"""Access keys of an IAM user, and STS's GetCallerIdentity, which takes them."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import Response

from keyturn.material import KeyMaterial
from keyturn.testing.vendors.aws_user import TAG_ROUTES, USER, AWSUserSimulator
from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, Route, stamp

_ID, _SECRET = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"


class AccessKeySimulator(AWSUserSimulator):
    """See the module's text. The text of a key is a JSON object with both of its parts."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(By.SDK, "boto3 1.44.5", "tests/providers/test_aws_access_key.py")
    ROUTES: ClassVar[tuple[Route, ...]] = (
        *TAG_ROUTES,
        Route("list_keys", "admin", "POST", "/ListAccessKeys", body=("UserName", "Marker", "MaxItems"), reads=True),
        Route("create_key", "admin", "POST", "/CreateAccessKey", body=("UserName",)),
        Route("update_key", "admin", "POST", "/UpdateAccessKey", body=("UserName", "AccessKeyId", "Status")),
        Route("delete_key", "admin", "POST", "/DeleteAccessKey", body=("UserName", "AccessKeyId")),
        Route("last_used", "admin", "POST", "/GetAccessKeyLastUsed", body=("AccessKeyId",), reads=True),
    )

    def text(self, literal: str) -> str:
        id = "AKIA" + base64.b32encode(secrets.token_bytes(10)).decode()
        secret = f"{literal}{secrets.token_urlsafe(40)}"[:40]
        return json.dumps({_ID: id, _SECRET: secret}, separators=(",", ":"))

    def add_key(self, name: str, **more: Any) -> tuple[Key, KeyMaterial]:
        """The key's id is in its text."""
        text = more.pop("text", None) or self.text(self.behaviour.key_literal)
        parts = json.loads(text)
        self.materials[parts[_ID]] = KeyMaterial(parts[_SECRET])
        return super().add_key(name, text=text, id=parts[_ID], **more)

    def key_of(self, request: Request) -> str:
        """The whole text of the key whose secret the request is signed with."""
        secret = self.admin_of(request)
        if secret == self._admin.reveal():
            return secret
        for id, material in self.materials.items():
            if secret and material == KeyMaterial(secret):
                return json.dumps({_ID: id, _SECRET: secret}, separators=(",", ":"))
        return ""

    async def list_keys(self, call: Call) -> Response:
        shown = [self._shown(key) for key in self.live()]
        return self.answer("ListAccessKeys", {"AccessKeyMetadata": shown, "IsTruncated": False})

    async def create_key(self, call: Call) -> Response:
        self.demand_room()
        key, material = self.add_key("")
        secret = json.loads(material.reveal())[_SECRET]
        return self.answer("CreateAccessKey", {"AccessKey": {**self._shown(key), "SecretAccessKey": secret}})

    async def update_key(self, call: Call) -> Response:
        self.turn(self.by_id(call.body.get("AccessKeyId", "")), call.body.get("Status"))
        return self.answer("UpdateAccessKey")

    async def delete_key(self, call: Call) -> Response:
        self.delete(self.by_id(call.body.get("AccessKeyId", "")))
        return self.answer("DeleteAccessKey")

    async def last_used(self, call: Call) -> Response:
        used = self.last_use(self.by_id(call.body.get("AccessKeyId", "")))
        never = {"ServiceName": "N/A", "Region": "N/A"}
        told = never if used is None else {"LastUsedDate": stamp(used), "ServiceName": "bedrock", "Region": "us-east-1"}
        return self.answer("GetAccessKeyLastUsed", {"UserName": USER, "AccessKeyLastUsed": told})

    def _shown(self, key: Key) -> Mapping[str, Any]:
        status, made = self.status(key), stamp(key.created_at)
        return {"UserName": USER, "AccessKeyId": key.id, "Status": status, "CreateDate": made}
