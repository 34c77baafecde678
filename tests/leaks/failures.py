"""Every failure that the tests know how to cause, in the order of the pipeline.

What one failure leaves half-way, the next run goes on with: so a few rotations fail many times, each time at a later step.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import httpx

from keyturn.testing.embedded import ACCOUNT, AWS, BUNDLE, PROJECT, VAULT, Credential
from keyturn.testing.openai_keys import openai_key
from keyturn.testing.processes import free_port, wait_for_http
from tests.leaks.loud import Loud, Ran

DONE, BEFORE_PIVOT, AFTER_PIVOT, PENDING, NOT_WELL = 0, 3, 4, 5, 6

Cause = Callable[[Loud], AbstractContextManager[None]]


@dataclass(frozen=True)
class Failure:
    """One run that fails. `cause`: what is wrong around it. `moment`: the line of the run at which `act` happens; `act`
    tells whether the run is left to go on. `fault`: one of tests/leaks/faults.py. `code`, `says`: how it must end."""

    name: str
    code: int
    says: str
    cause: Cause = lambda loud: nullcontext()
    credential: Credential = VAULT
    words: tuple[str, ...] = ("rotate",)
    env: Callable[[Loud], Mapping[str, str]] = lambda loud: {}
    moment: tuple[str, str] | None = None
    act: Callable[[Loud, int], bool] | None = None
    fault: str = ""
    afterwards: Callable[[Loud], None] = field(default=lambda loud: None)

    def happen(self, loud: Loud) -> Ran:
        act = None if self.act is None else (lambda pid: self.act(loud, pid))  # type: ignore[misc]
        with self.cause(loud):
            ran = loud.run(
                *self.words, self.credential.name, env=self.env(loud), fault=self.fault, moment=self.moment, act=act
            )
        self.afterwards(loud)
        return ran


# Causes -----------------------------------------------------------------------------------------------------------------


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
def members_take_no_new_key(loud: Loud) -> Iterator[None]:
    """They start with the keys of now alone. (A run that has promoted already finds the new one to be one of them.)"""
    versions = [loud.member_status(n)["versions"] for n in range(loud.members)]
    held = {version["fingerprint"] for member in versions for version in member.values()}
    only = loud.folder / "only"
    only.write_text(" ".join(held))
    try:
        yield
    finally:
        only.unlink()


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


def _elsewhere(name: str, was: Callable[[Loud], str], now: Callable[[Loud], str]) -> Callable[[Loud], Mapping[str, str]]:
    """Another keyturn.yaml, with one text replaced."""
    return lambda loud: {"KEYTURN_CONFIG": str(loud.edited(name, (was(loud), now(loud))))}


def _member_2(loud: Loud) -> str:
    return f"http://127.0.0.2:{loud.control_port}"


# The list ---------------------------------------------------------------------------------------------------------------

FAILURES: tuple[Failure, ...] = (
    # Nothing is created.
    Failure(
        "the admin key is wrong",
        BEFORE_PIVOT,
        "put into env:OPENAI_ADMIN_KEY",
        env=lambda loud: {"OPENAI_ADMIN_KEY": openai_key("admin", loud.own_literal).reveal()},
    ),
    Failure("the vault is sealed", BEFORE_PIVOT, "is sealed", sealed),
    Failure("the vault is sealed: status", NOT_WELL, "sealed", sealed, words=("status",)),
    Failure("the vault is sealed: plan", NOT_WELL, "sealed", sealed, words=("plan",)),
    Failure(
        "the vault takes no login",
        BEFORE_PIVOT,
        "refuses the AppRole login",
        env=lambda loud: {"VAULT_SECRET_ID": str(uuid.uuid4())},
    ),
    Failure("aws: the token has expired", BEFORE_PIVOT, "credentials", aws("*", "expired"), AWS),
    Failure(
        "a supervisor cannot be reached",
        BEFORE_PIVOT,
        "nothing was created",
        env=_elsewhere("no-supervisor", _member_2, lambda loud: f"http://127.0.0.2:{free_port()}"),
    ),
    Failure(
        "the proxy does not know the model",
        BEFORE_PIVOT,
        "gpt-5-nonesuch is not known",
        env=_elsewhere("no-model", lambda loud: '"model": "gpt-4o-mini"', lambda loud: '"model": "gpt-5-nonesuch"'),
    ),
    # Create.
    Failure("create: 401", BEFORE_PIVOT, "OpenAI answered 401", provider("create_key", "status", status=401)),
    Failure("create: 429", BEFORE_PIVOT, "OpenAI answered 429", provider("create_key", "throttle", retry_after=1)),
    Failure("create: 500", BEFORE_PIVOT, "OpenAI answered 500", provider("create_key", "status", status=500)),
    Failure(
        "create: 500, and the key was made", BEFORE_PIVOT, "500", provider("create_key", "status", status=500, commit=True)
    ),
    Failure("create: no JSON", BEFORE_PIVOT, "not a key", provider("create_key", "html", status=200)),
    Failure("create: a fault of ours", BEFORE_PIVOT, "RuntimeError at", fault="create_ends_in_a_runtime_error"),
    # Undone.
    Failure(
        "the new key stays refused",
        BEFORE_PIVOT,
        "refuses the new key",
        behaviour({"accept_delay": 600}, {"accept_delay": 0}),
    ),
    Failure(
        "somebody changes the value meanwhile",
        BEFORE_PIVOT,
        "promote",
        moment=("validate", "accepted"),
        act=somebody_changes_the_value,
    ),
    Failure("aws: may not write", BEFORE_PIVOT, "secretsmanager:PutSecretValue", aws("PutSecretValue", "denied"), AWS),
    Failure(
        "aws: its library fails with the request",
        BEFORE_PIVOT,
        "AWS",
        credential=AWS,
        fault="awss_library_fails_with_its_request",
    ),
    Failure("write: a fault of ours", BEFORE_PIVOT, "ValueError at", fault="write_ends_in_a_value_error_with_causes"),
    Failure("write: vault's library fails", BEFORE_PIVOT, "does not answer", fault="vaults_library_fails_with_its_request"),
    Failure("write: vault's adapter fails", BEFORE_PIVOT, "LookupError at", fault="vaults_adapter_fails_with_its_request"),
    Failure(
        "validate: something below it fails",
        BEFORE_PIVOT,
        "ConnectionAbortedError at",
        fault="something_below_the_http_library_fails_with_its_request",
    ),
    # One rotation that dies at every step.
    Failure("killed after create", -9, "created key_", moment=("create", "created key_"), act=send(signal.SIGKILL)),
    Failure("aborted after create", -6, "Fatal Python error", moment=("create", "created key_"), act=send(signal.SIGABRT)),
    Failure(
        "the vault is sealed after create",
        BEFORE_PIVOT,
        "is sealed",
        unsealed_afterwards,
        moment=("create", "created key_"),
        act=seal,
    ),
    Failure("interrupted after create", 130, "created", moment=("create", "created key_"), act=send(signal.SIGINT)),
    Failure("terminated after write", -15, "staged in", moment=("write", "staged in"), act=send(signal.SIGTERM)),
    Failure(
        "validate: the http library fails", BEFORE_PIVOT, "could not tell", fault="the_http_library_fails_with_its_request"
    ),
    Failure(
        "the canary cannot tell",
        BEFORE_PIVOT,
        "could not tell",
        provider("chat", "status", status=500),
    ),
    Failure("killed after promote", -9, "is now the new key", moment=("promote", "is now"), act=send(signal.SIGKILL)),
    Failure("members do not come back with the new key", AFTER_PIVOT, "came back without", members_take_no_new_key),
    Failure("roll: a fault of ours", AFTER_PIVOT, "ExceptionGroup at", fault="roll_ends_in_a_group_of_errors"),
    Failure("killed in the roll", -9, "serves the new key", moment=("roll", "serves the new"), act=send(signal.SIGKILL)),
    Failure(
        "a supervisor dies",
        AFTER_PIVOT,
        "cannot be reached",
        moment=("observe", ""),
        act=kill_a_supervisor,
        afterwards=start_it_again,
    ),
    Failure(
        "a member's calls are refused",
        AFTER_PIVOT,
        "prove",
        forgotten_afterwards,
        moment=("roll", "every member serves"),
        act=refuse_calls(401, code="invalid_api_key"),
    ),
    Failure("closing: a fault of ours", AFTER_PIVOT, "OSError at", fault="the_closing_of_connections_fails"),
    Failure("revoke: 500", PENDING, "OpenAI answered 500", provider("delete_key", "status", status=500)),
    Failure("revoke: a fault of ours", PENDING, "UnicodeDecodeError at", fault="revoke_ends_in_an_error_with_notes"),
    Failure("killed after the delete", -9, "deleted key_", moment=("revoke", "deleted"), act=send(signal.SIGKILL)),
    Failure("the next run ends what was killed", DONE, "old key refused", words=("retire",)),
    # Some that go through, though something fails.
    Failure("create: the answer is lost", DONE, "the answer was lost", provider("create_key", "lose_answer", times=1), AWS),
    Failure("the vault's tokens are revoked", DONE, "staged in", moment=("create", "created key_"), act=revoke_tokens),
    Failure("aws: an answer is lost", DONE, "staged in", aws("PutSecretValue", "lost", 1), AWS),
    # And at the very end.
    Failure(
        "the end of the flow: a fault of ours",
        AFTER_PIVOT,
        "RuntimeError at",
        fault="the_end_of_the_flow_fails_outside_of_any_task",
    ),
    Failure(
        "the deleted key is still accepted",
        PENDING,
        "not seen to be refused",
        behaviour({"refuse_delay": 600}, {"refuse_delay": 0}),
        AWS,
    ),
)
