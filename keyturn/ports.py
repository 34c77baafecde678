"""The four kinds of thing keyturn talks to, as Protocols.

Adapters offer verbs and leave the order to the flow. All verbs are coroutines; an adapter over a blocking SDK runs it in
a thread. Every verb raises only errors of keyturn.errors, in words of ours, and may be repeated: where that needs care
the docstring says what a repeat does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from keyturn.adapter_kinds import Kind
from keyturn.material import KeyMaterial
from keyturn.model import (
    Capabilities,
    CreatedKey,
    Finding,
    HeldKey,
    HeldToken,
    Judgement,
    KeyRef,
    LoginLife,
    Look,
    Member,
    PoolEntry,
    SecretRef,
    Stage,
    VersionRef,
)

APART = "key_"
"""Which key a value is: notes of such names outlive every race, since a key that nobody remembers is never revoked."""


class KeyProvider(Protocol):
    """The provider's key API."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def preflight(self) -> Sequence[Finding]:
        """Look whether keys can be created, listed and revoked, without creating anything."""
        ...

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """Make a key named `label`. Not idempotent: LostAnswerError when it may exist and its answer is lost."""
        ...

    async def list(self) -> Sequence[KeyRef]:
        """Every key the settings give access to, oldest first."""
        ...

    async def find(self, label: str) -> Sequence[KeyRef]:
        """Every key named exactly `label`."""
        ...

    async def last_used(self, key: KeyRef) -> datetime | None:
        """When the provider last saw the key used; None: never, as far as it tells."""
        ...

    async def revoke(self, key: KeyRef) -> None:
        """Delete the key. Absent is success."""
        ...

    async def check(self, material: KeyMaterial) -> Judgement:
        """Ask the provider itself, with the key under test, whether it is accepted."""
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class RevokesByText(Protocol, metaclass=Kind):
    """What a provider has beside KeyProvider that knows keys by their text alone, and tells no id of one.

    Its `revoke` refuses. Nor has it an admin key: it is logged in to with a key that lives on.
    """

    async def revoke_text(self, material: KeyMaterial, successor: KeyMaterial) -> None:
        """Delete the key of this text, logged in with `successor`. Quiet when the provider refuses the key already.

        UnavailableError while it does not say that it has deleted it.
        """
        ...


@runtime_checkable
class Disabling(Protocol, metaclass=Kind):
    """What a provider may offer beside: a key that is refused for now, and can be brought back. Both are quiet when done."""

    async def disable(self, key: KeyRef) -> None:
        """Have the key refused. NotFoundError where there is none."""
        ...

    async def enable(self, key: KeyRef) -> None:
        """Undo `disable`."""
        ...


@runtime_checkable
class TwoSlots(Protocol, metaclass=Kind):
    """What a provider offers instead of `create`, whose keys are two that always exist. It lists both, by fingerprint."""

    async def text(self, slot: KeyRef) -> KeyMaterial:
        """What the slot holds. ConflictError where that is another text than when the slot was listed."""
        ...

    async def renew(self, idle: KeyRef, held: Collection[str]) -> CreatedKey:
        """Make the key of a slot anew: its old text is refused from now on. `idle`: the slot, as it was seen when that was
        decided. `held`: fingerprints of all that may be in service.

        ConflictError, and nothing is done, where the slot holds another text by now, or one of `held`. An answer that is
        lost is settled by reading the slot; LostAnswerError only where that fails too.
        """
        ...


@runtime_checkable
class Pooled(Protocol, metaclass=Kind):
    """What a provider offers instead of `create`, whose keys are made ahead by people and kept in a pool.

    It lists the keys of the pool with their fingerprints. One that a rotation has taken is named by its label, and was
    `created` when it was taken; one that is free has no name.
    """

    async def entries(self) -> Sequence[PoolEntry]:
        """Every place of the pool."""
        ...

    async def put_in(self, material: KeyMaterial, expires_at: datetime | None = None) -> PoolEntry:
        """Put a key into an empty place. ConflictError where it is in the pool already, or no place is empty."""
        ...

    def may_take(self, entry: PoolEntry) -> bool:
        """Whether it is free, and its key lives long enough to be put into service."""
        ...

    async def take(self, label: str, held: Collection[str]) -> CreatedKey:
        """Take a free key for a rotation: nobody else is given it. The same label is given the same key again, to whoever
        asks; so an answer that was lost is asked for anew. `held`: fingerprints that are not to be taken.

        NotFoundError where no key may be taken.
        """
        ...

    async def text_of(self, key: KeyRef) -> KeyMaterial | None:
        """The text of a key of the pool, as it was listed; None where its place holds it no longer, or is another's."""
        ...

    async def put_back(self, key: KeyRef) -> None:
        """Free what was taken under `key.name`. Quiet where it is not taken under that any more. ConflictError once `end`
        was called for it.

        For a key that nobody can come to serve any more, which is for the caller to know: who asked for the same label has
        its text.
        """
        ...

    async def end(self, key: KeyRef, material: KeyMaterial | None) -> None:
        """Have the key refused for good. From then on `put_back` fails. `material`: its text, where the caller has it; the
        key may be a person's, with no id.

        ByHandError where only a person can. ConflictError, and nothing is done, where the key is free, or taken by another.
        """
        ...

    async def forget(self, key: KeyRef) -> None:
        """The key is refused for good: its text is dropped, and its place is empty. Quiet where that is so."""
        ...


