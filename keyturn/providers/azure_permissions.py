"""What Azure grants a caller on an account, by Microsoft.Authorization: all of its roles, as patterns of actions.

Each role allows its `actions` less its `notActions`, and a caller may do what any one of its roles allows. Sources:
Microsoft's pages on GetAzurePermissionsForResources (path and version) and on role definitions, and the types of
Microsoft.Authorization 2022-04-01 in Azure/bicep-types-az.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keyturn.json_object import UnreadableError
from keyturn.providers.facts import Facts
from keyturn.providers.fields import items, text
from keyturn.providers.permissions import Rights, rights_of

VERSION = "2022-04-01"
TOLD_BY = f"GET .../providers/Microsoft.Authorization/permissions?api-version={VERSION}"
LIST_KEYS = "Microsoft.CognitiveServices/accounts/listKeys/action"
REGENERATE = "Microsoft.CognitiveServices/accounts/regenerateKey/action"


def rights(facts: Facts, document: Mapping[str, Any]) -> Rights:
    """UnreadableError. A condition of a role is about what this answer does not have: then it is not told."""
    roles = items(document.get("value"))
    names = {name for permission in facts.permissions for name in permission.needs}
    granted = {name for name in names if any(_allows(role, name) for role in roles if not role.get("condition"))}
    partly = {name for name in names - granted if document.get("nextLink") or any(_allows(role, name) for role in roles)}
    all_of_it = any("*" in _patterns(role, "actions") for role in roles)
    return rights_of(facts, granted, partly, "it may do everything there (*), and less would do" if all_of_it else "")


def _allows(role: Mapping[str, Any], action: str) -> bool:
    return _any(_patterns(role, "actions"), action) and not _any(_patterns(role, "notActions"), action)


def _any(patterns: Sequence[str], action: str) -> bool:
    return any(_fits(each.lower(), action.lower()) for each in patterns)


def _fits(pattern: str, action: str) -> bool:
    """A star is for any text, slashes too. (By hand: as regular expressions, patterns of others could take for ever.)"""
    first, *others = pattern.split("*")
    if not others:
        return first == action
    if not action.startswith(first):
        return False
    at, last = len(first), others.pop()
    for part in others:
        found = action.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return action.endswith(last) and at + len(last) <= len(action)


def _patterns(role: Mapping[str, Any], field: str) -> Sequence[str]:
    found = role.get(field) or []
    if not isinstance(found, list):
        raise UnreadableError
    return [text(each) for each in found]
