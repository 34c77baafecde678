"""A program that embeds LiteLLM as a library, in four ways at once. Run by LiteLLM's own environment, without pytest.

    python embedding_program.py API_BASE MODEL CONTROL_URL REPORT

Threads call steadily until SIGTERM; what they saw is written to REPORT again and again.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from keyturn.delivery.keyring import Freshness, KeyRing
from keyturn.delivery.keyring_litellm import LiteLLMCredentials
from keyturn.delivery.keyring_probe import Probe

NAME = "OPENAI_API_KEY"
PAUSE = 0.05  # seconds, between a thread's calls


class Caller:
    """One way to call. `served`: how often which key answered, as the simulator says it."""

    def __init__(self, way: str, call: Callable[[], Any]) -> None:
        self.way, self._call = way, call
        self.served: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.last = ""

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                text = self._call().choices[0].message.content
                self.last = text.removeprefix("served-by ")
                self.served[self.last] += 1
            except Exception as error:
                self.failures[type(error).__name__] += 1
            stop.wait(PAUSE)

    def told(self) -> dict[str, Any]:
        return {"served": dict(self.served), "failures": dict(self.failures), "last": self.last}


def main(api_base: str, model: str, control: str, report: Path) -> None:
    litellm: Any = import_module("litellm")  # of the environment that this program runs in, and not of keyturn's
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("keyturn").setLevel(logging.DEBUG)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    where = {"model": f"openai/{model}", "api_base": api_base}
    # The interval is longer than the walk: what turns here was rolled.
    with KeyRing.from_config(freshness=Freshness(interval=timedelta(hours=1))) as ring:
        LiteLLMCredentials(ring, environ=True).install(litellm)
        credential = {**where, "litellm_credential_name": NAME}
        ring.serve_control(control, "env:KEYTURN_CONTROL_TOKEN", Probe(litellm, {model: credential}))
        router = litellm.Router(model_list=[{"model_name": "pool", "litellm_params": credential}], num_retries=0)
        asked = {"messages": [{"role": "user", "content": "hello"}], "max_retries": 0}
        callers = [
            Caller("get", lambda: litellm.completion(**where, **asked, api_key=ring.get(NAME))),
            Caller("credential", lambda: litellm.completion(**credential, **asked)),
            Caller("environment", lambda: litellm.completion(**where, **asked)),
            Caller("router", lambda: router.completion(model="pool", messages=asked["messages"])),
        ]
        threads = [threading.Thread(target=caller.run, args=(stop,)) for caller in callers]
        for thread in threads:
            thread.start()
        while not stop.is_set():
            write(report, {"ring": ring.stats(), "callers": {caller.way: caller.told() for caller in callers}})
            stop.wait(0.2)
        for thread in threads:
            thread.join()
        write(report, {"ring": ring.stats(), "callers": {caller.way: caller.told() for caller in callers}})


def write(report: Path, told: dict[str, Any]) -> None:
    beside = report.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(told))
    beside.rename(report)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
