"""A secret, or a field, that is not there yet comes into being, and nobody's value is overwritten for it.

Three ways lead there. A secret that is missing is made by CreateSecret, of which AWS lets one succeed. One that has no value
is given its first version, which AWS makes AWSCURRENT whatever label it is given (API reference, PutSecretValue); so a
draft is written: of two who do it at once the later one's stays a draft. A field is added to its bundle as any field is
changed: a copy of the document, and AWSCURRENT moved to it by compare-and-swap.
"""

from __future__ import annotations

import json
from typing import Any

from keyturn.errors import ConflictError, MisconfiguredError, PermanentError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, VersionRef
from keyturn.stores import aws_replicas
from keyturn.stores.aws_client import SecretsManagerClient
from keyturn.stores.aws_settings import AWSSettings
from keyturn.stores.aws_versions import CURRENT, DRAFT, SecretVersions, demand_fits, derived_id, field_label, labels_of
from keyturn.stores.json_bundle import NotABundleError, field_text, with_new_field


class Creation:
    """Needs secretsmanager:CreateSecret, with tags also TagResource, with replicas ReplicateSecretToRegions; for what is
    there already also PutSecretValue and, for a field, UpdateSecretVersionStage."""

    def __init__(self, client: SecretsManagerClient, versions: SecretVersions, settings: AWSSettings) -> None:
        self._client, self._versions, self._settings = client, versions, settings

    async def attempt(self, secret: SecretRef, material: KeyMaterial) -> VersionRef | None:
        """The version that is CURRENT with this value; None when something has moved: then look again.

        ConflictError when CURRENT has another value, PermanentError when the secret is being deleted.
        """
        if secret.field is not None:
            field_label(secret)  # a name that is too long is refused before anything is made
        described = await self._client.call("DescribeSecret", secret, unless=("ResourceNotFoundException",))
        if described is None:
            return await self._make(secret, material)
        if "DeletedDate" in described:
            raise PermanentError(
                f"{secret} is scheduled for deletion", remedy="aws secretsmanager restore-secret, or name another secret"
            )
        labels = labels_of(described)
        if CURRENT not in labels:
            text = _first_text(secret, material)
            await self._versions.put(secret, text, _token(secret, material), DRAFT, unless=("ResourceExistsException",))
            return None
        text_there = await self._versions.current_text(secret, described["ARN"], labels[CURRENT])
        found = _value(secret, text_there)
        if found is None and secret.field is not None and text_there is not None:
            return await self._add(secret, secret.field, material, text_there, labels[CURRENT])
        if found != material.reveal():
            raise ConflictError(
                f"{secret} holds another value already", remedy="look who wrote it; a rotation replaces it, this does not"
            )
        return VersionRef(labels[CURRENT], material.fingerprint())

    async def _make(self, secret: SecretRef, material: KeyMaterial) -> VersionRef | None:
        if secret.path.startswith("arn:"):
            raise MisconfiguredError(f"{secret} is not there", remedy="to have it created, give its name instead of an ARN")
        text, token = _first_text(secret, material), _token(secret, material)
        demand_fits(secret, text)
        given: dict[str, Any] = {"SecretString": text, "ClientRequestToken": token}
        key = {} if self._settings.kms_key_id is None else {"KmsKeyId": self._settings.kms_key_id}
        if self._settings.tags:
            given["Tags"] = [{"Key": name, "Value": value} for name, value in self._settings.tags.items()]
        if self._settings.replicas:
            given["AddReplicaRegions"] = [{"Region": region, **key} for region in self._settings.replicas]
        made = await self._client.call("CreateSecret", secret, ("ResourceExistsException",), **given, **key)
        if made is None:
            return None
        await aws_replicas.wait(self._versions, self._settings, secret)
        return VersionRef(token, material.fingerprint())

    async def _add(
        self, secret: SecretRef, field: str, material: KeyMaterial, text: str, current_id: str
    ) -> VersionRef | None:
        longer = with_new_field(text, field, material.reveal())
        target = await self._versions.draft(secret, longer, "added", field, current_id, material.fingerprint())
        moved = await self._versions.move(secret, CURRENT, current_id, target)
        return VersionRef(target, material.fingerprint()) if moved else None


def _token(secret: SecretRef, material: KeyMaterial) -> str:
    """Who repeats this makes the same version, and nothing twice."""
    return derived_id("created", secret.path, secret.field or "", material.fingerprint())


def _first_text(secret: SecretRef, material: KeyMaterial) -> str:
    return material.reveal() if secret.field is None else json.dumps({secret.field: material.reveal()})


def _value(secret: SecretRef, text: str | None) -> str | None:
    """What stands there; None where nothing does. ConflictError for what no field can be added to."""
    if secret.field is None or text is None:
        return text
    fault, value = "", None
    try:
        value = field_text(text, secret.field)
    except NotABundleError as error:
        fault = str(error)
    if fault:
        raise ConflictError(f"{secret}: {fault}", remedy="name another secret, or leave out the field")
    return value
