"""Where KubernetesSecret keeps the two documents of one value, and how they are read and written.

The *main* document is the Secret that pods mount or take into their environment. Nothing of ours stands in its data. The one
*beside* it is a Secret of its own, `<name>.keyturn-<digest of the field>`: in further keys of the first, pods would be given
what is not served, and in annotations `kubectl describe` would show it. Its data are `staged` (see two_documents) and
`notes`.

Every write is a PUT that names the resourceVersion it was read at, or a POST. To write a Secret as it is changes no
resourceVersion, so a touch sets the annotation `keyturn/touched`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import secrets as chance
from collections.abc import Mapping
from typing import Any

from keyturn.errors import MisconfiguredError, NotFoundError
from keyturn.json_object import UnreadableError, json_object, texts
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef
from keyturn.stores.kubernetes_client import SecretsClient
from keyturn.stores.two_documents import TRIES, Beside, Main, crowded, parsed, printed

TOUCHED = "keyturn/touched"
_NAMESPACE = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = r"[a-z0-9]([a-z0-9.-]{0,226}[a-z0-9])?"  # 253 characters, less those of the second document's name
_PATH = re.compile(rf"(?:(?P<namespace>{_NAMESPACE})/)?(?P<name>{_NAME})")
_WHOLE_NAME = "_value"


class Documents:
    """`TwoDocuments` over Secrets. `whole_key`: the data key that holds a whole secret."""

    def __init__(self, client: SecretsClient, namespace: str, whole_key: str) -> None:
        self._client, self._namespace, self._whole_key = client, namespace, whole_key

    def demand_fit(self, secret: SecretRef, material: KeyMaterial) -> None:
        """Any text fits."""

    async def main(self, secret: SecretRef) -> Main:
        namespace, name = self.place(secret)
        found = await self._client.get(namespace, name)
        remedy = "write the key that is in use there first: `keyturn put` does"
        if found is None:
            return Main("", missing=NotFoundError(f"{secret} does not exist in {namespace}", remedy=remedy))
        number, data = _version(found), _data(found)
        if self.key(secret) not in data:
            missing = NotFoundError(f"{secret}: the Secret has no key {self.key(secret)}", remedy=remedy)
            return Main(number, missing=missing, content=found)
        return Main(number, _decoded(data[self.key(secret)]), content=found)

    async def write_main(self, secret: SecretRef, main: Main, material: KeyMaterial) -> str | None:
        namespace, name = self.place(secret)
        value = {self.key(secret): _encoded(material.reveal().encode())}
        if main.content is None:
            return _number(await self._client.create(namespace, _new(name, value)))
        if main.content.get("immutable") is True:
            raise MisconfiguredError(f"{secret} is immutable", remedy="make a Secret of another name, and use that")
        return _number(
            await self._client.replace(namespace, name, {**main.content, "data": {**_data(main.content), **value}})
        )

    async def touch_main(self, secret: SecretRef, main: Main) -> str | None:
        namespace, name = self.place(secret)
        metadata = main.content["metadata"]
        annotations = {**(metadata.get("annotations") or {}), TOUCHED: chance.token_hex(4)}
        touched = {**main.content, "metadata": {**metadata, "annotations": annotations}}
        return _number(await self._client.replace(namespace, name, touched))

    async def beside(self, secret: SecretRef) -> Beside:
        found = await self._client.get(*self.beside_place(secret))
        if found is None:
            return Beside()
        staged = _data(found).get("staged")
        if staged is None:  # notes alone
            return Beside(_version(found))
        try:
            return parsed(json_object(_bytes(staged)), _version(found))
        except UnreadableError:
            raise self._not_ours(secret) from None

    async def write_beside(self, secret: SecretRef, beside: Beside) -> str | None:
        return await self._change(secret, "staged", json.dumps(printed(beside)), beside.number)

    async def annotate(self, secret: SecretRef, notes: Mapping[str, str | None]) -> None:
        """Read, merged and written under the number: no note of anybody is lost."""
        for _ in range(TRIES):
            found = await self._client.get(*self.beside_place(secret))
            merged = {**self._notes(secret, found), **notes}
            kept = {name: value for name, value in merged.items() if value is not None}
            if await self._put(secret, found, "notes", json.dumps(kept)) is not None:
                return
        raise crowded(secret)

    async def annotations(self, secret: SecretRef) -> Mapping[str, str]:
        return self._notes(secret, await self._client.get(*self.beside_place(secret)))

    def place(self, secret: SecretRef) -> tuple[str, str]:
        return place(secret, self._namespace)

    def beside_place(self, secret: SecretRef) -> tuple[str, str]:
        return beside_place(secret, self._namespace)

    def key(self, secret: SecretRef) -> str:
        return secret.field or self._whole_key

    async def _change(self, secret: SecretRef, key: str, text: str, number: str) -> str | None:
        """One of the second document's data, if it is still of that number."""
        found = await self._client.get(*self.beside_place(secret))
        if (_version(found) if found else "") != number:
            return None
        return await self._put(secret, found, key, text)

    async def _put(self, secret: SecretRef, found: Mapping[str, Any] | None, key: str, text: str) -> str | None:
        namespace, name = self.beside_place(secret)
        value = {key: _encoded(text.encode())}
        if found is None:
            about = {"keyturn/secret": self.place(secret)[1], "keyturn/field": secret.field or ""}
            return _number(await self._client.create(namespace, _new(name, value, about)))
        return _number(await self._client.replace(namespace, name, {**found, "data": {**_data(found), **value}}))

    def _notes(self, secret: SecretRef, found: Mapping[str, Any] | None) -> dict[str, str]:
        encoded = None if found is None else _data(found).get("notes")
        if encoded is None:
            return {}
        try:
            return texts(json_object(_bytes(encoded)))
        except UnreadableError:
            raise self._not_ours(secret) from None

    def _not_ours(self, secret: SecretRef) -> MisconfiguredError:
        namespace, name = self.beside_place(secret)
        return MisconfiguredError(
            f"the Secret {namespace}/{name} was changed by somebody else, and cannot be read",
            remedy="look what stands there, then delete it: keyturn makes a new one",
        )


