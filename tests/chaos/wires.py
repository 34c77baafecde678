"""Faults on the wire: each part of the outside, and each thing that can happen to a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from keyturn.testing.wire_faults import Blackhole, Fault, Half, Hostile, Instead, Reset, Slow, Truncated, hostile, refused
from tests.chaos.disk import DISK
from tests.chaos.person import PERSON
from tests.chaos.scene import Case, Scene
from tests.chaos.troubles import Do, Point, Refuse, Side, Strike, Wire

# Every client here gives up after 5 s, the one of the supervisors after 10.
_LATE, _LATER, _SOON = 7.0, 12.0, 1.0
_DOWN_SECONDS = 3.0


def _kubernetes(code: int, reason: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "code": code}


_ON_ANY_PART: Mapping[str, Callable[[], Fault]] = MappingProxyType(
    {
        "reset": Reset,
        "half": Half,
        "truncated": Truncated,
        "blackhole": Blackhole,
        "slow": partial(Slow, _SOON),
        "a page for a 404": partial(Instead, 404, {"Content-Type": "text/html"}, b"<html>not found</html>"),
        **{f"hostile {kind}": partial(hostile, kind) for kind in Hostile},
        **{f"hostile {kind}, done": partial(hostile, kind, done=True) for kind in Hostile},
    }
)
_REFUSALS: Mapping[str, Mapping[str, Callable[[], Fault]]] = MappingProxyType(
    {
        "provider": {
            "429": partial(refused, 429, {"error": {"code": "rate_limit_exceeded"}}, Retry_After="1"),
            "500": partial(refused, 500, {"error": {"code": None}}),
            "admin key refused": partial(refused, 401, {"error": {"code": "invalid_api_key"}}),
        },
        "vault": {
            "429": partial(refused, 429, {"errors": ["too many"]}, Retry_After="1"),
            "500": partial(refused, 500, {"errors": ["internal error"]}),
            "token refused": partial(refused, 403, {"errors": ["permission denied"]}),
            "sealed": partial(refused, 503, {"errors": ["Vault is sealed"]}),
        },
        "aws": {
            "throttled": partial(refused, 400, {"__type": "ThrottlingException", "message": "Rate exceeded"}),
            "429": partial(refused, 429, {"__type": "TooManyRequestsException"}, Retry_After="1"),
            "500": partial(refused, 500, {"__type": "InternalServiceError"}),
            "credentials expired": partial(refused, 400, {"__type": "ExpiredTokenException", "message": "expired"}),
        },
        "kube": {
            "429": partial(refused, 429, _kubernetes(429, "TooManyRequests"), Retry_After="1"),
            "500": partial(refused, 500, _kubernetes(500, "InternalError")),
            "token refused": partial(refused, 401, _kubernetes(401, "Unauthorized")),
            "forbidden": partial(refused, 403, _kubernetes(403, "Forbidden")),
            "conflict": partial(refused, 409, _kubernetes(409, "Conflict")),
        },
        "supervisor": {
            "429": partial(refused, 429, {}, Retry_After="1"),
            "500": partial(refused, 500, {}),
            "busy": partial(refused, 409, {"error": "not now", "busy": True}),
        },
        "proxy": {
            "429": partial(refused, 429, {"error": {"message": "slow down", "code": "429"}}, Retry_After="1"),
            "500": partial(refused, 500, {"error": {"message": "failed", "code": "500"}}),
            "503": partial(refused, 503, {}),
        },
        "prefect": {
            "429": partial(refused, 429, {"detail": "slow down"}, Retry_After="1"),
            "500": partial(refused, 500, {"exception_message": "Internal Server Error"}),
            "503": partial(refused, 503, {}),
        },
    }
)
_DOWN, _EXPIRED = "down for a while", "token expired"


def faults_of(point: Point) -> list[str]:
    """What can happen to this call, by name. Nothing to a change of the disk, nor to a person: no wire leads there."""
    kind = point.kind
    if kind in (DISK, PERSON):
        return []
    refusals = [name for name in _REFUSALS[kind] if name != "admin key refused" or "/organization/" in point.name]
    return [*_ON_ANY_PART, "too late", *refusals, _DOWN, *([_EXPIRED] if kind == "vault" else [])]


def on_the_wire(point: Point, fault: str, times: int) -> Case:
    """This call, and so many more to the same part that follow it, meet the fault."""

    def strike(scene: Scene) -> Strike:
        if fault == _DOWN:
            return Refuse(point, Side.BEFORE, _DOWN_SECONDS)
        if fault == _EXPIRED:
            return Do(point, Side.BEFORE, scene.world.expire_vault_tokens)
        if fault == "too late":
            return Wire(point, partial(Slow, _LATER if point.kind == "supervisor" else _LATE), times)
        return Wire(point, {**_ON_ANY_PART, **_REFUSALS[point.kind]}[fault], times)

    async def play(scene: Scene) -> bool:
        trouble = strike(scene)
        await scene.run(scene.worker(trouble=trouble))
        await scene.finish()
        return trouble.reached

    return Case(f"{fault} x{times} at {point}", "wire", play, waits=True)
