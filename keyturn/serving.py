"""Who serves a credential: LiteLLM's proxies, or keyturn itself. What does not fit, as faults of keyturn.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from keyturn.document import Loc
from keyturn.own_logins import faults_of_login
from keyturn.parts import Part
from keyturn.settings import CredentialSettings

_MISSING = "is missing"


def faults_of_serving(
    name: str, credential: CredentialSettings, provider: Part | None, proxies: Mapping[str, Part]
) -> Iterator[tuple[Loc, str]]:
    """By LiteLLM, and then the canary is a call through it; or by keyturn itself, and then by nobody else."""
    fleets = [proxies[each] for each in credential.proxies if each in proxies]
    if any(fleet.is_keyturn for fleet in fleets):
        yield from _of_keyturn(name, credential, provider)
        return
    yield from _of_canary(("credentials", name, "canary"), credential, proxies)
    if provider is not None and provider.for_keyturn:
        yield ("credentials", name, "proxies"), "must name one of the kind keyturn: no proxy has a use for such a key"


def _of_keyturn(name: str, credential: CredentialSettings, provider: Part | None) -> Iterator[tuple[Loc, str]]:
    here: Loc = ("credentials", name)
    if len(credential.proxies) > 1:
        yield (*here, "proxies"), "keyturn shares its login with no proxy: give each a credential of its own"
    if credential.canary.model or credential.canary.proxy not in ("", *credential.proxies):
        yield (*here, "canary"), "has no model and no other proxy here: keyturn tries its own login itself"
    if credential.env:
        yield (*here, "env"), "no proxy reads this credential"
    if credential.on_incident == "revoke_first":
        yield (*here, "on_incident"), "a key that is revoked first cannot make its successor"
    if provider is None:
        return
    if not provider.makes_logins:
        yield (*here, "provider"), f"a key of the kind {provider.kind} cannot be what keyturn logs in with there"
        return
    yield from faults_of_login(name, provider.name, provider.settings, credential.secrets[0].ref)


def _of_canary(at: Loc, credential: CredentialSettings, proxies: Mapping[str, Part]) -> Iterator[tuple[Loc, str]]:
    canary = credential.canary
    if "canary" not in credential.model_fields_set:
        yield at, _MISSING
        return
    if "model" not in canary.model_fields_set:
        yield (*at, "model"), _MISSING
    elif not canary.model:
        yield (*at, "model"), "must not be empty"
    if "proxy" not in canary.model_fields_set:
        yield (*at, "proxy"), _MISSING
    elif canary.proxy in proxies and proxies[canary.proxy].is_keyturn:
        yield (*at, "proxy"), "is keyturn itself, which has no model to call"
