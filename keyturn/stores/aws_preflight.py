"""What would stop a rotation half-way, as far as AWS shows it to who only looks."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from keyturn.model import Finding, SecretRef, Stage
from keyturn.stores import aws_replicas, aws_tags
from keyturn.stores.aws_journal import Journal
from keyturn.stores.aws_settings import MAX_TAGS, OURS, AWSSettings
from keyturn.stores.aws_versions import (
    BARRED,
    CURRENT,
    DRAFT,
    MAX_BYTES,
    MAX_LABELS,
    PENDING,
    PREVIOUS,
    World,
    field_label,
    labels_of,
)

LONGER = 1024  # bytes by which a new key may be longer than the one in use


def of_description(secret: SecretRef, description: Mapping[str, Any], settings: AWSSettings) -> Sequence[Finding]:
    """What DescribeSecret shows."""
    faults = (
        *_of_state(description, settings),
        *_of_quotas(secret, description),
        *_of_address(secret, description, settings),
    )
    found = [Finding(f"{secret} can be rotated", False, detail, remedy) for is_so, detail, remedy in faults if is_so]
    found += _of_replicas(secret, description, settings)
    return [*(found or [Finding(f"{secret} can be rotated", True)]), *_of_pending(secret, description, settings)]


def of_size(secret: SecretRef, world: World) -> Sequence[Finding]:
    """Whether what the rotation writes fits, also with a longer key."""
    what, longest = f"{secret} has room for a new key", world.text
    if secret.field is not None:
        issued = world.journal.issued if world.journal else {}
        beside = Journal.of(dict.fromkeys(Stage, world.current), issued, world.barred).text()
        longest = max(world.text, beside, key=len)
    size = len(longest.encode()) + LONGER
    if size <= MAX_BYTES:
        return [Finding(what, True)]
    detail = f"with a key that is longer by {LONGER} bytes it would have {size}, and AWS takes {MAX_BYTES}"
    return [Finding(what, False, detail, "split the bundle")]


def tag_prefix(secret: SecretRef) -> str:
    return OURS if secret.field is None else f"{OURS}{secret.field}:"


def tags_of(secret: SecretRef, tags: Mapping[str, str]) -> dict[str, str]:
    """Those of this value, without their prefix."""
    prefix = tag_prefix(secret)
    return {key.removeprefix(prefix): text for key, text in tags.items() if key.startswith(prefix)}


def is_our_lambda(description: Mapping[str, Any], settings: AWSSettings) -> bool:
    """Whether AWS rotates it by the function that the settings name."""
    function = description.get("RotationLambdaARN")
    return bool(description.get("RotationEnabled")) and function is not None and function == settings.rotation_lambda_arn


_Fault = tuple[bool, str, str]


def _of_state(description: Mapping[str, Any], settings: AWSSettings) -> Sequence[_Fault]:
    primary = description.get("PrimaryRegion", settings.region)
    theirs = bool(description.get("RotationEnabled")) and not is_our_lambda(description, settings)
    return (
        (
            "DeletedDate" in description,
            "it is scheduled for deletion",
            "aws secretsmanager restore-secret, or name another secret",
        ),
        (primary != settings.region, f"it is a replica of {primary}", f"use a store with region: {primary}"),
        (
            theirs,
            "AWS itself rotates it",
            "aws secretsmanager cancel-rotate-secret: two rotators would undo each other. Where keyturn's own Lambda "
            "is what rotates it, name that in the store's rotation_lambda_arn",
        ),
        ("OwningService" in description, "another AWS service manages it", "use a secret of your own"),
    )


def _of_quotas(secret: SecretRef, description: Mapping[str, Any]) -> Sequence[_Fault]:
    needed = [PREVIOUS, DRAFT, *([PENDING, BARRED] if secret.field is None else [field_label(secret)])]
    tags = [tag["Key"] for tag in description.get("Tags", []) if not tag["Key"].startswith("aws:")]
    others = sum(not _is_ours(key, tag_prefix(secret)) for key in tags)
    return (
        (
            len({*labels_of(description), *needed}) > MAX_LABELS,
            "it has no staging label left",
            f"AWS allows {MAX_LABELS} for a secret: let overlaps end, remove labels, or split the bundle",
        ),
        (
            others + max(len(tags) - others, aws_tags.MOST) > MAX_TAGS,
            f"it has {max(0, MAX_TAGS - others)} tags for keyturn's notes of this value, which may grow to {aws_tags.MOST}",
            f"AWS allows {MAX_TAGS} for a secret: remove tags, or split the bundle",
        ),
    )


def _of_address(secret: SecretRef, description: Mapping[str, Any], settings: AWSSettings) -> Sequence[_Fault]:
    """An ARN may leave out the last hyphen and the six characters that AWS has chosen; then it is a partial one."""
    if not secret.path.startswith("arn:"):
        return ()
    region, found = secret.path.split(":")[3:4], str(description.get("ARN", ""))
    is_it = re.fullmatch(rf"{re.escape(secret.path)}(-[A-Za-z0-9]{{6}})?", found) is not None
    return (
        (region != [settings.region], "its ARN is of another region", f"the store's region is {settings.region}"),
        (not is_it, "AWS takes its ARN for that of another secret", "give the whole ARN, with its last six characters"),
    )


def _of_replicas(secret: SecretRef, description: Mapping[str, Any], settings: AWSSettings) -> list[Finding]:
    faults = {region: aws_replicas.trouble(description, region) for region in settings.replicas}
    return [
        Finding(
            f"{secret} can be rotated",
            False,
            f"{region}: {fault}",
            "aws secretsmanager replicate-secret-to-regions; after a failure remove-regions-from-replication first",
        )
        for region, fault in faults.items()
        if fault
    ]


def _of_pending(secret: SecretRef, description: Mapping[str, Any], settings: AWSSettings) -> list[Finding]:
    """Somebody else's AWSPENDING is replaced, or left beside a field: told, since its owner may be at work."""
    labels = labels_of(description)
    pending = labels.get(PENDING)
    if pending in (None, labels.get(CURRENT)) or is_our_lambda(description, settings):
        return []
    tags = {tag["Key"]: tag.get("Value", "") for tag in description.get("Tags", [])}
    if pending in aws_tags.notes_of(tags_of(secret, tags)).values() or (secret.field is None and _is_our_token(pending)):
        return []
    detail = f"AWSPENDING is on a version that keyturn has not staged ({pending}): an unfinished rotation of somebody else's"
    return [
        Finding(
            f"nobody else is rotating {secret}",
            None,
            f"{detail}. This rotation " + ("replaces it." if secret.field is None else "leaves it as it is."),
            "look who rotates it; `aws secretsmanager update-secret-version-stage` takes the label off",
        )
    ]


def _is_our_token(version_id: str | None) -> bool:
    """A rotation's id is a UUID of version 5; those that AWS and its SDKs choose are of version 4."""
    try:
        return uuid.UUID(version_id).version == 5
    except ValueError:
        return False


def _is_ours(key: str, prefix: str) -> bool:
    return key.startswith(prefix) and aws_tags.is_ours(key.removeprefix(prefix))
