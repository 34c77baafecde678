"""A key cache as guides sketch it for programs that embed LiteLLM: a dict behind a lock, with a time to live."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class LockedCache:
    """`fetch` reads a key from the store. While it reads, every thread waits; an outage is an error at once."""

    def __init__(self, fetch: Callable[[str], str], ttl: float = 300.0) -> None:
        self._fetch = fetch
        self._ttl = ttl
        self._lock = threading.Lock()
        self._keys: dict[str, tuple[str, float]] = {}

    def get(self, name: str) -> str:
        with self._lock:
            cached = self._keys.get(name)
            if cached is not None and time.time() - cached[1] < self._ttl:
                return cached[0]
            key = self._fetch(name)
            self._keys[name] = (key, time.time())
            return key