@runtime_checkable
class InPlace(Protocol, metaclass=Kind):
    """What a provider may offer beside `create`: a key that stays, id, name and rights, and is given a new text."""

    @property
    def old_text_lives(self) -> timedelta | None:
        """How long a text is accepted once its key has another; zero: not at all. None: the settings do not ask for this."""
        ...

    async def turn(self, key: KeyRef, expires_in: timedelta | None = None) -> CreatedKey:
        """Give the key a new text. Its old one ends by itself, after `old_text_lives`, and by nothing else.

        Not idempotent: what a second turn does to the text before the last is known of no provider. LostAnswerError when
        it may have been done. ConflictError, and nothing is done, where this key cannot be turned.
        """
        ...


@runtime_checkable
class TellsLogin(Protocol, metaclass=Kind):
    """What a provider may offer beside: what its vendor says of the credential that keyturn is logged in with."""

    async def login_life(self) -> LoginLife | None:
        """By calls that cost nothing and change nothing. None: the vendor does not tell."""
        ...


class SecretStore(Protocol):
    """A secret manager with stages. For a field of a bundle every promise holds for that field alone."""

    async def preflight(self, secret: SecretRef) -> Sequence[Finding]:
        """Look whether the secret exists and may be read and written, without writing."""
        ...

    async def stages(self, secret: SecretRef) -> Mapping[Stage, VersionRef]:
        """The stages that are held. A stage that holds the same value as CURRENT is not listed."""
        ...

    async def current(self, secret: SecretRef) -> HeldKey:
        """CURRENT, with its value. NotFoundError where there is none."""
        ...

    async def create(self, secret: SecretRef, material: KeyMaterial) -> VersionRef:
        """Make the secret, or the field of its bundle, with this value as CURRENT where there is none yet.

        Quiet when CURRENT has this value already; ConflictError when it has another, or whoever else creates it wins.
        Other fields of a bundle are kept, whatever they become meanwhile. No rotation calls this: it is how a key that is
        in use comes into a store at first.
        """
        ...

    async def stage(self, secret: SecretRef, material: KeyMaterial, token: str) -> VersionRef:
        """Write the value as PENDING under a token (a UUID). Same token and value: the same version, quietly.

        ConflictError when the token was already used for another value. A PENDING of another token is replaced.
        """
        ...

    async def spend(self, secret: SecretRef, token: str) -> None:
        """See to it that nothing is staged under this token from now on: ConflictError for each later `stage`, of any value.

        A `stage` that is under way meanwhile has written its version before this returns, or fails. Quiet when the token was
        used before, also while a stage holds its version: that one is left as it is, and staging the same value under it
        again stays quiet. No stage, note or other field changes.

        A store may forget a token once many newer ones were used (each says when): spend it right before what hangs on it.
        """
        ...

    async def promote(self, secret: SecretRef, version: VersionRef, replacing: VersionRef) -> None:
        """Make PENDING or PREVIOUS the CURRENT one; what was CURRENT becomes PREVIOUS. Compare-and-swap.

        Quiet when `version` is CURRENT already. ConflictError when CURRENT is neither `version` nor `replacing`, or when
        `version` is held by no stage, or barred. Of PENDING its id counts too: the same value that was discarded and staged
        anew, under another token, is not what this caller saw. Other fields of a bundle are kept, whatever they become
        meanwhile.
        """
        ...

    async def bar(self, secret: SecretRef, version: VersionRef) -> None:
        """Keep a version from ever being promoted again: its key is about to be revoked. It can be read until discarded.

        When this has returned, no promote of this value succeeds any more, however long it was under way, and under whatever
        token it is staged. No stage, note or other field changes. Quiet when it is barred already; quiet, and without that
        promise, when no stage holds it. ConflictError for CURRENT.

        Several values may be barred; each stays so at least while a stage holds it. But where a person has made one CURRENT
        again by hand, the promote that displaces it frees it: then it is PREVIOUS, and the way back.
        """
        ...

    async def read(self, secret: SecretRef, version: VersionRef) -> KeyMaterial:
        """The value of a version that a stage holds. NotFoundError otherwise."""
        ...

    async def discard(self, secret: SecretRef, version: VersionRef) -> None:
        """Drop a version from PENDING or PREVIOUS. Absent is success; ConflictError for CURRENT."""
        ...

    async def annotate(self, secret: SecretRef, notes: Mapping[str, str | None]) -> None:
        """Set (text) or drop (None) notes beside the value. Keys [a-z_]{1,24}; values [A-Za-z0-9 _.:/=+@-]{0,120}.

        Where two write at the same time, notes of one may be lost; but no note whose name begins with APART is ever lost to
        a writing of others.
        """
        ...

    async def annotations(self, secret: SecretRef) -> Mapping[str, str]:
        """The notes of this secret (for a bundle: of this field)."""
        ...

    async def aclose(self) -> None: ...


