"""Leases of dynamic engines: the calls, and what stands in their answers. Facts: Vault's pages "Lease, renew, and revoke"
and "/sys/leases (API)", tried on OpenBao 2.7.2.

A lease is the child of the token that it was read with: it ends when that token ends, whatever was promised at its
renewal (seen: a lease renewed to 50 s was gone with its token, after 3). So a lease that is to outlive a login needs a
token of its own; and to revoke that token is to revoke whatever was read with it, also what nobody has heard of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from keyturn.errors import UnavailableError
from keyturn.json_object import UnreadableError, inside, plain_id
from keyturn.material import KeyMaterial
from keyturn.vault.answer import Answer
from keyturn.vault.client import VaultClient
from keyturn.vault.token import Token, seconds, token_in

LONGEST_ID = 120  # characters: what a note can hold
_GONE = "invalid lease"
_NOT_REVOKED = "failed to revoke entry"  # seen on OpenBao 2.7.2, where the status is a plain 400


@dataclass(frozen=True, slots=True)
class Lease:
    """What an engine gave. `ttl`: seconds."""

    id: str
    ttl: float
    renewable: bool
    data: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """A lease as it is listed. Times are Vault's own."""

    id: str
    issued_at: datetime
    ends_at: datetime | None


def lease_in(answer: Answer, path: str) -> Lease | None:
    """None where the answer has no lease: the engine keeps what it gave, and no end of it is known."""
    told = answer.body.get("lease_id")
    if answer.status == 200 and told in ("", None) and answer.data:
        return None
    found = plain_id(told, LONGEST_ID)
    if answer.status != 200 or not found.startswith(f"{path}/"):
        raise UnreadableError
    return Lease(found, seconds(answer.body.get("lease_duration")), answer.body.get("renewable") is True, answer.data)


async def make_token(vault: VaultClient, role: str | None, ttl: timedelta, label: str) -> Token:
    """A token that ends with no login. Its label is in its metadata, for people.

    Needs `update` on auth/token/create-orphan, or with a role on auth/token/create/<role>. UnreadableError.
    """
    body = {"ttl": _text(ttl), "renewable": True, "display_name": "keyturn", "meta": {"keyturn": label}}
    return token_in((await vault.request("POST", token_path(role), body)).body)


def token_path(role: str | None) -> str:
    return "auth/token/create-orphan" if role is None else f"auth/token/create/{role}"


async def renew_token(vault: VaultClient, token: KeyMaterial, life: timedelta) -> float:
    """The seconds that it lives from now on. Allowed by the policy `default`. UnreadableError."""
    answer = await vault.request("POST", "auth/token/renew-self", {"increment": _text(life)}, token=token)
    return token_in(answer.body).ttl


async def renew(vault: VaultClient, lease: str, life: timedelta, token: KeyMaterial) -> float:
    """The seconds that it lives from now on, if its token does. Allowed by the policy `default`. UnreadableError."""
    body = {"lease_id": lease, "increment": int(life.total_seconds())}
    answer = await vault.request("POST", "sys/leases/renew", body, token=token)
    if answer.body.get("lease_id") != lease:
        raise UnreadableError
    return seconds(answer.body.get("lease_duration"))


async def revoke_with_token(vault: VaultClient, token: KeyMaterial) -> None:
    """Revoke a token, and with it every lease that was read with it. Allowed by the policy `default`."""
    answer = await vault.request("POST", "auth/token/revoke-self", token=token)
    if answer.status != 204:
        raise vault.not_vault()


async def revoke(vault: VaultClient, lease: str) -> None:
    """Revoke it, and wait for the engine to have done so. Absent is success. Needs `update` on sys/leases/revoke.

    `sync` is said: OpenBao waits without it, Vault's page says that it does not. 202 would be a promise, and no revoke.
    """
    body = {"lease_id": lease, "sync": True}
    answer = await vault.request("POST", "sys/leases/revoke", body, passing=_NOT_REVOKED)
    if answer.status == 400:
        raise UnavailableError(
            f"the engine could not revoke the lease {lease}",
            remedy="look whether what it gives keys for can be reached, and at Vault's log; then run again",
        )
    if answer.status != 204:
        raise vault.not_vault()


async def names(vault: VaultClient, path: str) -> list[str]:
    """The ids of all leases at this path. Needs `list` and `sudo` on sys/leases/lookup/<path>/. UnreadableError."""
    answer = await vault.request("LIST", f"sys/leases/lookup/{path}/")
    if answer.status == 404:
        return []
    keys = inside(answer.body, "data", "keys")
    if not isinstance(keys, list):
        raise UnreadableError
    return [plain_id(f"{path}/{plain_id(each)}", LONGEST_ID) for each in keys]


async def look_up(vault: VaultClient, lease: str) -> Listed | None:
    """None: it is gone. Allowed by the policy `default`: `update` on sys/leases/lookup. UnreadableError."""
    answer = await vault.request("POST", "sys/leases/lookup", {"lease_id": lease}, passing=_GONE)
    if answer.status == 400:
        return None
    if answer.status != 200 or answer.data.get("id") != lease:
        raise UnreadableError
    ends = answer.data.get("expire_time")
    return Listed(lease, _time(answer.data.get("issue_time")), None if ends is None else _time(ends))


def _time(value: Any) -> datetime:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        if found is not None and found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise UnreadableError


def _text(life: timedelta) -> str:
    return f"{int(life.total_seconds())}s"
