"""The lean start itself: read, and become the program; or give up, and nothing has happened."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

from keyturn.delivery.become import Loaded, become, end_when_told, find_program
from keyturn.delivery.environment import inherited
from keyturn.delivery.lean.call import Call, launcher_call
from keyturn.delivery.lean.declined import Declined
from keyturn.delivery.lean.document import LARGEST, plain_document
from keyturn.delivery.lean.files import file_bytes
from keyturn.delivery.lean.plan import Plan, plan_of

_SECONDS = 5.0  # for everything: a store that is slower is waited for by the full path
_CONFIG_VARIABLE, _CONFIG = "KEYTURN_CONFIG", "keyturn.yaml"

_Found = TypeVar("_Found")


def attempt(words: Sequence[str]) -> None:
    """Become the program that these words of a command line ask for. It returns when that is left to the full path."""
    call = launcher_call(words)
    program = call and find_program(call.command[0], os.environ.get("PATH"))
    if call is None or not program:
        return
    end_when_told()
    found = _within(_SECONDS, lambda: read(call))
    if found is None:
        return
    plan, keys = found
    try:
        become(program, call.command, inherited(os.environ, plan.own), keys, call.state)
    except OSError:
        return  # the state cannot be written: the full path says so


def read(call: Call) -> tuple[Plan, list[Loaded]]:
    """What a launcher call asks for. Any exception at all means that it is not plain."""
    path = call.config or os.environ.get(_CONFIG_VARIABLE) or _CONFIG
    plan = plan_of(plain_document(file_bytes(path, LARGEST).decode()), call.proxy)
    with ExitStack() as stack:
        readers = {name: stack.enter_context(_reader(*each)) for name, each in plan.stores.items()}
        held = [(each, readers[each.secret.store].current(each.secret)) for each in plan.reads]
    for each, (_, key) in held:
        each.names.given(key)
    return plan, [Loaded(each.credential, each.names, version, key) for each, (version, key) in held]


def _reader(kind: str, settings: Mapping[str, Any]) -> Any:
    if kind == "vault_kv2":
        from keyturn.delivery.lean.vault import VaultReader

        return VaultReader(settings)
    if kind == "aws_secrets_manager":
        from keyturn.delivery.lean.aws import AWSReader

        return AWSReader(settings)
    raise Declined


def _within(seconds: float, do: Callable[[], _Found]) -> _Found | None:
    """What it gives; None for an exception, and when the time is over, wherever it hangs.

    A timer, for the timeouts of sockets begin anew with each byte. It is off when this returns: it would outlive `exec`.
    """
    armed = True

    def ring(number: int, frame: object) -> None:
        if armed:
            raise Declined

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        return do()
    except Exception:  # also a vendor's text in it: nobody sees it
        return None
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
