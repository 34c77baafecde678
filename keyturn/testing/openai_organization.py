"""An organization at OpenAI, held in memory: its projects, service accounts and keys, and which key is accepted when.

It holds no key text: a key is known by `KeyMaterial.fingerprint()`, and its text leaves with the answer that made it.
Shapes are those of the `openai` SDK 3.54.0 (types/admin/organization/projects).
"""

from __future__ import annotations

import math
import secrets
import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from keyturn.material import KeyMaterial
from keyturn.testing.faults import Fault, due
from keyturn.testing.openai_keys import LONGEST_LITERAL, openai_key

_CALLS_KEPT = 200_000


class Behaviour(BaseModel):
    """How the simulated OpenAI acts. Times are seconds."""

    model_config = ConfigDict(extra="forbid")

    accept_delay: float = Field(default=0, ge=0)  # a new key is refused for so long
    refuse_delay: float = Field(default=0, ge=0)  # a deleted key is accepted for so long
    usage_lag: float = Field(default=0, ge=0)  # a use is reported in last_used_at after so long
    latency: float = Field(default=0, ge=0)  # before every inference answer
    admin_latency: float = Field(default=0, ge=0)  # before every admin answer
    account_keys_undeletable: bool = False  # DELETE of a service account's key answers 400, as it did before 2026-11
    max_key_lifetime: int | None = None  # an organization policy: a lifetime is required, and at most this
    models: list[str] = ["gpt-4o-mini"]
    # Inside every generated key, so that a search for leaks finds any; not for a command line.
    key_literal: str = Field(default="", max_length=LONGEST_LITERAL)
    stream_chunks: int = Field(default=5, ge=1)
    stream_gap: float = Field(default=0.05, ge=0)
    answer_seconds: dict[str, float] = {}  # of a model: how long each of its answers takes, a stream's between its parts


@dataclass(slots=True)
class Project:
    id: str
    name: str
    created_at: int
    archived_at: int | None = None

    def shown(self) -> dict[str, Any]:
        return {
            "object": "organization.project",
            "id": self.id,
            "name": self.name,
            "created_at": self.created_at,
            "archived_at": self.archived_at,
            "status": "archived" if self.archived_at else "active",
        }


@dataclass(slots=True)
class ServiceAccount:
    id: str
    project: str
    name: str
    role: str
    created_at: int

    def shown(self) -> dict[str, Any]:
        return {"object": "organization.project.service_account", **self.owner()}

    def owner(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "role": self.role, "created_at": self.created_at}


