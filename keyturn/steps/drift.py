"""drift: where store, provider and proxies disagree although nothing is under way."""

from __future__ import annotations

from collections.abc import Collection

from keyturn.assembly import Assembly
from keyturn.errors import KeyturnError
from keyturn.journal import is_unknown
from keyturn.lifecycle import Observed, is_under_way
from keyturn.model import Verdict


async def drift(c: Assembly, seen: Observed, rolling: Collection[str] = ()) -> tuple[str, ...]:
    """A sentence for each disagreement. The key in service is tried at the provider, which may count as a use of it.

    `rolling`: fleets whose members may be silent right now.
    """
    found = [*_a_persons_value(c, seen), *([] if is_under_way(seen) else _members(seen, rolling)), *_key_not_listed(seen)]
    if seen.current is not None and (refusal := await _refused(c)):
        found.append(refusal)
    return tuple(found)


def _a_persons_value(c: Assembly, seen: Observed) -> list[str]:
    """Somebody wrote over a value of ours. The key behind it is theirs, until the next rotation displaces it."""
    known = (seen.journal.current_fingerprint, *seen.journal.keys)
    if not seen.journal.current_fingerprint or seen.current is None or seen.current.fingerprint in known:
        return []
    return [f"somebody has changed the current value of {c.decider[0]}"]


def _members(seen: Observed, rolling: Collection[str]) -> list[str]:
    silent = [
        f"{fleet}/{member} cannot be asked what it serves"
        for fleet, members in seen.serving.items()
        for member, version in members.items()
        if version is None and fleet not in rolling
    ]
    return [*(f"{each} does not hold the current value" for each in seen.drifted), *silent]


def _key_not_listed(seen: Observed) -> list[str]:
    key = seen.journal.keys.get(seen.current.fingerprint, "") if seen.current else ""
    if seen.keys is None or not key or is_unknown(key) or key in [each.id for each in seen.keys]:
        return []
    return [f"the provider does not list {key}, which is in service"]


async def _refused(c: Assembly) -> str:
    secret, store = c.decider
    try:
        found = await c.provider.check((await store.current(secret)).material)
    except KeyturnError as error:
        return f"whether the key in service works could not be asked: {error.message}"
    if found.verdict is not Verdict.REJECTED:
        return ""
    return f"the provider refuses the key in service ({found.reason}): `keyturn rotate {c.name} --reason incident`"
