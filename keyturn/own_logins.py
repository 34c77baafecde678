"""Management credentials that keyturn rotates itself: what it logs in to a vendor with, served to nobody but keyturn.

Such a credential names a fleet of the kind `keyturn`, and its provider logs in with the very secret that is rotated. That is
what makes it work: the reference is read anew for each call, so the old key makes the new one, and the new one ends the old.
Everything that would break that is refused here, in words, before anything is created.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel

from keyturn.model import SecretRef
from keyturn.references import REFERENCE, STORE_REFERENCE, parse_store_reference

Loc = tuple[str | int, ...]


def references_in(settings: BaseModel) -> Mapping[str, str]:
    """Setting -> reference, of everything in a part's settings that refers to a secret. Nested ones are joined by dots."""
    return dict(_references(settings.model_dump(), ""))


def _references(value: object, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and REFERENCE.fullmatch(value):
        yield name, value
    elif isinstance(value, dict):
        for each, inner in value.items():
            yield from _references(inner, f"{name}.{each}" if name else str(each))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _references(inner, f"{name}.{index}")


def names(reference: str, secret: SecretRef) -> bool:
    """Whether the reference leads to this secret."""
    return STORE_REFERENCE.fullmatch(reference) is not None and parse_store_reference(reference) == secret


def login_of(settings: BaseModel, secret: SecretRef) -> str:
    """The reference by which a provider of these settings logs in with this secret; "" where it does not."""
    return next((each for each in references_in(settings).values() if names(each, secret)), "")


def faults_of_login(name: str, provider: str, settings: BaseModel, secret: SecretRef) -> Iterator[tuple[Loc, str]]:
    """What is wrong with how a provider logs in whose login the credential `name` rotates: where it stands, and why."""
    if login_of(settings, secret):
        return
    field = f"#{secret.field}" if secret.field else ""
    wanted = f"store:{secret.store}/{secret.path}{field}, the secret that {name} rotates"
    found = references_in(settings)
    if not found:
        yield ("providers", provider), f"names no login of its own: it has to log in with {wanted}"
    for setting, reference in found.items():
        if STORE_REFERENCE.fullmatch(reference):
            what = "names another secret than the one that is rotated: the next call would still be made with the old key"
        else:
            scheme = reference.partition(":")[0]
            what = f"is {scheme}:, which keyturn cannot write: the next call would still be made with the old key"
        yield ("providers", provider, *setting.split(".")), f"{what}. It has to be {wanted}"


def referring(parts: Mapping[str, BaseModel], secrets: Sequence[SecretRef]) -> Sequence[str]:
    """Which settings of these parts lead to one of the secrets, as `PART.SETTING`."""
    return [
        f"{part}.{setting}"
        for part, settings in parts.items()
        for setting, reference in references_in(settings).items()
        if any(names(reference, secret) for secret in secrets)
    ]
