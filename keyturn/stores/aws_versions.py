"""Versions and labels of a secret at AWS: one look at all of it, and the writes that are safe to repeat.

A version is known by its token and never changes. Moving a label names the version that it is taken from, which is a
compare-and-swap (UpdateSecretVersionStage); PutSecretValue compares nothing, and moves AWSCURRENT unless it is given other
labels. Both after the API reference in botocore 1.44.5.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from keyturn.errors import MisconfiguredError, NotFoundError, PermanentError
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, SecretRef, Stage, VersionRef
from keyturn.stores.aws_bars import Bar, Bars, bars_text, listed, parse_bars, with_bar
from keyturn.stores.aws_client import SecretsManagerClient
from keyturn.stores.aws_journal import Journal
from keyturn.stores.aws_memory import Remembered
from keyturn.stores.json_bundle import NotABundleError, field_text

CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
DRAFT = "keyturn/draft"
BARRED = "keyturn/barred"  # of a whole secret; a field's journal says it
MAX_LABELS = 20  # over all versions of a secret (user guide, quotas)
SPENT = "keyturn: nothing is staged under this version's id\n"  # no key is equal to it: KeyMaterial takes no line's end
MAX_BYTES = 65_536
_MAX_FIELD_NAME = 100  # a tag's key has 127 characters
_TOKENS = uuid.UUID("0d6b2d0b-4a53-5f0e-9c63-5f4f0c1c3a57")
_NOT_THERE = ("InvalidParameterException",)  # how AWS says that a label is not on the version it is to be taken from


@dataclass(frozen=True, slots=True)
class World:
    """One moment of a secret: the labels as DescribeSecret gave them, and the versions they name."""

    labels: Mapping[str, str]  # label -> version id
    text: str = field(repr=False)  # of AWSCURRENT
    held: Mapping[Stage, HeldKey]
    arn: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    journal: Journal | None = None
    barred: Bars = field(default_factory=dict)

    @property
    def current(self) -> HeldKey:
        return self.held[Stage.CURRENT]

    @property
    def current_id(self) -> str:
        return self.labels[CURRENT]

    def find(self, version: VersionRef) -> HeldKey | None:
        return next((key for key in self.held.values() if key.version == version), None)

    def is_fenced(self, version: VersionRef) -> bool:
        """Whether it is barred, and nobody can promote it any more who looked before it was."""
        bar = self.barred.get(version.fingerprint)
        return bar is not None and self.current_id == fence_id(version.fingerprint, bar.at)


class SecretVersions:
    """What the verbs of the store are made of."""

    def __init__(self, client: SecretsManagerClient) -> None:
        self._client = client
        self._remembered = Remembered()

    async def describe(self, secret: SecretRef) -> dict[str, Any]:
        return await self._client.call("DescribeSecret", secret) or {}

    async def current(self, secret: SecretRef) -> HeldKey:
        """CURRENT, in one call."""
        return _key(secret, await self._client.call("GetSecretValue", secret, VersionStage=CURRENT) or {})

    async def look(self, secret: SecretRef, description: Mapping[str, Any] | None = None) -> World:
        """Everything, as it was at one moment: that of DescribeSecret. NotFoundError without an AWSCURRENT."""
        described = await self.describe(secret) if description is None else description
        labels, arn = labels_of(described), str(described.get("ARN", ""))
        if CURRENT not in labels:
            raise NotFoundError(f"{secret} holds no value yet", remedy="write the key that is in use there first")
        answer = await self._get(secret, arn, labels[CURRENT])
        current = _key(secret, answer)
        tags = {tag["Key"]: tag.get("Value", "") for tag in described.get("Tags", [])}
        world = World(labels, answer["SecretString"], {Stage.CURRENT: current}, arn, tags)
        if secret.field is None:
            barred = await self._bars(secret, arn, labels[BARRED]) if BARRED in labels else {}
            others = {Stage.PENDING: labels.get(PENDING), Stage.PREVIOUS: _previous_id(labels, barred)}
            keys = {stage: await self._other_key(secret, arn, name) for stage, name in others.items() if name is not None}
            held = {stage: key for stage, key in keys.items() if key is not None and key.version != current.version}
            return replace(world, held={Stage.CURRENT: current, **held}, barred=barred)
        if field_label(secret) not in labels:
            return world
        journal = await self._journal(secret, arn, labels[field_label(secret)])
        held = {Stage.CURRENT: current, **journal.held(current)}
        return replace(world, held=held, journal=journal, barred=journal.barred)

    async def current_text(self, secret: SecretRef, arn: str, version_id: str) -> str | None:
        """What AWSCURRENT says, whatever it is; None where it is no text."""
        text = (await self._get(secret, arn, version_id)).get("SecretString")
        return text if isinstance(text, str) else None

    async def holds(self, secret: SecretRef, world: World, version: VersionRef) -> bool:
        """Whether the version with this id, of a whole secret, has this value."""
        key = await self._other_key(secret, world.arn, version.id)
        return key is not None and key.version == version

    async def put(
        self, secret: SecretRef, text: str, version_id: str, label: str, unless: Collection[str] = ()
    ) -> list[str]:
        """Write a version; gives its labels, none where AWS refuses for a reason in `unless`. A repeat does nothing."""
        demand_fits(secret, text)
        arguments = {"SecretString": text, "ClientRequestToken": version_id, "VersionStages": [label]}
        answer = await self._client.call("PutSecretValue", secret, unless, **arguments)
        if answer is not None:
            self._remembered.keep(str(answer.get("ARN", "")), version_id, text, read=False)
        return list((answer or {}).get("VersionStages", []))

    async def draft(self, secret: SecretRef, text: str, *origin: str) -> str:
        """A version that nothing points to yet. Its id comes of what it is made of: who repeats this makes no second one."""
        version_id = derived_id(*origin)
        await self.put(secret, text, version_id, DRAFT)
        return version_id

    async def rewrite(
        self,
        secret: SecretRef,
        world: World,
        held: Mapping[Stage, HeldKey],
        issued: Mapping[str, str] = MappingProxyType({}),
    ) -> bool:
        """Compare-and-swap on a field's journal: from now on these are held. `issued`: a new token and its fingerprint."""
        journal = Journal.of(held, {**(world.journal.issued if world.journal else {}), **issued}, world.barred)
        kept = [part for stage, key in sorted(held.items()) for part in (stage, key.version.id, key.version.fingerprint)]
        return await self._replace_journal(secret, world, journal, "journal", *kept)

    async def spend(self, secret: SecretRef, world: World, token: str) -> bool:
        """Compare-and-swap on a field's journal: it stays as it is, and knows the token as one that is used."""
        journal = world.journal or Journal.of(world.held)
        base = journal.base.version
        return await self._replace_journal(
            secret, world, journal.having_spent(token), "spent", base.id, base.fingerprint, token
        )

    async def bar(self, secret: SecretRef, world: World, fingerprint: str) -> bool:
        """Compare-and-swap on what is barred: this value is so from now on."""
        held = {key.version.fingerprint for key in world.held.values()}
        bars = with_bar(world.barred, fingerprint, bar_now(secret, world), held, world.labels.values())
        return await self._write_bars(secret, world, bars)

    async def free(self, secret: SecretRef, world: World) -> bool:
        """Compare-and-swap on what is barred: CURRENT is not any more."""
        freed = world.current.version.fingerprint
        return await self._write_bars(secret, world, {name: bar for name, bar in world.barred.items() if name != freed})

    async def _write_bars(self, secret: SecretRef, world: World, bars: Bars) -> bool:
        rows = json.dumps(listed(bars))
        if secret.field is not None:
            journal = world.journal or Journal.of(world.held)
            base = journal.base.version
            return await self._replace_journal(
                secret, world, journal.having_barred(bars), "barred", base.id, base.fingerprint, rows
            )
        before = world.labels.get(BARRED)
        after = await self.draft(secret, bars_text(bars), "barred", before or "", rows)
        return await self.move(secret, BARRED, before, after)

    async def _replace_journal(self, secret: SecretRef, world: World, journal: Journal, *origin: str) -> bool:
        label = field_label(secret)
        before = world.labels.get(label)
        after = await self.draft(secret, journal.text(), origin[0], label, before or "", *origin[1:])
        return await self.move(secret, label, before, after)

    async def move_current(self, secret: SecretRef, world: World, target: str) -> bool:
        """Compare-and-swap on AWSCURRENT, to a version that never had it: False when it has moved meanwhile.

        Of a whole secret, AWSPENDING does not stay on what had its turn, where a promote died before it took it off.
        """
        here = world.current_id
        if secret.field is None and world.labels.get(PENDING) == here and not await self.move(secret, PENDING, here, None):
            return False
        return await self.move(secret, CURRENT, here, target)

    async def move(self, secret: SecretRef, label: str, source: str | None, target: str | None) -> bool:
        """Compare-and-swap on a label: False when it is not on `source`. `target` None takes it off."""
        ends = {"RemoveFromVersionId": source, "MoveToVersionId": target}
        given = {name: version_id for name, version_id in ends.items() if version_id is not None}
        answer = await self._client.call("UpdateSecretVersionStage", secret, _NOT_THERE, VersionStage=label, **given)
        return answer is not None

    async def reread(self, secret: SecretRef, arn: str, version_id: str) -> None:
        """See that AWS gives this version, unless it has given it to this process just before."""
        if not self._remembered.was_just_read(arn, version_id):
            await self._read(secret, arn, version_id)

    def forget(self) -> None:
        self._remembered.forget()

    async def _get(self, secret: SecretRef, arn: str, version_id: str, unless: Collection[str] = ()) -> Mapping[str, Any]:
        text = self._remembered.text(arn, version_id)
        if text is not None:
            return {"VersionId": version_id, "SecretString": text}
        return await self._read(secret, arn, version_id, unless)

    async def _read(self, secret: SecretRef, arn: str, version_id: str, unless: Collection[str] = ()) -> Mapping[str, Any]:
        answer = await self._client.call("GetSecretValue", secret, unless, VersionId=version_id) or {}
        if answer.get("ARN") == arn and answer.get("VersionId") == version_id:
            self._remembered.keep(arn, version_id, answer.get("SecretString", ""), read=True)
        return answer

    async def _other_key(self, secret: SecretRef, arn: str, version_id: str) -> HeldKey | None:
        """None for what is no key: somebody else's AWSPENDING may have no value, or be anything."""
        answer = await self._get(secret, arn, version_id, unless=("ResourceNotFoundException",))
        try:
            return _key(secret, answer)
        except (MisconfiguredError, NotFoundError):
            return None

    async def _journal(self, secret: SecretRef, arn: str, version_id: str) -> Journal:
        journal = Journal.parse((await self._get(secret, arn, version_id)).get("SecretString", ""))
        if journal is None:
            raise _not_ours(secret, field_label(secret))
        return journal

    async def _bars(self, secret: SecretRef, arn: str, version_id: str) -> Bars:
        bars = parse_bars((await self._get(secret, arn, version_id)).get("SecretString", ""))
        if bars is None:
            raise _not_ours(secret, BARRED)
        return bars


