"""Every failure that the tests know how to cause, in the order of the pipeline.

What one failure leaves half-way, the next run goes on with: so a few rotations fail many times, each time at a later step.
"""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

from keyturn.testing.embedded import AWS, VAULT, Credential, Database
from keyturn.testing.openai_keys import openai_key
from keyturn.testing.processes import free_port
from tests.leaks.causes import (
    Cause,
    aws,
    behaviour,
    both,
    elsewhere,
    forgotten_afterwards,
    kill_a_supervisor,
    member_2,
    no_new_key_for_the_second_member,
    provider,
    refuse_calls,
    revoke_tokens,
    seal,
    sealed,
    send,
    somebody_changes_the_value,
    start_it_again,
    unsealed_afterwards,
)
from tests.leaks.loud import Loud, Ran

DONE, OUR_FAULT, BEFORE_PIVOT, AFTER_PIVOT, PENDING, NOT_WELL, ROLLED_BACK = 0, 1, 3, 4, 5, 6, 7


@dataclass(frozen=True)
class Failure:
    """One run that fails. `cause`: what is wrong around it. `moment`: the line of the run at which `act` happens; `act`
    tells whether the run is left to go on. `fault`: one of tests/leaks/faults.py. `code`, `says`: how it must end.
    `credential`: None for a command that takes none."""

    name: str
    code: int
    says: str
    cause: Cause = lambda loud: nullcontext()
    credential: Credential | None = VAULT
    words: tuple[str, ...] = ("rotate",)
    env: Callable[[Loud], Mapping[str, str]] = lambda loud: {}
    moment: tuple[str, str] | None = None
    act: Callable[[Loud, int], bool] | None = None
    fault: str = ""
    afterwards: Callable[[Loud], None] = field(default=lambda loud: None)

    def happen(self, loud: Loud) -> Ran:
        act = None if self.act is None else (lambda pid: self.act(loud, pid))  # type: ignore[misc]
        words = (*self.words, *([self.credential.name] if self.credential else []))
        with self.cause(loud):
            ran = loud.run(*words, env=self.env(loud), fault=self.fault, moment=self.moment, act=act)
        self.afterwards(loud)
        return ran


SWEEP = ("sweep", "--json")
LONG = ("rotate", "--overlap", "1h")

NOTHING_CREATED = (
    Failure(
        "the admin key is wrong",
        BEFORE_PIVOT,
        "put into env:OPENAI_ADMIN_KEY",
        env=lambda loud: {"OPENAI_ADMIN_KEY": openai_key("admin", loud.own_literal).reveal()},
    ),
    Failure("the vault is sealed", BEFORE_PIVOT, "is sealed", sealed),
    Failure("the vault is sealed: status", NOT_WELL, "sealed", sealed, words=("status",)),
    Failure("the vault is sealed: plan", NOT_WELL, "sealed", sealed, words=("plan",)),
    Failure("the vault is sealed: doctor", NOT_WELL, "sealed", sealed, None, ("doctor",)),
    Failure("the vault is sealed: env", NOT_WELL, "sealed", sealed, None, ("env", "--proxy", "local")),
    Failure("the vault is sealed: sweep", NOT_WELL, '"not seen"', sealed, None, SWEEP),
    Failure(
        "the vault takes no login",
        BEFORE_PIVOT,
        "refuses the approle login",
        env=lambda loud: {"VAULT_SECRET_ID": str(uuid.uuid4())},
    ),
    Failure("aws: the token has expired", BEFORE_PIVOT, "credentials", aws("*", "expired"), AWS),
    Failure(
        "a supervisor cannot be reached",
        BEFORE_PIVOT,
        "nothing was created",
        env=elsewhere("no-supervisor", member_2, lambda loud: f"http://127.0.0.2:{free_port()}"),
    ),
    Failure(
        "the proxy does not know the model",
        BEFORE_PIVOT,
        "gpt-5-nonesuch is not known",
        env=elsewhere("no-model", lambda loud: '"model": "gpt-4o-mini"', lambda loud: '"model": "gpt-5-nonesuch"'),
    ),
)

CREATE = (
    Failure("create: 401", BEFORE_PIVOT, "OpenAI answered 401", provider("create_key", "status", status=401)),
    Failure("create: 429", BEFORE_PIVOT, "OpenAI answered 429", provider("create_key", "throttle", retry_after=1)),
    Failure("create: 500", BEFORE_PIVOT, "OpenAI answered 500", provider("create_key", "status", status=500)),
    Failure(
        "create: 500, and the key was made", BEFORE_PIVOT, "500", provider("create_key", "status", status=500, commit=True)
    ),
    Failure("create: no JSON", BEFORE_PIVOT, "not a key", provider("create_key", "html", status=200)),
    Failure("create: a fault of ours", BEFORE_PIVOT, "RuntimeError at", fault="create_ends_in_a_runtime_error"),
)

UNDONE = (
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
    Failure("write: a fault of ours", BEFORE_PIVOT, "ValueError at", fault="write_ends_in_a_value_error_with_causes"),
    Failure("write: vault's library fails", BEFORE_PIVOT, "does not answer", fault="vaults_library_fails_with_its_request"),
    # A sweep tries AWS's again, and leaves alone what is parked.
    Failure("parked", NOT_WELL, "runs in a row failed", aws("PutSecretValue", "denied"), None, SWEEP),
    Failure(
        "aws: its library fails with the request",
        BEFORE_PIVOT,
        "AWS",
        credential=AWS,
        fault="awss_library_fails_with_its_request",
    ),
    Failure("write: vault's adapter fails", BEFORE_PIVOT, "LookupError at", fault="vaults_adapter_fails_with_its_request"),
    Failure(
        "validate: something below it fails",
        BEFORE_PIVOT,
        "ConnectionAbortedError at",
        fault="something_below_the_http_library_fails_with_its_request",
    ),
)

