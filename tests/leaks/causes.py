"""What goes wrong around a run: causes, which last as long as it does, and acts, which happen at a moment of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import httpx

from keyturn.testing.embedded import ACCOUNT, BUNDLE, PROJECT, VAULT
from keyturn.testing.processes import wait_for_http
from tests.leaks.loud import Loud

Cause = Callable[[Loud], AbstractContextManager[None]]


def provider(operation: str, kind: str, **more: Any) -> Cause:
    """A fault of the provider's, until the run is over (or as often as `times` says)."""

    @contextmanager
    def cause(loud: Loud) -> Iterator[None]:
        loud.tell_provider("faults", operation=operation, kind=kind, **{"times": None, **more})
        try:
            yield
        finally:
            loud.forget_faults()

    return cause


def behaviour(now: Mapping[str, Any], then: Mapping[str, Any]) -> Cause:
    @contextmanager
    def cause(loud: Loud) -> Iterator[None]:
        loud.tell_provider("behaviour", **now)
        try:
            yield
        finally:
            loud.tell_provider("behaviour", **then)

    return cause


def aws(operation: str, kind: str, times: int = 0) -> Cause:
    @contextmanager
    def cause(loud: Loud) -> Iterator[None]:
        fault = {"operation": operation, "kind": kind, "times": times}
        httpx.post(f"{loud.aws_url}/_double/faults", json=fault, trust_env=False).raise_for_status()
        try:
            yield
        finally:
            httpx.delete(f"{loud.aws_url}/_double/faults", trust_env=False)

    return cause


@contextmanager
def sealed(loud: Loud) -> Iterator[None]:
    loud.bao.seal()
    try:
        yield
    finally:
        loud.bao.unseal()


@contextmanager
def unsealed_afterwards(loud: Loud) -> Iterator[None]:
    try:
        yield
    finally:
        loud.bao.unseal()


@contextmanager
def forgotten_afterwards(loud: Loud) -> Iterator[None]:
    try:
        yield
    finally:
        loud.forget_faults()


@contextmanager
def no_new_key_for_the_second_member(loud: Loud) -> Iterator[None]:
    """It starts with the keys of now alone; the first has taken the new one by then."""
    held = {version["fingerprint"] for n in range(loud.members) for version in loud.member_status(n)["versions"].values()}
    only = loud.folder / "only-2"
    only.write_text(" ".join(held))
    try:
        yield
    finally:
        only.unlink()


def both(*causes: Cause) -> Cause:
    @contextmanager
    def cause(loud: Loud) -> Iterator[None]:
        with ExitStack() as stack:
            for each in causes:
                stack.enter_context(each(loud))
            yield

    return cause


# Acts -------------------------------------------------------------------------------------------------------------------


def send(number: signal.Signals) -> Callable[[Loud, int], bool]:
    """A signal to the run. What dies of it at once has nobody left to be told to go on."""

    def act(loud: Loud, pid: int) -> bool:
        os.kill(pid, number)
        return number is signal.SIGINT

    return act


def seal(loud: Loud, pid: int) -> bool:
    loud.bao.seal()
    return True


def revoke_tokens(loud: Loud, pid: int) -> bool:
    loud.bao.root.sys.revoke_prefix("auth/approle/login")
    return True


def refuse_calls(status: int, **more: Any) -> Callable[[Loud, int], bool]:
    def act(loud: Loud, pid: int) -> bool:
        loud.tell_provider("faults", operation="chat", kind="status", status=status, times=None, **more)
        return True

    return act


def somebody_changes_the_value(loud: Loud, pid: int) -> bool:
    made = loud.tell_provider("keys", project=PROJECT, name="by hand, meanwhile", account=ACCOUNT)
    loud.bao.root.secrets.kv.v2.patch(BUNDLE, secret={VAULT.secret["field"]: made["value"]}, mount_point="secret")
    return True


def kill_a_supervisor(loud: Loud, pid: int) -> bool:
    process = loud.processes.running.pop("member-2")
    process.kill()
    process.wait()
    return True


def start_it_again(loud: Loud) -> None:
    process = loud.start_member(1, loud.folder / "litellm.json", "0s")
    wait_for_http(f"http://{loud.address(1)}:{loud.control_port}/health/readiness", seconds=60, process=process)


def elsewhere(name: str, was: Callable[[Loud], str], now: Callable[[Loud], str]) -> Callable[[Loud], Mapping[str, str]]:
    """Another keyturn.yaml, with one text replaced."""
    return lambda loud: {"KEYTURN_CONFIG": str(loud.edited(name, (was(loud), now(loud))))}


def member_2(loud: Loud) -> str:
    return f"http://127.0.0.2:{loud.control_port}"
