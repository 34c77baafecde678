"""AWS Secrets Manager: a whole secret (the SecretString is the key), or one field of a JSON object.

    whole secret   PENDING and PREVIOUS are AWSPENDING and AWSPREVIOUS; the staged version's id is the rotation's token;
                   what is barred says a version of ours under keyturn/barred
    field          PENDING and PREVIOUS are in the field's journal (aws_journal.py), under the label keyturn/field/<NAME>;
                   AWSCURRENT moves to a copy of the bundle with one value changed, written under keyturn/draft

keyturn/draft only keeps a fresh version from becoming AWSCURRENT. Any worker may take it away at any time, and it stays
on the last version that had it.

A token is used once. For a whole secret AWS itself sees to it, for as long as it keeps the token's version: 24 hours, and
then while that has a label or is among the last hundred. One that is spent gets a version that is no key. For a field the
journal sees to it, which remembers the last fifty.

A crash may fall between any two calls. Every verb looks first, and one of its calls is the one that counts: what comes
before it changes nothing that `stages` shows, and whoever repeats the verb finishes it.

**AWSCURRENT never goes back to a version that had it before,** so a promote that waited too long fails for good: it names
the version that AWSCURRENT was on when it looked. PREVIOUS is therefore promoted as a copy. A bar and a discard move
AWSCURRENT to a copy of itself (see aws_fence): who watches version ids sees a new one with the old value. (A person's hand
may bring an old version back, and with it the chance of a promote that has waited since.)

Permissions at AWS: `ACTIONS` on the secret; kms:Decrypt and kms:GenerateDataKey on its key, where it has one of its own
(deployments/aws-policy.json; what a proxy needs is in aws-policy-proxy.json).

Tried on the double (keyturn.testing.aws_double), not on AWS. What its documents do not forbid and we rely on: AWSCURRENT
may move to a version without labels, AWSPREVIOUS may be moved and removed, and a label may have slashes in it.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from keyturn.errors import ConflictError, MisconfiguredError, NotFoundError, PermanentError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import Finding, HeldKey, Look, SecretRef, Stage, VersionRef, meant
from keyturn.references import Resolver
from keyturn.stores import aws_replicas, aws_tags
from keyturn.stores.aws_client import SecretsManagerClient
from keyturn.stores.aws_creating import Creation
from keyturn.stores.aws_fence import Fence
from keyturn.stores.aws_preflight import is_our_lambda, of_description, of_size, tag_prefix, tags_of
from keyturn.stores.aws_settings import AWSSettings
from keyturn.stores.aws_versions import (
    DRAFT,
    PENDING,
    PREVIOUS,
    SPENT,
    SecretVersions,
    World,
)
from keyturn.stores.json_bundle import is_bundle, with_field

ACTIONS = (
    "secretsmanager:DescribeSecret",  # every verb but current
    "secretsmanager:GetSecretValue",  # every verb but annotate and annotations
    "secretsmanager:PutSecretValue",  # stage, spend, promote, bar, discard
    "secretsmanager:UpdateSecretVersionStage",  # stage and spend of a field, promote, bar, discard
    "secretsmanager:TagResource",  # annotate
    "secretsmanager:UntagResource",  # annotate
)
CREATE_ACTIONS = (  # beside those: of `create` alone, so of whoever puts a key there first, and not of the rotator
    "secretsmanager:CreateSecret",
    "secretsmanager:TagResource",  # with `tags`
    "secretsmanager:ReplicateSecretToRegions",  # with `replicas`
)
_TURNS = 20
_DESCRIBE, _GET, _PUT, _MOVE, _TAG, _UNTAG = ACTIONS


class AWSSecretsManager:
    """A SecretStore over AWS Secrets Manager."""

    Settings: ClassVar[type[AWSSettings]] = AWSSettings
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "stages": ("DescribeSecret, GetSecretValue", f"{_DESCRIBE}, {_GET}"),
        "create": (
            "CreateSecret; of what is there PutSecretValue, and for a field then UpdateSecretVersionStage",
            f"{CREATE_ACTIONS[0]}; of what is there {_PUT}, and for a field {_MOVE}",
        ),
        "stage": ("PutSecretValue; for a field then UpdateSecretVersionStage", f"{_PUT}; for a field also {_MOVE}"),
        "spend": ("PutSecretValue; for a field then UpdateSecretVersionStage", f"{_PUT}; for a field also {_MOVE}"),
        "promote": (
            "UpdateSecretVersionStage; for a field, and of PREVIOUS, PutSecretValue before",
            f"{_MOVE}; for a field, and of PREVIOUS, also {_PUT}",
        ),
        "bar": ("PutSecretValue, UpdateSecretVersionStage", f"{_PUT}, {_MOVE}"),
        "discard": ("UpdateSecretVersionStage, PutSecretValue", f"{_MOVE}, {_PUT}"),
        "annotate": ("TagResource, UntagResource", f"{_TAG}, {_UNTAG}"),
        "annotations": ("DescribeSecret", _DESCRIBE),
    }

    def __init__(self, settings: AWSSettings, resolve: Resolver) -> None:
        self._settings = settings
        self._client = SecretsManagerClient(settings, resolve)
        self._versions = SecretVersions(self._client)
        self._fence = Fence(self._versions)
        self._creation = Creation(self._client, self._versions, settings)
        # Not the guard, which is AWS's compare: it saves versions, of which AWS allows about 100 in 24 hours, where one
        # process turns many fields of a bundle at once.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def stages(self, secret: SecretRef) -> Mapping[Stage, VersionRef]:
        return {stage: key.version for stage, key in (await self._versions.look(secret)).held.items()}

    async def look(self, secret: SecretRef) -> Look:
        world = await self._versions.look(secret)
        return Look(world.held, aws_tags.notes_of(tags_of(secret, world.tags)), world)

    async def current(self, secret: SecretRef) -> HeldKey:
        return await self._versions.current(secret)

    async def read(self, secret: SecretRef, version: VersionRef) -> KeyMaterial:
        key = (await self._versions.look(secret)).find(version)
        if key is None:
            raise NotFoundError(f"{secret}: no stage holds this version", remedy="look at its stages again")
        return key.material

    async def create(self, secret: SecretRef, material: KeyMaterial) -> VersionRef:
        """See aws_creating. `kms_key_id`, `tags` and `replicas` are given to what is made, not to what is there."""
        async with self._turns[secret.path]:
            for turn in range(_TURNS):
                await _pause(turn)
                if (made := await self._creation.attempt(secret, material)) is not None:
                    return made
        raise _crowded(secret)

    async def stage(self, secret: SecretRef, material: KeyMaterial, token: str, seen: Look | None = None) -> VersionRef:
        key = HeldKey(VersionRef(token, material.fingerprint()), material)
        async with self._turns[secret.path]:
            for turn in range(_TURNS):
                # The look also keeps us off a secret without a value: AWS makes the first version AWSCURRENT, whatever
                # labels it is given.
                world = await self._look(secret, turn, seen)
                stage = self._stage_whole if secret.field is None else self._stage_field
                if await stage(secret, world, key):
                    return key.version
        raise _crowded(secret)

    async def _stage_whole(self, secret: SecretRef, world: World, key: HeldKey) -> bool:
        token = key.version.id
        labels = await self._versions.put(secret, key.material.reveal(), token, PENDING, unless=("ResourceExistsException",))
        if PENDING in labels:
            return True
        # A version is written and labelled in one call: one that exists and has no label had its turn.
        if world.find(key.version) is None or not await self._versions.holds(secret, world, key.version):
            raise _spent(secret)
        return True

    async def _stage_field(self, secret: SecretRef, world: World, key: HeldKey) -> bool:
        issued = world.journal.issued if world.journal else {}
        if key.version.id in issued:
            if issued[key.version.id] != key.version.fingerprint or world.find(key.version) is None:
                raise _spent(secret)
            return True
        held = {**world.held, Stage.PENDING: key}
        return await self._versions.rewrite(secret, world, held, {key.version.id: key.version.fingerprint})

    async def spend(self, secret: SecretRef, token: str) -> None:
        """Takes a version, of which AWS allows about 100 in 24 hours; repeated, none."""
        async with self._turns[secret.path]:
            for turn in range(_TURNS):
                await _pause(turn)
                world = await self._versions.look(secret)  # keeps us off a secret without a value, as in `stage`
                spend = self._spend_whole if secret.field is None else self._spend_field
                if await spend(secret, world, token):
                    return
        raise _crowded(secret)

    async def _spend_whole(self, secret: SecretRef, world: World, token: str) -> bool:
        # Refused where the token has a version; one that has ours already keeps its labels.
        await self._versions.put(secret, SPENT, token, DRAFT, unless=("ResourceExistsException",))
        return True

    async def _spend_field(self, secret: SecretRef, world: World, token: str) -> bool:
        known = world.journal is not None and token in world.journal.issued
        return known or await self._versions.spend(secret, world, token)

    async def promote(self, secret: SecretRef, version: VersionRef, replacing: VersionRef) -> None:
        async with self._turns[secret.path]:
            for turn in range(_TURNS):
                world = await self._look(secret, turn)
                if world.current.version == version:
                    promoted: str | None = world.current_id
                else:
                    promoted = await self._promoted(secret, world, version, replacing)
                if promoted is not None:
                    await self._take_off_pending(secret, world, {promoted, version.id})
                    return await self.settled(secret)
        raise _crowded(secret)

    async def swap(self, secret: SecretRef, version: VersionRef, seen: Look) -> Look | None:
        world = seen.world
        if not isinstance(world, World) or self._settings.replicas:
            return None  # replicas are waited for, and what was seen before is old then
        async with self._turns[secret.path]:
            key, replaced = meant(world.held, version), world.current
            promoted = await self._promoted(secret, world, version, replaced.version)
            if promoted is None or key is None:
                return None
            await self._take_off_pending(secret, world, {promoted, version.id})
        # AWS has just told that AWSCURRENT was still where it was seen, so this is what stands there now. (The ids are
        # those of the look, and count for PENDING alone.)
        others = {stage: other for stage, other in world.held.items() if other.version not in (version, replaced.version)}
        held = {**others, Stage.CURRENT: key, Stage.PREVIOUS: replaced}
        return Look(held, seen.notes, world)

    async def settled(self, secret: SecretRef) -> None:
        """No call where there are no `replicas`."""
        await aws_replicas.wait(self._versions, self._settings, secret)

    async def _take_off_pending(self, secret: SecretRef, world: World, done: Collection[str]) -> None:
        """Left there, AWSPENDING would look like a rotation under way. Beside a field it is AWS's own: its token's."""
        if world.labels.get(PENDING) in done:
            await self._versions.move(secret, PENDING, world.labels[PENDING], None)

    async def _promoted(self, secret: SecretRef, world: World, version: VersionRef, replacing: VersionRef) -> str | None:
        """The id of the version that AWSCURRENT was moved to; None when something moved meanwhile, and it was not."""
        if world.current.version != replacing:
            raise ConflictError(
                f"{secret}: CURRENT is neither the version to promote nor the one to replace",
                remedy="somebody changed it: look at its stages, and rotate from there",
            )
        key = meant(world.held, version)
        if key is None:
            raise ConflictError(f"{secret}: no stage holds the version to promote", remedy="stage it under a new token")
        if version.fingerprint in world.barred:
            raise ConflictError(
                f"{secret}: the version to promote is barred, since its key is being revoked", remedy="rotate to a new key"
            )
        if replacing.fingerprint in world.barred:
            await self._versions.free(secret, world)
            return None
        target = await self._target(secret, world, key)
        return target if target and await self._versions.move_current(secret, world, target) else None

    async def _target(self, secret: SecretRef, world: World, key: HeldKey) -> str | None:
        """A version with this key that never was AWSCURRENT; None when something moved meanwhile."""
        if secret.field is not None:
            return await self._merged(secret, secret.field, world, key)
        if key is world.held.get(Stage.PENDING) and key.version.id != world.labels.get(PREVIOUS):
            return key.version.id
        return await self._versions.draft(secret, key.material.reveal(), "back", world.current_id, key.version.id)

    async def _merged(self, secret: SecretRef, field: str, world: World, key: HeldKey) -> str | None:
        """A version of the bundle with the key in its field, beside a journal that knows what it replaces."""
        based = world.journal is not None and world.journal.is_based_on(world.current)
        if not based and not await self._versions.rewrite(secret, world, world.held):
            return None
        text = with_field(world.text, field, key.material.reveal())
        return await self._versions.draft(secret, text, "merge", field, world.current_id, key.version.fingerprint)

    async def bar(self, secret: SecretRef, version: VersionRef) -> None:
        """Takes two versions (see `spend`); repeated, none until AWSCURRENT has moved.

        Also what no stage holds is barred: a discard may have let it go whose fence is still to come.
        """
        async with self._turns[secret.path]:
            for turn in range(_TURNS):
                await _pause(turn)
                world = await self._look_beside(secret, version, "is not barred")
                if await self._fence.bar(secret, world, version):
                    return
        raise _crowded(secret)

    async def discard(self, secret: SecretRef, version: VersionRef) -> None:
        """Takes two versions; right after a bar one for a field, and none of a whole secret.

        (A discard that dies between taking the version from its stage and raising the fence leaves a promote alive that was
        under way, for as long as its one request takes. A bar does not: repeated, it goes on there.)
        """
        let_go = False
        async with self._turns[secret.path]:
            for turn in range(_TURNS):
                await _pause(turn)
                world = await self._look_beside(secret, version, "is not discarded")
                if world.find(version) is not None:
                    is_fenced = world.is_fenced(version)
                    if not await self._let_go(secret, world, version):
                        continue
                    if is_fenced and not let_go:
                        return
                    let_go = True
                    world = await self._look_beside(secret, version, "was promoted meanwhile")
                if not let_go or (world.find(version) is None and await self._fence.shut(secret, world)):
                    return
        raise _crowded(secret)

    async def _look_beside(self, secret: SecretRef, version: VersionRef, words: str) -> World:
        """ConflictError where the version is CURRENT."""
        world = await self._versions.look(secret)
        if world.current.version == version:
            raise ConflictError(f"{secret}: this version is CURRENT, and {words}", remedy="promote another version first")
        return world

    async def _let_go(self, secret: SecretRef, world: World, version: VersionRef) -> bool:
        """Take the version out of PENDING and PREVIOUS; False when something moved meanwhile."""
        kept = {stage: key for stage, key in world.held.items() if key.version != version}
        if secret.field is not None:
            return await self._versions.rewrite(secret, world, kept)
        gone = [(stage, key.version.id) for stage, key in world.held.items() if stage not in kept]
        for _, version_id in gone:
            if world.labels.get(DRAFT) == version_id:  # a fence has left it there
                await self._versions.move(secret, DRAFT, version_id, None)
        labels = [PENDING if stage is Stage.PENDING else PREVIOUS for stage, _ in gone]
        return all([await self._versions.move(secret, label, world.labels[label], None) for label in labels])

    async def annotate(self, secret: SecretRef, notes: Mapping[str, str | None], seen: Look | None = None) -> None:
        """AWS compares nothing here: of two workers that annotate one value at the same time, the later one's set stays.

        Each of the notes that are APART has a tag of its own, and is touched by nobody else.
        """
        prefix = tag_prefix(secret)
        async with self._turns[secret.path]:
            world = seen.world if seen is not None else None
            there = tags_of(secret, world.tags) if isinstance(world, World) else await self._tags(secret)
            changed, surplus = aws_tags.changes(there, notes)
            if changed:
                tags = [{"Key": f"{prefix}{name}", "Value": text} for name, text in changed.items()]
                await self._client.call("TagResource", secret, Tags=tags)
            if surplus:
                await self._client.call("UntagResource", secret, TagKeys=[f"{prefix}{name}" for name in surplus])

    async def annotations(self, secret: SecretRef) -> Mapping[str, str]:
        return aws_tags.notes_of(await self._tags(secret))

    async def preflight(self, secret: SecretRef) -> Sequence[Finding]:
        """Raises RetryableError where AWS does not answer; whatever else is wrong is a finding."""
        try:
            description = await self._versions.describe(secret)
            findings = list(of_description(secret, description, self._settings))
        except PermanentError as error:
            return [Finding(f"{secret} can be described", False, error.message, error.remedy)]
        try:
            world = await self._versions.look(secret, description)
            await self._versions.reread(secret, world.arn, world.current_id)
        except PermanentError as error:
            findings.append(Finding(f"{secret} can be read", False, error.message, error.remedy))
        else:
            named = secret.field is not None or not is_bundle(world.text)
            remedy = "" if named else "name one of its fields: a whole secret is the key itself"
            findings.append(Finding(f"{secret} can be read", named, "" if named else "it holds a JSON object", remedy))
            findings += of_size(secret, world)
        detail = f"AWS shows only by writing whether writing is allowed; needed: {', '.join(ACTIONS)}"
        return [*findings, Finding(f"{secret} can be written", None, detail)]

    async def labels_in_rotation(self, secret: SecretRef, token: str) -> Collection[str]:
        """The labels of the version of this token, which AWS has made for a rotation. Needs secretsmanager:DescribeSecret.

        MisconfiguredError unless AWS rotates the secret by the function in `rotation_lambda_arn`.
        """
        description = await self._versions.describe(secret)
        if not is_our_lambda(description, self._settings):
            raise MisconfiguredError(
                f"{secret}: AWS does not rotate it by the function in the store's rotation_lambda_arn",
                remedy="set rotation_lambda_arn to the function's ARN, and give the secret that function",
            )
        labels: Sequence[str] = description.get("VersionIdsToStages", {}).get(token, ())
        return labels

    async def aclose(self) -> None:
        self._versions.forget()
        await self._client.aclose()

    async def _tags(self, secret: SecretRef) -> dict[str, str]:
        tags = (await self._versions.describe(secret)).get("Tags", [])
        return tags_of(secret, {tag["Key"]: tag.get("Value", "") for tag in tags})

    async def _look(self, secret: SecretRef, turn: int, seen: Look | None = None) -> World:
        """The caller's look where there is one, and a look of our own once something has moved since."""
        await _pause(turn)
        return seen.world if turn == 0 and seen and isinstance(seen.world, World) else await self._versions.look(secret)


async def _pause(turn: int) -> None:
    if turn:
        await asyncio.sleep(random.uniform(0, min(1.0, 0.02 * 2**turn)))  # noqa: S311  no secret hangs on it


def _crowded(secret: SecretRef) -> UnavailableError:
    return UnavailableError(f"{secret} keeps being changed by others", remedy="run this again when they are done")


def _spent(secret: SecretRef) -> ConflictError:
    return ConflictError(f"{secret}: this token was used before", remedy="stage under a new token")
