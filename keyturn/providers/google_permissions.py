"""What Google grants a caller on a resource, by testIamPermissions: asking needs no permission itself, and changes nothing.

Requests and answers are those of Google's discovery documents of cloudresourcemanager v3 (revision 20261107) and iam v1
(20261023): what comes back is the part of the permissions asked for that the caller has, inherited ones too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.json_object import UnreadableError
from keyturn.providers.admin_api import AdminApi
from keyturn.providers.facts import Facts
from keyturn.providers.fields import text
from keyturn.providers.permissions import Rights, rights_of


async def tested(api: AdminApi, resource: str, facts: Facts) -> Rights:
    """`resource`: its path below the API's address."""
    wanted = sorted({name for each in facts.permissions for name in each.needs})
    path = f"{resource}:testIamPermissions"
    answer = await api.call("POST", path, json={"permissions": wanted})
    return rights_of(facts, api.parsed(answer, f"POST {path}", _granted))


def _granted(document: Mapping[str, Any]) -> frozenset[str]:
    """Google leaves out what is empty."""
    if document.keys() - {"permissions"}:
        raise UnreadableError
    found = document.get("permissions", [])
    if not isinstance(found, list):
        raise UnreadableError
    return frozenset(text(name) for name in found)
