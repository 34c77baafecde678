"""The cache of a proxy's keys, from keyturn.yaml and what was typed: bound to that proxy, its variables and its stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from keyturn.assembly import Adapters, address_of
from keyturn.delivery.cache import KeyCache
from keyturn.delivery.keys import Variable


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """What was asked for. `key`: a reference to the secret it is encrypted with."""

    file: Path
    key: str
    max_age: timedelta = timedelta(hours=24)


async def key_cache(adapters: Adapters, proxy: str, variables: Sequence[Variable], options: CacheOptions) -> KeyCache:
    """MisconfiguredError for a secret that leads nowhere or is too short, and for a folder that is not there."""
    credentials = adapters.config.credentials
    bound_to = [proxy]
    for each in sorted((each for each in variables if not each.leased), key=lambda variable: variable.credential):
        bound_to += [each.credential, each.name, address_of(adapters.config, credentials[each.credential])]
    return KeyCache(options.file, await adapters.resolve(options.key), bound_to, options.max_age)
