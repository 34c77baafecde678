"""Errors as Google's APIs answer them: google.rpc.Status, and ErrorInfo for a reason."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
FAILED_PRECONDITION = "FAILED_PRECONDITION"  # comes with 400, too


def google_error(status: int, message: str, code: str = "") -> Response:
    """`code`: FAILED_PRECONDITION, or the reason of an ErrorInfo."""
    told = code if code == FAILED_PRECONDITION else _STATUS.get(status, "UNKNOWN")
    error: dict[str, Any] = {"code": status, "message": message, "status": told}
    if code and code != FAILED_PRECONDITION:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": kind, "reason": code, "domain": "googleapis.com"}]
    return JSONResponse({"error": error}, status)