LOOKING = tuple(
    Failure(
        f"{words[0]}: a fault of ours",
        code,
        "RuntimeError at",
        credential=credential,
        words=words,
        fault="vaults_adapter_fails_with_its_answer",
    )
    for words, credential, code in (
        (("rotate", "--dry-run"), VAULT, BEFORE_PIVOT),
        (("retire",), VAULT, PENDING),
        (("status", "--json"), None, OUR_FAULT),
        (("plan", "--json"), VAULT, OUR_FAULT),
        (("env", "--proxy", "local"), None, OUR_FAULT),
        (("exec", "--proxy", "local", "--control", "unix:nobody.sock", "--", "true"), None, OUR_FAULT),
        (SWEEP, None, NOT_WELL),
    )
)

# One rotation that dies at every step.
HALF_WAY = (
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
    Failure("the canary cannot tell", BEFORE_PIVOT, "could not tell", provider("chat", "status", status=500)),
    Failure("killed after promote", -9, "is now the new key", moment=("promote", "is now"), act=send(signal.SIGKILL)),
    Failure("roll: a fault of ours", AFTER_PIVOT, "ExceptionGroup at", fault="roll_ends_in_a_group_of_errors"),
    Failure(
        "going back is not finished",
        AFTER_PIVOT,
        "going back was not finished",
        both(no_new_key_for_the_second_member, unsealed_afterwards),
        moment=("rollback", "is the previous key again"),
        act=seal,
    ),
    Failure("killed on the way back", -9, "previous key", moment=("roll", "serves the previous"), act=send(signal.SIGKILL)),
    Failure("the next run ends the way back", DONE, "no deployment retire/keyturn", words=LONG),
    Failure("a member does not take the new key", ROLLED_BACK, "served again by every", no_new_key_for_the_second_member),
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
        "going back was not finished",
        forgotten_afterwards,
        moment=("roll", "every member serves"),
        act=refuse_calls(401, code="invalid_api_key"),
    ),
    Failure(
        "a member does not take the new key, in an incident",
        AFTER_PIVOT,
        "came back without",
        no_new_key_for_the_second_member,
        words=("rotate", "--reason", "incident"),
    ),
    Failure("closing: a fault of ours", AFTER_PIVOT, "OSError at", fault="the_closing_of_connections_fails"),
    Failure("revoke: 500", PENDING, "OpenAI answered 500", provider("delete_key", "status", status=500)),
    Failure("revoke: a fault of ours", PENDING, "UnicodeDecodeError at", fault="revoke_ends_in_an_error_with_notes"),
    Failure("killed after the delete", -9, "deleted key_", moment=("revoke", "deleted"), act=send(signal.SIGKILL)),
    Failure("the next run ends what was killed", DONE, "old key refused", words=("retire",)),
)

# Some that go through, though something fails.
THROUGH = (
    Failure("create: the answer is lost", DONE, "the answer was lost", provider("create_key", "lose_answer", times=1), AWS),
    Failure(
        "the vault's tokens are revoked",
        DONE,
        "staged in",
        words=LONG,
        moment=("create", "created key_"),
        act=revoke_tokens,
    ),
    Failure("aws: an answer is lost", DONE, "staged in", aws("PutSecretValue", "lost", 1), AWS),
)

BY_HAND = (
    Failure(
        "rollback: a fault of ours",
        BEFORE_PIVOT,
        "ValueError at",
        words=("rollback",),
        fault="promote_ends_in_a_value_error",
    ),
    Failure(
        "rollback: the vault is sealed meanwhile",
        AFTER_PIVOT,
        "sealed",
        unsealed_afterwards,
        words=("rollback",),
        moment=("rollback", "is the previous key again"),
        act=seal,
    ),
    Failure(
        "rollback: the key taken back cannot be revoked",
        DONE,
        "OpenAI answered 500",
        provider("delete_key", "status", status=500),
        words=("rollback", "--json"),
    ),
    Failure("sweep: parked by hand", NOT_WELL, "rolled back: by hand", credential=None, words=("sweep",)),
    Failure("retire", DONE, "deleted key_", words=("retire", "--now", "--json")),
)

AT_THE_END = (
    Failure(
        "the end of the flow: a fault of ours",
        AFTER_PIVOT,
        "RuntimeError at",
        fault="the_end_of_the_flow_fails_outside_of_any_task",
    ),
    Failure(
        "the end of a sweep: a fault of ours",
        NOT_WELL,
        "OSError at",
        credential=None,
        words=SWEEP,
        fault="the_closing_of_connections_fails",
    ),
    Failure(
        "the deleted key is still accepted",
        PENDING,
        "not seen to be refused",
        behaviour({"refuse_delay": 600}, {"refuse_delay": 0}),
        AWS,
    ),
)

# Each of them over one of the two databases: Prefect's clients do not know which it is. What fails outside of any task
# over both.
FAILURES: Mapping[Database, tuple[Failure, ...]] = {
    "sqlite": (*NOTHING_CREATED, *CREATE, *UNDONE, *LOOKING, *THROUGH, *BY_HAND, *AT_THE_END),
    "postgres": (*HALF_WAY, *AT_THE_END),
}