def demand_fits(secret: SecretRef, text: str) -> None:
    """PermanentError for what is more than AWS takes."""
    if (size := len(text.encode())) > MAX_BYTES:
        raise PermanentError(
            f"{secret}: {size} bytes are more than the {MAX_BYTES} that AWS takes", remedy="split the bundle"
        )


def derived_id(*parts: str) -> str:
    """A version id made of parts."""
    return str(uuid.uuid5(_TOKENS, "/".join(parts)))


def fence_id(fingerprint: str, at: str) -> str:
    """The copy that AWSCURRENT is moved to from `at`, by nobody who has not seen, or written, that bar."""
    return derived_id("bar", fingerprint, at)


def bar_now(secret: SecretRef, world: World) -> Bar:
    """What a bar says that is written now."""
    previous = world.held.get(Stage.PREVIOUS) if secret.field is None else None
    return Bar(world.current_id, previous.version.id if previous else "")


def _previous_id(labels: Mapping[str, str], barred: Bars) -> str | None:
    """Of a whole secret: where AWSPREVIOUS is, or where it belongs right after a fence."""
    found = labels.get(PREVIOUS)
    fences = [bar for name, bar in barred.items() if bar.at == found and labels[CURRENT] == fence_id(name, bar.at)]
    return (fences[0].previous or None) if fences else found


