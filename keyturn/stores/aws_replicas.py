"""Copies of a secret in other regions: whether they hold what was promoted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from keyturn.errors import PermanentError, UnavailableError
from keyturn.model import SecretRef
from keyturn.stores.aws_settings import AWSSettings
from keyturn.stores.aws_versions import SecretVersions

# Of the states in the service model (StatusType) those that no waiting ends.
_ENDS = {
    "": "it is not replicated there",
    "Detached": "its replica there was made a secret of its own",
    "Failed": "its replication there has failed",
}
_SECOND_LOOK_AFTER = 0.5  # seconds


def trouble(description: Mapping[str, Any], region: str) -> str:
    """Why waiting for this region is in vain, in words of ours; empty where it is not."""
    replicas = {replica["Region"]: replica for replica in description.get("ReplicationStatus", [])}
    replica = replicas.get(region, {})
    state = replica.get("Status", "")
    return _ENDS.get(state, "") + (_why(replica.get("StatusMessage", "")) if state == "Failed" else "")


async def wait(versions: SecretVersions, settings: AWSSettings, secret: SecretRef) -> None:
    """Until every region of `replicas` says InSync: the most that AWS tells without asking the region itself."""
    if not settings.replicas:
        return
    loop, seconds = asyncio.get_running_loop(), settings.replica_timeout.total_seconds()
    deadline = loop.time() + seconds
    while True:
        description = await versions.describe(secret)
        behind = _behind(description, settings)
        if not behind:
            return
        lost = [f"{region} ({found})" for region in behind if (found := trouble(description, region))]
        if lost:
            raise PermanentError(
                f"{secret} holds the new value, which does not come to {', '.join(lost)}",
                remedy="aws secretsmanager describe-secret shows the reason; mend it, then run this again",
            )
        if loop.time() > deadline:
            raise UnavailableError(
                f"{secret} holds the new value, but {', '.join(behind)} is not in sync after {seconds:g} s",
                remedy="run this again: no member is rolled before it is; a longer replica_timeout waits longer",
            )
        await asyncio.sleep(_SECOND_LOOK_AFTER)


def _behind(description: Mapping[str, Any], settings: AWSSettings) -> list[str]:
    states = {replica["Region"]: replica.get("Status") for replica in description.get("ReplicationStatus", [])}
    return [region for region in settings.replicas if states.get(region) != "InSync"]


def _why(message: str) -> str:
    """The class of AWS's message: it is not quoted."""
    text = message.lower()
    if "already exists" in text:
        return ": a secret of this name is there already"
    if "kms" in text or "encrypt" in text:
        return ": the KMS key there cannot be used"
    if "access" in text or "authorized" in text or "denied" in text:
        return ": a permission is missing there"
    return ""