class TellsChanges(Protocol):
    """What a store may offer beside SecretStore: to tell of a change, instead of being asked again and again."""

    async def changed(self, secret: SecretRef, since: VersionRef) -> None:
        """Return when CURRENT may be another value than `since`; at once where it is already.

        It may return for nothing, and it may miss a change: whoever waits reads `current` then, and now and then anyway.
        Cancelling it is how to stop waiting.
        """
        ...


@runtime_checkable
class OneLook(SecretStore, Protocol, metaclass=Kind):
    """What a store may offer beside: stages, values and notes in one call, for who decides by all of them.

    A verb that is given such a look takes it for the one that it begins with. It makes the same calls as without, in the
    same order, but that one; so its promises are the same, with the caller's own look as their beginning. Give it what was
    looked at in the same step, with nothing waited for since: who waits in between looks again.
    """

    async def look(self, secret: SecretRef) -> Look:
        """As `stages`, `read` and `annotations` would tell it, all of one moment."""
        ...

    async def stage(self, secret: SecretRef, material: KeyMaterial, token: str, seen: Look | None = None) -> VersionRef: ...

    async def swap(self, secret: SecretRef, version: VersionRef, seen: Look) -> Look | None:
        """`promote`, replacing what this look has as CURRENT. Gives the look as it is right after.

        None when something has moved since, and nothing was promoted, or that is not known: `promote` finds out.
        """
        ...

    async def annotate(self, secret: SecretRef, notes: Mapping[str, str | None], seen: Look | None = None) -> None: ...


@runtime_checkable
class Settling(Protocol, metaclass=Kind):
    """What a store may offer beside, whose readers do not all see a new value at once."""

    async def settled(self, secret: SecretRef) -> None:
        """Return when all that the settings name can read CURRENT. UnavailableError while they cannot."""
        ...


class ProxyFleet(Protocol):
    """LiteLLM proxies that are rolled together."""

    async def preflight(self, credential: str) -> Sequence[Finding]:
        """Look whether every member can be reached, asked and rolled."""
        ...

    async def members(self) -> Sequence[Member]: ...

    async def serving(self, member: Member, credential: str) -> VersionRef | None:
        """The version that the member has loaded; None when that is unknown, never a guess."""
        ...

    async def roll(self, member: Member, credential: str, version: VersionRef) -> None:
        """Move one member onto a version that is CURRENT in the store, and wait until it serves it.

        Quiet when it serves it already. RollFailedError when the member did not come back with it.
        """
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class Replacing(Protocol, metaclass=Kind):
    """What a fleet offers beside, whose platform replaces its members: it is rolled by workloads (Deployments, services).

    `members` are those that are there at the moment, ending ones included. `roll` is not called. `rollout`: names one roll,
    `Journal.rollout`; it is another one each time a value is promoted, also the same value again.
    """

    async def workloads(self) -> Sequence[str]:
        """Their names, in the order in which they are rolled. MisconfiguredError where there is none."""
        ...

    async def was_rolled(self, workload: str, credential: str, rollout: str) -> bool:
        """Whether whatever the workload starts from now on has loaded what this rollout was begun for.

        True from the moment that the platform was told; older members may be there still. It is read, never remembered.
        """
        ...

    async def replace(
        self, workload: str, credential: str, version: VersionRef, rollout: str, proved: Callable[[Member], Awaitable[None]]
    ) -> None:
        """Have every member replaced by one that has loaded `version`, and wait until none of another is left, ending ones
        included.

        Begun once: repeated, by whomever, it waits for what was begun. Nothing is begun before whatever members read holds
        this version. `proved` is awaited for each new member that is ready; what it raises ends the waiting.
        RollFailedError where the platform gives up, or does not get there in time, or a person has to change something.
        """
        ...


class Canary(Protocol):
    """A real call through LiteLLM that no cache, fallback or retry can fake."""

    async def preflight(self) -> Sequence[Finding]:
        """Look whether every member answers and knows the canary's model, and which version of LiteLLM it is."""
        ...

    async def candidate(self, material: KeyMaterial) -> Judgement:
        """Try a key that nobody serves yet."""
        ...

    async def member(self, member: Member) -> Judgement:
        """Try the key that the member has loaded."""
        ...

    async def aclose(self) -> None: ...


class Lease(Protocol):
    """Where tokens come from that end by themselves: made here, or given by an endpoint. Nothing is stored or rotated."""

    async def token(self) -> HeldToken:
        """A token, anew at each call; or the one before, where the vendor gives that out until shortly before its end.

        DeniedError, MisconfiguredError: somebody has to change something. UnavailableError and others: it may pass.
        """
        ...

    async def aclose(self) -> None: ...
