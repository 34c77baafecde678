"""The keys of a ring inside LiteLLM as a library: as stored credentials that every call looks up anew.

    LiteLLMCredentials(ring).install(litellm)
    litellm.completion(model="openai/gpt-4o-mini", litellm_credential_name="OPENAI_API_KEY", ...)

Measured with 1.106.2 and 1.109.1: what stands in `litellm.credential_list` is read at each call, so a new key takes effect
at the next one. LiteLLM is handed in by the program; keyturn never imports it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import ItemsView, Mapping, MutableMapping
from typing import Any

from keyturn.delivery.aliases import shadowing
from keyturn.delivery.keyring import KeyRing
from keyturn.errors import MisconfiguredError
from keyturn.key_parts import parameters
from keyturn.material import KeyMaterial
from keyturn.model import VersionRef

log = logging.getLogger("keyturn.keyring")

# Not left empty: LiteLLM would look for another key, in its own settings and in the environment.
STALE = "keyturn-gives-no-stale-key"

# Which setting of a call takes it, where that is not api_key: Entra's token is a bearer token, and an api_key is not.
_FIELDS = {"AZURE_AD_TOKEN": "azure_ad_token"}


class LiteLLMCredentials:
    """One stored credential for each key. `names`: variable -> credential, where it is not to have the variable's name.

    `environ`: set the variables of this process too, which LiteLLM reads at each call (and every child process inherits).
    A key that has gone stale is refused by the credential, and taken out of the environment as long as the refresher lives.
    `fields`: variable -> the setting of a call that takes it, where it is neither `api_key` nor AZURE_AD_TOKEN's.
    Not with a key of several parts, whose variables cannot be replaced at one moment.
    """

    def __init__(
        self,
        ring: KeyRing,
        names: Mapping[str, str] | None = None,
        *,
        fields: Mapping[str, str] | None = None,
        environ: bool = False,
        environment: MutableMapping[str, str] = os.environ,
    ) -> None:
        self._ring = ring
        self._names = names or {}
        self._fields = {**_FIELDS, **(fields or {})}
        self._environment = environment if environ else None
        self._values: dict[str, _Values] = {}

    def install(self, litellm: Any) -> None:
        """Put the credentials into `litellm.credential_list`, and keep them current. One of the same name is replaced.

        A warning for what would send another key: `litellm.api_key`, and variables that LiteLLM reads before ours.
        MisconfiguredError for `environ` with a key of several parts.
        """
        several = [name for name in self._ring.names if self._ring.names_of(name).parts]
        if several and self._environment is not None:
            raise MisconfiguredError(
                f"{', '.join(several)} has several parts: in the environment a call could find those of two versions",
                remedy="leave environ out, and name the stored credential in each call: litellm_credential_name",
            )
        for name in self._ring.names:
            self._values[name] = _Values(self._ring, name)
            self._write(name)
            credential = self._names.get(name, name)
            item = litellm.types.utils.CredentialItem(
                credential_name=credential, credential_values={}, credential_info={"description": "kept by keyturn"}
            )
            item.credential_values = self._values[name]  # the model would make a plain dict of it
            litellm.credential_list[:] = [each for each in litellm.credential_list if each.credential_name != credential] + [
                item
            ]
        self._ring.on_change(self._changed)
        self._ring.on_stale(self._stale)
        self._warn(litellm)

    def _changed(self, name: str, version: VersionRef) -> None:
        if name in self._values:
            self._write(name)

    def _stale(self, name: str) -> None:
        if name in self._values:
            self._values[name].update(dict.fromkeys(self._values[name].keys(), STALE))
            if self._environment is not None:
                self._environment.pop(name, None)

    def _write(self, name: str) -> None:
        """Write what the ring says, until it still says so afterwards: two threads may be here, and a lock would not
        survive a fork."""
        written: VersionRef | None = None
        while written != self._ring.version(name):
            held = self._ring.held(name)
            written = held.version
            # One call, for a reader may come in between: `_Values` gives copies of one moment, too.
            self._values[name].update(self._texts(name, held.material))
            if self._environment is not None:
                self._environment[name] = held.material.reveal()

    def _texts(self, name: str, material: KeyMaterial) -> dict[str, str]:
        parts = [part for part, _ in self._ring.names_of(name).parts]
        texts = {each: text.reveal() for each, text in parameters(material, parts).items()}
        # Of a key that is one text: whether a call takes it as api_key or otherwise.
        return texts if parts else {self._fields.get(name, each): text for each, text in texts.items()}

    def _warn(self, litellm: Any) -> None:
        if getattr(litellm, "api_key", None):
            log.warning(
                "litellm.api_key is set: it is sent instead of the environment's key, and nobody rotates it. Unset it."
            )
        for name in self._ring.names if self._environment is not None else ():
            if others := shadowing(name, self._environment or {}):
                log.warning("set to another value, and may be read instead of %s: %s", name, ", ".join(others))


class _Values(dict[str, str]):
    """`credential_values`. It asks the ring before it is read: a dead refresher cannot mark a key as stale."""

    def __init__(self, ring: KeyRing, name: str) -> None:
        super().__init__()
        self._ring, self._name = ring, name

    def items(self) -> ItemsView[str, str]:  # type: ignore[override]  # what dict gives is one
        return self.copy().items()

    def copy(self) -> dict[str, str]:
        self._check()
        return super().copy()

    def __repr__(self) -> str:
        return f"<the key {self._name} of a keyturn ring>"

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("a key is neither pickled nor copied")

    def _check(self) -> None:
        """StaleKeyError, unless the ring still gives this key out."""
        self._ring.held(self._name)
