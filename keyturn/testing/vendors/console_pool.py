"""A vendor that has a console for keys, and a list of models that a key is tried with. Control: see service."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from starlette.responses import JSONResponse, Response

from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Route, Simulator


class ConsoleSimulator(Simulator):
    """See the module's text. Its list of models has the form of OpenAI's, which the vendors say that they follow."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(
        By.SDK, "PyPI openai, as a client of models alone", "tests/providers/test_console_pool.py"
    )
    ROUTES: ClassVar[tuple[Route, ...]] = (Route("models", "key", "GET", "/openai/v1/models"),)

    def text(self, literal: str) -> str:
        return f"key-{literal}{secrets.token_hex(20)}"

    def error(self, status: int, message: str, code: str = "") -> Response:
        return JSONResponse({"error": {"message": message, "type": "invalid_request_error", "code": code or None}}, status)

    async def models(self, call: Call) -> Mapping[str, Any]:
        model = {"id": "a-model", "object": "model", "created": 1, "owned_by": "the vendor"}
        return {"object": "list", "data": [model]}