@dataclass(slots=True)
class Key:
    """A key without its text. `account` is "" for a key that belongs to a user."""

    id: str
    project: str
    account: str
    name: str
    fingerprint: str
    redacted: str
    created_at: float
    accepted_from: float
    expires_at: int | None = None
    refused_from: float = math.inf
    deletions: int = 0
    uses: list[float] = field(default_factory=list)
    completions: list[float] = field(default_factory=list)

    @property
    def deleted(self) -> bool:
        return self.deletions > 0

    def accepted(self, now: float) -> bool:
        return self.accepted_from <= now < min(self.refused_from, self.expires_at or math.inf)


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `outcome`: served, rejected (the key), failed (a fault or a bad request) or lost (no answer)."""

    at: float
    operation: str
    status: int
    outcome: str
    fingerprint: str
    key_id: str


class Organization:
    """The state behind the simulator. `clock` gives the time in seconds since the epoch; a test may turn it."""

    def __init__(
        self,
        admin_key: KeyMaterial,
        *,
        behaviour: Behaviour | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.admin_fingerprint = admin_key.fingerprint()
        self.other_admins: Callable[[str], bool] = lambda fingerprint: False  # by fingerprint; who keeps them knows
        self.initial = behaviour or Behaviour()
        self.behaviour = self.initial.model_copy(deep=True)
        self.clock = clock
        self.projects: dict[str, Project] = {}
        self.accounts: dict[str, ServiceAccount] = {}
        self.keys: dict[str, Key] = {}  # by fingerprint, oldest first, deleted ones too
        self.calls: deque[Call] = deque(maxlen=_CALLS_KEPT)
        self.faults: list[Fault] = []
        self._numbers = count(1)

    def is_admin(self, fingerprint: str) -> bool:
        """Whether a key of this fingerprint may call the Admin API."""
        return fingerprint == self.admin_fingerprint or self.other_admins(fingerprint)

    def add_project(self, id: str | None = None, name: str = "simulated", *, archived: bool = False) -> Project:
        now = int(self.clock())
        project = Project(id or self._id("proj_"), name, now, now if archived else None)
        self.projects[project.id] = project
        return project

    def add_account(self, project: str, name: str, *, role: str = "member", id: str | None = None) -> ServiceAccount:
        account = ServiceAccount(id or self._id("svc_acct_"), project, name, role, int(self.clock()))
        self.accounts[account.id] = account
        return account

    def add_key(
        self,
        project: str,
        name: str,
        *,
        account: str = "",
        expires_in: int | None = None,
        material: KeyMaterial | None = None,
        accept_delay: float | None = None,
    ) -> tuple[Key, KeyMaterial]:
        """A new key and its text. `material`: text given by the caller instead of a generated one."""
        now = self.clock()
        material = material or openai_key("svcacct" if account else "proj", self.behaviour.key_literal)
        text = material.reveal()
        key = Key(
            id=self._id("key_"),
            project=project,
            account=account,
            name=name,
            fingerprint=material.fingerprint(),
            redacted=f"{text[:8]}...{text[-4:]}",
            created_at=now,
            accepted_from=now + (self.behaviour.accept_delay if accept_delay is None else accept_delay),
            expires_at=None if expires_in is None else int(now) + expires_in,
        )
        self.keys[key.fingerprint] = key
        return key, material

    def delete_key(self, key: Key) -> None:
        key.deletions += 1
        key.refused_from = min(key.refused_from, self.clock() + self.behaviour.refuse_delay)

    def delete_account(self, account: ServiceAccount) -> None:
        """The account and all its keys."""
        del self.accounts[account.id]
        for key in self.keys.values():
            if key.account == account.id and not key.deleted:
                self.delete_key(key)

    def listed(self, project: str) -> Sequence[Key]:
        """The keys of a project that are not deleted, oldest first."""
        return [key for key in self.keys.values() if key.project == project and not key.deleted]

    def shown(self, key: Key) -> dict[str, Any]:
        """A key as the project's list shows it."""
        seen = bisect_right(key.uses, self.clock() - self.behaviour.usage_lag)
        account = self.accounts.get(key.account)
        if account is not None:
            owner = {"type": "service_account", "service_account": account.owner()}
        else:
            user = {"id": "user_1", "name": "A User", "email": "user@example.com", "role": "owner", "created_at": 0}
            owner = {"type": "user", "user": user}
        return {
            "object": "organization.project.api_key",
            "id": key.id,
            "name": key.name,
            "redacted_value": key.redacted,
            "created_at": int(key.created_at),
            "last_used_at": int(key.uses[seen - 1]) if seen else None,
            "expires_at": key.expires_at,
            "owner_project_access": self.access(key),
            "owner": owner,
        }

    def access(self, key: Key) -> str:
        account = self.accounts.get(key.account)
        return "inactive" if account is not None and account.role == "none" else "active"

    def used(self, key: Key, *, completion: bool) -> None:
        key.uses.append(self.clock())
        if completion:
            key.completions.append(self.clock())

    def completions(self, key: Key, start: int, end: int) -> int:
        """How many completions the key was used for in [start, end)."""
        return bisect_left(key.completions, end) - bisect_left(key.completions, start)

    def fault_for(self, operation: str, group: str, key_id: str, address: str = "") -> Fault | None:
        """As `due`."""
        return due(self.faults, operation, group, key_id, address)

    def reset(self) -> None:
        """Forget calls and faults and restore the first behaviour. Projects, accounts and keys stay."""
        self.calls.clear()
        self.faults.clear()
        self.behaviour = self.initial.model_copy(deep=True)

    def _id(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers):06d}{secrets.token_hex(6)}"  # numbered: ids sort by age, also within a second
