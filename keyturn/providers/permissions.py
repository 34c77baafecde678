"""What a management credential may do with keys, as findings of a preflight: in the same words for every vendor.

What is denied stops a rotation before anything is made. What could not be told stops nothing: the finding says which
permission to look for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from keyturn.errors import DeniedError, KeyturnError, ThrottledError
from keyturn.model import Finding
from keyturn.providers.facts import Facts, May, Permission


@dataclass(frozen=True, slots=True)
class Rights:
    """What a vendor has told. `has`: by the names in `Permission.needs`; None, or no entry, says that it could not be told.
    `note`: what a person should know of it besides."""

    has: Mapping[str, bool | None] = field(default_factory=dict)
    note: str = ""


def rights_of(facts: Facts, granted: Collection[str], undecided: Collection[str] = (), note: str = "") -> Rights:
    """Of a vendor that names what it grants: what it does not name, it denies, but for what is `undecided`."""
    names = {name for permission in facts.permissions for name in permission.needs}
    return Rights({name: None if name in undecided else name in granted for name in names}, note)


def may(verbs: Sequence[May], vendor: str) -> str:
    """What is looked at."""
    return f"may {' and '.join(filter(None, [', '.join(verbs[:-1]), verbs[-1]]))} keys at {vendor}"


async def list_finding(facts: Facts, look: Callable[[], Awaitable[object]]) -> tuple[Finding, KeyturnError | None]:
    """Whether keys may be listed, by listing them, and what it failed with."""
    what = may([May.LIST], facts.vendor)
    if not facts.lists:
        return Finding(what, None, "it has no list of keys: whether the login is accepted shows only on a create"), None
    try:
        await look()
    except KeyturnError as error:
        permission, remedy = facts.permission(May.LIST), error.remedy
        if isinstance(error, DeniedError) and permission is not None:
            remedy = _joined(remedy, f"to list keys takes {_named(permission.needs)}")
        return Finding(what, None if isinstance(error, ThrottledError) else False, error.message, remedy), error
    return Finding(what, True), None


async def findings(
    facts: Facts, ask: Callable[[], Awaitable[Rights]] | None = None, remedy: str = "", listed: bool = False
) -> Sequence[Finding]:
    """Of all but listing. `ask`: called once at most, where there is a call for it. `remedy`: where the credential is.

    `listed`: keys were listed just now. A vendor that denies that is not believed in the rest: what it was asked is then not
    what it goes by.
    """
    rights, why, how = Rights(), "", ""
    asked = [permission for permission in facts.permissions if permission.may is not May.LIST]
    if ask is not None and any(permission.told_by for permission in asked):
        try:
            rights = await ask()
        except KeyturnError as error:
            why, how = error.message, error.remedy
        if listed and _denies_listing(facts, rights):
            rights, why = Rights(), "it denies that keys may be listed, and they were"
    judged = [(each.may, _judged(each, facts.vendor, rights, remedy, why, how)) for each in asked]
    return [
        Finding(may([verb for verb, _ in alike], facts.vendor), *told)
        for told, alike in groupby(judged, lambda each: each[1])
    ]


def _denies_listing(facts: Facts, rights: Rights) -> bool:
    permission = facts.permission(May.LIST)
    return permission is not None and rights.has.get(permission.needs[0]) is False


def _judged(
    permission: Permission, vendor: str, rights: Rights, remedy: str, why: str, how: str
) -> tuple[bool | None, str, str]:
    """Whether it is so, the detail, and the remedy. `why`: it could not be asked; `how`: what to do about that."""
    unknown = f"see that the management credential has {_named(permission.needs)}"
    if not permission.told_by:
        return None, f"{vendor} has no call that would tell and change nothing", unknown
    told = {name: rights.has.get(name) for name in permission.needs}
    missing = [name for name, has in told.items() if has is False]
    if missing and not permission.only_yes:
        return False, _joined(f"not granted: {_named(missing)}", rights.note), _joined(f"grant {_named(missing)}", remedy)
    if all(told.values()):
        return True, rights.note, ""
    return None, why or rights.note or f"{vendor} does not say", _joined(unknown, how)


def _named(names: Sequence[str]) -> str:
    return ", ".join(names)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
