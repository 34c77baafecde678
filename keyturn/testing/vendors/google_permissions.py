"""testIamPermissions, as Google's APIs answer it for a resource: the part of the permissions asked for that is granted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from keyturn.testing.vendors.service import Call, RefusedError

_VERBS = {"create": "create", "list": "list", "delete": "delete", "disable": "disable", "enable": "disable"}


def tested(call: Call, lacks: Callable[[str], bool], of: str) -> Mapping[str, Any]:
    """`lacks`: of a verb of ours. `of`: what stands before the last dot of every permission that is known here."""
    asked = call.body.get("permissions")
    if not isinstance(asked, list) or any(not isinstance(each, str) or "*" in each for each in asked):
        raise RefusedError(400, "permissions: a list, without wildcards")
    for each in asked:
        if each.rpartition(".")[0] != of:
            raise RefusedError(400, f"Permission {each} is not valid for this resource.")
    granted = [each for each in asked if not lacks(_VERBS.get(each.rpartition(".")[2], ""))]
    return {"permissions": granted} if granted else {}
