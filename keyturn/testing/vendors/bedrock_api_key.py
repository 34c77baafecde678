"""Bedrock API keys of an IAM user (service-specific credentials), and Bedrock's list of models, which takes them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from starlette.responses import JSONResponse, Response

from keyturn.testing.vendors.aws_user import TAG_ROUTES, USER, AWSUserSimulator
from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, stamp

_SERVICE = "bedrock.amazonaws.com"
_DAY = 86400


class BedrockSimulator(AWSUserSimulator):
    """See the module's text."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(By.SDK, "boto3 1.44.5", "tests/providers/test_bedrock_api_key.py")
    ROUTES: ClassVar[tuple[Route, ...]] = (
        *TAG_ROUTES,
        Route(
            "list_keys",
            "admin",
            "POST",
            "/ListServiceSpecificCredentials",
            body=("UserName", "ServiceName", "Marker"),
            reads=True,
        ),
        Route(
            "create_key",
            "admin",
            "POST",
            "/CreateServiceSpecificCredential",
            body=("UserName", "ServiceName", "CredentialAgeDays"),
        ),
        Route(
            "update_key",
            "admin",
            "POST",
            "/UpdateServiceSpecificCredential",
            body=("UserName", "ServiceSpecificCredentialId", "Status"),
        ),
        Route(
            "delete_key",
            "admin",
            "POST",
            "/DeleteServiceSpecificCredential",
            body=("UserName", "ServiceSpecificCredentialId"),
        ),
        Route(
            "reset_key",
            "admin",
            "POST",
            "/ResetServiceSpecificCredential",
            body=("UserName", "ServiceSpecificCredentialId"),
        ),
        Route("list_models", "key", "GET", "/foundation-models"),
    )

    def text(self, literal: str) -> str:
        return f"ABSK{base64.b64encode(secrets.token_bytes(60)).decode()}{literal}"

    def new_id(self) -> str:
        return "ACCA" + base64.b32encode(secrets.token_bytes(10)).decode()

    def error(self, status: int, message: str, code: str = "") -> Response:
        return super().error(status, message, code) if self.speaks_xml() else JSONResponse({"Message": message}, status)

    def rejected(self, group: str) -> Response:
        if group == "admin":
            return super().rejected(group)
        return self.error(403, "Authentication failed: Please make sure your API Key is valid.")

    async def list_keys(self, call: Call) -> Response:
        shown = [self._shown(key) for key in self.live()] if call.body.get("ServiceName") in (None, _SERVICE) else []
        return self.answer("ListServiceSpecificCredentials", {"ServiceSpecificCredentials": shown, "IsTruncated": False})

    async def create_key(self, call: Call) -> Response:
        if call.body.get("ServiceName") != _SERVICE:
            raise RefusedError(
                404, "The specified service does not support service-specific credentials.", "NotSupportedService"
            )
        self.demand_room()
        days = call.body.get("CredentialAgeDays")
        if days is not None and not 1 <= int(days) <= 36600:
            raise RefusedError(400, "CredentialAgeDays", "ValidationError")
        key, material = self.add_key("", expires_at=None if days is None else self.clock() + int(days) * _DAY)
        made = {**self._shown(key), "ServiceCredentialSecret": material.reveal()}
        return self.answer("CreateServiceSpecificCredential", {"ServiceSpecificCredential": made})

    async def update_key(self, call: Call) -> Response:
        self.turn(self.by_id(call.body.get("ServiceSpecificCredentialId", "")), call.body.get("Status"))
        return self.answer("UpdateServiceSpecificCredential")

    async def delete_key(self, call: Call) -> Response:
        self.delete(self.by_id(call.body.get("ServiceSpecificCredentialId", "")))
        return self.answer("DeleteServiceSpecificCredential")

    async def reset_key(self, call: Call) -> Response:
        turned, material = self.turn_key(self.by_id(call.body.get("ServiceSpecificCredentialId", "")), 0)
        made = {**self._shown(turned), "ServiceCredentialSecret": material.reveal()}
        return self.answer("ResetServiceSpecificCredential", {"ServiceSpecificCredential": made})

    async def list_models(self, call: Call) -> Mapping[str, Any]:
        arn = "arn:aws:bedrock:us-east-1::foundation-model/a.model"
        return {"modelSummaries": [{"modelArn": arn, "modelId": "a.model", "modelName": "A", "providerName": "B"}]}

    def _shown(self, key: Key) -> Mapping[str, Any]:
        expired = key.expires_at is not None and key.expires_at <= self.clock()
        return {
            "UserName": USER,
            "Status": "Expired" if expired else self.status(key),
            "ServiceCredentialAlias": f"{USER}-at-123456789012",
            "CreateDate": stamp(key.created_at),
            "ExpirationDate": stamp(key.expires_at),
            "ServiceSpecificCredentialId": key.id,
            "ServiceName": _SERVICE,
        }