def place(secret: SecretRef, namespace: str) -> tuple[str, str]:
    """Namespace and name. `namespace`: where the path names none. MisconfiguredError for a path that no Secret has."""
    match = _PATH.fullmatch(secret.path)
    if match is None:
        raise MisconfiguredError(
            f"{secret.path} is no name of a Secret", remedy="use NAME or NAMESPACE/NAME: a-z, 0-9, - and ., at most 228"
        )
    return match["namespace"] or namespace, match["name"]


def beside_place(secret: SecretRef, namespace: str) -> tuple[str, str]:
    """Of the second document. A field's name need not be one that a Secret can have."""
    where, name = place(secret, namespace)
    return where, f"{name}.keyturn-{hashlib.sha256((secret.field or _WHOLE_NAME).encode()).hexdigest()[:10]}"


def _new(name: str, data: Mapping[str, str], about: Mapping[str, str] | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if about is not None:
        metadata |= {"annotations": dict(about), "labels": {"app.kubernetes.io/managed-by": "keyturn"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": dict(data)}


def _version(found: Mapping[str, Any]) -> str:
    return str(found["metadata"]["resourceVersion"])


def _number(written: Mapping[str, Any] | None) -> str | None:
    return None if written is None else _version(written)


def _data(found: Mapping[str, Any]) -> Mapping[str, Any]:
    data = found.get("data")
    return data if isinstance(data, dict) else {}


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(encoded: Any) -> bytes:
    """UnreadableError for what is no base64."""
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise UnreadableError from None


def _decoded(encoded: Any) -> Any:
    """The text; for what is none, something that no key is."""
    try:
        return _bytes(encoded).decode()
    except (UnreadableError, UnicodeDecodeError):
        return None
