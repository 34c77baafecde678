"""What a proxy is answered that calls with a key."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response


def served(fingerprint: str | None) -> Response:
    """By this key; None: there is none such, or no more."""
    if fingerprint is None:
        return JSONResponse({"error": {"message": "no such key", "code": "invalid_api_key"}}, 401)
    message = {"index": 0, "message": {"role": "assistant", "content": f"served-by {fingerprint}"}}
    return JSONResponse({"id": "chat", "object": "chat.completion", "choices": [message]})
