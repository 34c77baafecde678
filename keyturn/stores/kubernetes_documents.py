"""Where KubernetesSecret keeps the two documents of one value, and how they are read and written.

The *main* document is the Secret that the proxies are given, by `envFrom`, `secretKeyRef` or a volume. Of it keyturn changes
one key of `data`. The one *beside* it is a second Secret in the same namespace: `<name>.keyturn` for a whole secret,
`<name>.<field>-<digest>.keyturn` for a field (names of Secrets have no capitals or underscores, so the digest tells apart
what looks alike without them). Not in the first one: `envFrom` would give each of its keys to the proxies, and `kubectl
describe` prints annotations. In the second stands what two_documents prints, as its only key `state`, and the notes as
annotations, which hold no key text.

Every write is an update (PUT) under the resourceVersion that was read, of the whole object as it was read: labels, owners,
other keys byte for byte. **An update that changes nothing writes nothing, and leaves the resourceVersion,** which somebody
else may count on, so each write changes an annotation, too: in the main document only where nothing else would change.

A resourceVersion is compared and never computed with. Reads ask for no version, so they are of the latest write ("Kubernetes
API Concepts", "Resource versions"); tests/testing/test_kubernetes_double.py holds the double to the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from keyturn.errors import MisconfiguredError, NotFoundError
from keyturn.json_object import UnreadableError, json_object, mapping, texts
from keyturn.kubernetes.access import Wanted
from keyturn.kubernetes.answer import Answer, object_of
from keyturn.kubernetes.client import KubernetesClient
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef
from keyturn.stores.two_documents import TRIES, Beside, Main, crowded, parsed, printed

OURS = {"app.kubernetes.io/managed-by": "keyturn"}
LARGEST_SECRET = 1024 * 1024  # bytes of all values together ("Secrets", "Size limit")
_LARGEST_KEY = 128 * 1024  # the second Secret holds three, twice as long at worst
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_LONGEST_NAME = 253

_STATE = "state"
_IS_FOR = "keyturn/is-for"  # which value a second Secret belongs to
_WRITTEN = "keyturn/written"  # another text after each write
_NOTE = "note.keyturn/"


@dataclass(frozen=True, slots=True)
class Place:
    """One value's two Secrets, and the key of the first one's `data`."""

    namespace: str
    main: str
    key: str
    beside: str


class Documents:
    """TwoDocuments in one cluster. `whole_key`: which key of `data` is meant by a secret without a field."""

    def __init__(self, client: KubernetesClient, namespace: str, whole_key: str) -> None:
        self._client = client
        self._namespace = namespace
        self._whole_key = whole_key

    def place(self, secret: SecretRef) -> Place:
        """MisconfiguredError for a path or a field that Kubernetes has no name for."""
        return place_of(secret, self._namespace, self._whole_key)

    def demand_fit(self, secret: SecretRef, material: KeyMaterial) -> None:
        if len(material.reveal().encode()) > _LARGEST_KEY:
            raise MisconfiguredError(
                f"{secret}: the value is too large for the second Secret", remedy=f"use one of at most {_LARGEST_KEY} bytes"
            )

    async def main(self, secret: SecretRef) -> Main:
        place = self.place(secret)
        found = await self.get(place.namespace, place.main)
        if found is None:
            kubectl = f"kubectl -n {place.namespace} create secret generic {place.main} --from-file={place.key}=/dev/stdin"
            missing = NotFoundError(
                f"{secret} does not exist: there is no Secret {place.namespace}/{place.main}",
                remedy=f"write the key in use there: `{kubectl}`",
            )
            return Main("", missing=missing)
        return self.main_of(secret, found)

    def main_of(self, secret: SecretRef, found: dict[str, Any]) -> Main:
        """What it means, as `get` gave it."""
        place = self.place(secret)
        number, data = found["metadata"]["resourceVersion"], found.get("data") or {}
        if place.key not in data:
            missing = NotFoundError(
                f"{secret}: the Secret has no key {place.key}", remedy="write the key in use there first"
            )
            return Main(number, missing=missing, content=found)
        return Main(number, self._text(data[place.key]), content=found)

    async def write_main(self, secret: SecretRef, main: Main, material: KeyMaterial) -> str | None:
        place, value = self.place(secret), {self.place(secret).key: _encoded(material.reveal())}
        if not main.number:
            return await self._create(place.namespace, {"metadata": {"name": place.main}, "type": "Opaque", "data": value})
        demand_mutable(main.content, place.namespace)
        data = {**(main.content.get("data") or {}), **value}
        return await self._update(place.namespace, {**main.content, "data": data}, main.number)

    async def touch_main(self, secret: SecretRef, main: Main) -> str | None:
        namespace = self.place(secret).namespace
        return await self._update(namespace, _annotated(main.content, {_WRITTEN: str(uuid.uuid4())}), main.number)

    async def beside(self, secret: SecretRef) -> Beside:
        place = self.place(secret)
        found = await self.get(place.namespace, place.beside)
        if found is None:
            return Beside()
        number = found["metadata"]["resourceVersion"]
        belongs_to = (found["metadata"].get("annotations") or {}).get(_IS_FOR, _title(place))
        if not found.get("data") and belongs_to == _title(place):
            return Beside(number, content=found)  # made ahead by somebody, or by a note
        try:
            state = json_object(_decoded(mapping(found.get("data"))[_STATE]))
            if belongs_to == _title(place):
                return replace(parsed(state, number), content=found)
        except (UnreadableError, KeyError, ValueError):
            pass
        raise MisconfiguredError(
            f"the Secret {place.namespace}/{place.beside} was changed by somebody else, or is for something else",
            remedy="look what stands there, then delete that Secret: keyturn makes a new one",
        )

    async def write_beside(self, secret: SecretRef, beside: Beside) -> str | None:
        place = self.place(secret)
        state = {_STATE: _encoded(json.dumps(printed(beside), ensure_ascii=False, separators=(",", ":")))}
        made = {**self._ours(place, beside.content), "data": state}
        return await self._write(place.namespace, made, beside.number)

    async def annotate(self, secret: SecretRef, notes: Mapping[str, str | None]) -> None:
        """Read, merged and written under the version that was read: none of anybody's is lost."""
        place = self.place(secret)
        for _ in range(TRIES):
            found = await self.get(place.namespace, place.beside)
            changes = {_NOTE + _note_name(key): value for key, value in notes.items()}
            made = _annotated(self._ours(place, found), changes)
            if await self._write(place.namespace, made, found["metadata"]["resourceVersion"] if found else "") is not None:
                return
        raise crowded(secret)

    async def annotations(self, secret: SecretRef) -> dict[str, str]:
        place = self.place(secret)
        found = await self.get(place.namespace, place.beside)
        annotations = (found or {}).get("metadata", {}).get("annotations") or {}
        try:
            return {
                _note_key(name.removeprefix(_NOTE)): value
                for name, value in texts(annotations).items()
                if name.startswith(_NOTE)
            }
        except UnreadableError:
            raise self._client.not_kubernetes() from None

    async def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The Secret; None where the server says that there is none of that name."""
        answer = await self._client.request("GET", path_of(namespace, name), Wanted("get", namespace, name))
        if answer.status == 404 and answer.is_about("secrets", name):
            return None
        return self.object_of(answer, name)

    def _ours(self, place: Place, found: dict[str, Any] | None) -> dict[str, Any]:
        """The second Secret with the marks that it bears, and one more that no write before had."""
        there = found or {"type": "Opaque", "metadata": {"name": place.beside}}
        metadata = {**there["metadata"], "labels": {**(there["metadata"].get("labels") or {}), **OURS}}
        return _annotated({**there, "metadata": metadata}, {_IS_FOR: _title(place), _WRITTEN: str(uuid.uuid4())})

    async def _write(self, namespace: str, made: dict[str, Any], number: str) -> str | None:
        return await (self._update(namespace, made, number) if number else self._create(namespace, made))

    async def _create(self, namespace: str, made: dict[str, Any]) -> str | None:
        """The number it got; None: there is one of that name already."""
        name = made["metadata"]["name"]
        body = {**made, "apiVersion": "v1", "kind": "Secret", "metadata": {**made["metadata"], "namespace": namespace}}
        answer = await self._client.request("POST", path_of(namespace), Wanted("create", namespace, name), body)
        if answer.status == 404:
            raise MisconfiguredError(
                f"there is no namespace {namespace}", remedy="check namespace in keyturn.yaml, or make it"
            )
        if answer.status == 409:
            return None
        number: str = self.object_of(answer, name)["metadata"]["resourceVersion"]
        return number

    async def _update(self, namespace: str, made: dict[str, Any], number: str) -> str | None:
        """The number it got; None: somebody was faster, or it is gone."""
        name = made["metadata"]["name"]
        # Without managedFields, which the server keeps all the same: they would double the body.
        metadata = {key: value for key, value in made["metadata"].items() if key != "managedFields"}
        body = {**made, "metadata": {**metadata, "resourceVersion": number}}
        answer = await self._client.request("PUT", path_of(namespace, name), Wanted("update", namespace, name), body)
        if answer.status == 404 and answer.is_about("secrets", name):
            return None
        if answer.status == 409:
            return None
        got: str = self.object_of(answer, name)["metadata"]["resourceVersion"]
        if got == number:
            raise self._client.not_kubernetes()  # also a write that came back as a read
        return got

    def object_of(self, answer: Answer, name: str) -> dict[str, Any]:
        """The Secret of that name in an answer. MisconfiguredError for anything else."""
        try:
            found = object_of(answer, "Secret", name)
            if found.get("data") is not None:
                texts(found["data"])
            return found
        except UnreadableError:
            pass
        raise self._client.not_kubernetes()

    def _text(self, value: str) -> str | bytes:
        """The value as text; as bytes where it is none, which no key is."""
        raw = b""
        try:
            raw = _decoded(value)
            return raw.decode()
        except UnicodeDecodeError:
            return raw
        except ValueError:
            pass
        raise self._client.not_kubernetes()


def place_of(secret: SecretRef, namespace: str, whole_key: str) -> Place:
    """MisconfiguredError for a path or a field that Kubernetes has no name for."""
    first, slash, rest = secret.path.partition("/")
    namespace, main = (first, rest) if slash else (namespace, first)
    if not _NAMESPACE.fullmatch(namespace) or not _NAME.fullmatch(main) or len(main) > _LONGEST_NAME:
        raise MisconfiguredError(
            f"{secret.path} is no name of a Secret",
            remedy="use NAME or NAMESPACE/NAME, of lower case letters, digits, '-' and '.'",
        )
    key = secret.field or whole_key
    if not _DATA_KEY.fullmatch(key) or key.startswith(".."):
        raise MisconfiguredError(
            f"{key} is no key in a Secret", remedy="use letters, digits, '-', '_' and '.': at most 253 of them"
        )
    beside = f"{main}.keyturn" if key == whole_key else f"{main}.{_lower(key)}.keyturn"
    if len(beside) > _LONGEST_NAME:
        raise MisconfiguredError(
            f"{secret.path} is too long a name: keyturn keeps a second Secret beside it, of the name {beside}",
            remedy="use a name that is shorter, by as much as this one has more than 253 characters",
        )
    return Place(namespace, main, key, beside)


def demand_mutable(found: Mapping[str, Any], namespace: str) -> None:
    """MisconfiguredError for a Secret that nobody can change."""
    if found.get("immutable"):
        raise MisconfiguredError(
            f"the Secret {namespace}/{found['metadata']['name']} is immutable: its values can never change",
            remedy="make one anew without `immutable: true`, under another name, and give that to the proxies",
        )


def size_of(found: Mapping[str, Any]) -> int:
    """The bytes of all its values together, as the server counts them."""
    return sum(len(value) * 3 // 4 for value in (found.get("data") or {}).values())


def path_of(namespace: str, name: str = "") -> str:
    """Of one Secret; without a name, of all of the namespace."""
    return f"/api/v1/namespaces/{namespace}/secrets" + (f"/{name}" if name else "")


def _title(place: Place) -> str:
    return f"{place.main}#{place.key}"


def _lower(key: str) -> str:
    readable = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")[:40].strip("-") or "key"
    return f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _annotated(found: Mapping[str, Any], changes: Mapping[str, str | None]) -> dict[str, Any]:
    annotations = {**(found["metadata"].get("annotations") or {}), **changes}
    kept = {name: value for name, value in annotations.items() if value is not None}
    return {**found, "metadata": {**found["metadata"], "annotations": kept}}


def _note_name(key: str) -> str:
    """As the name of an annotation, which begins and ends with a letter or a digit; keys of notes have no hyphen."""
    return key if key.strip("_") == key else f"x-{key}-x"


def _note_key(name: str) -> str:
    return name.removeprefix("x-").removesuffix("-x")


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        pass
    raise ValueError("no base64")