def labels_of(description: Mapping[str, Any]) -> dict[str, str]:
    """Which version each label is on, out of DescribeSecret's answer."""
    versions: Mapping[str, list[str]] = description.get("VersionIdsToStages", {})
    return {label: version_id for version_id, labels in versions.items() for label in labels}


def field_label(secret: SecretRef) -> str:
    """The label of a field's journal. MisconfiguredError for a name that is too long for AWS's labels and tags."""
    if secret.field is None or len(secret.field) > _MAX_FIELD_NAME:
        raise MisconfiguredError(
            f"{secret}: the field's name is longer than {_MAX_FIELD_NAME} characters", remedy="rename the field"
        )
    return f"keyturn/field/{secret.field}"


def _not_ours(secret: SecretRef, label: str) -> MisconfiguredError:
    return MisconfiguredError(
        f"{secret}: the version labelled {label} is not keyturn's", remedy="take the label off that version"
    )


def _key(secret: SecretRef, answer: Mapping[str, Any]) -> HeldKey:
    """The key in an answer of GetSecretValue."""
    text, fault, material = answer.get("SecretString"), "", None
    if not isinstance(text, str):
        raise MisconfiguredError(f"{secret} holds no text", remedy="write the key as SecretString")
    try:
        value = text if secret.field is None else field_text(text, secret.field)
        material = None if value is None else KeyMaterial(value)
    except (NotABundleError, ValueError) as error:
        fault = str(error)
    if fault:
        raise MisconfiguredError(f"{secret}: {fault}", remedy="write the key that is in use there, as it is")
    if material is None:
        raise NotFoundError(f"{secret}: the secret has no such field", remedy="write the key that is in use there first")
    return HeldKey(VersionRef(answer["VersionId"], material.fingerprint()), material)
