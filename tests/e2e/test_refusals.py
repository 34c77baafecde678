"""Whatever is wrong: each run ends at its step, names the remedy, and the old key is served."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from keyturn.testing.embedded import AWS, BUNDLE, VAULT, Credential
from keyturn.testing.processes import free_port
from tests.e2e.conftest import Installation

pytestmark = pytest.mark.real

BEFORE_PIVOT = 3


@contextmanager
def nothing_changes(installation: Installation, credential: Credential, *, makes: int = 0) -> Iterator[None]:
    """The block may fail as it likes: the same key is current, served, and the only one that lives.

    `makes`: how many keys are created in it, where that cannot be avoided.
    """
    made = len(installation.provider_keys())
    before, rolls = installation.fingerprint(credential), installation.rolls()
    live = [key["id"] for key in installation.live_keys(credential)]
    yield
    assert len(installation.provider_keys()) == made + makes
    assert installation.fingerprint(credential) == before
    assert [key["id"] for key in installation.live_keys(credential)] == live, "a new key, if any, is revoked"
    assert installation.rolls() == rolls
    for member in range(installation.members):
        assert installation.member_status(member)["versions"][credential.name]["fingerprint"] == before


def test_a_wrong_admin_key_stops_before_anything_is_created(installation: Installation) -> None:
    wrong = "sk-admin-" + secrets.token_hex(16)
    with nothing_changes(installation, VAULT):
        code, out = installation.keyturn("rotate", VAULT.name, env={"OPENAI_ADMIN_KEY": wrong})
    assert code == BEFORE_PIVOT
    assert "admin key" in out and "what to do" in out
    assert wrong not in out


def test_a_sealed_vault_stops_before_anything_is_created(installation: Installation) -> None:
    with nothing_changes(installation, VAULT):
        installation.bao.seal()
        try:
            code, out = installation.keyturn("rotate", VAULT.name)
        finally:
            installation.bao.unseal()
    assert code == BEFORE_PIVOT
    assert "sealed" in out and "unseal" in out


def test_a_vault_token_that_may_not_write_stops_before_anything_is_created(installation: Installation) -> None:
    reading = "\n".join(
        f'path "secret/{kind}/{path}" {{ capabilities = ["read"] }}'
        for kind in ("data", "metadata")
        for path in (BUNDLE, f"keyturn/{BUNDLE}/*")
    )
    role = installation.bao.app_role(reading, name="reader")
    env = {"VAULT_ROLE_ID": role.role_id, "VAULT_SECRET_ID": role.secret_id}
    with nothing_changes(installation, VAULT):
        code, out = installation.keyturn("rotate", VAULT.name, env=env)
    assert code == BEFORE_PIVOT
    assert "nothing was created" in out and "capabilities" in out, "the remedy is the policy's text"


def test_an_aws_role_that_may_not_write_ends_at_write_with_the_new_key_revoked(installation: Installation) -> None:
    fault = {"operation": "PutSecretValue", "kind": "denied", "times": 0}
    # AWS shows only by writing that it may not be written.
    with nothing_changes(installation, AWS, makes=1):
        httpx.post(f"{installation.aws_url}/_double/faults", json=fault, trust_env=False).raise_for_status()
        try:
            code, out = installation.keyturn("rotate", AWS.name)
        finally:
            httpx.delete(f"{installation.aws_url}/_double/faults", trust_env=False)
    assert code == BEFORE_PIVOT
    assert "secretsmanager:PutSecretValue" in out


def test_an_unreachable_proxy_stops_before_anything_is_created(installation: Installation) -> None:
    url = installation.member_urls[1]
    config = installation.edited("unreachable", (url, url.replace(str(installation.proxy_port), str(free_port()))))
    with nothing_changes(installation, VAULT):
        code, out = installation.keyturn("rotate", VAULT.name, config=config)
    assert code == BEFORE_PIVOT
    assert "nothing was created" in out and "127.0.0.2" in out


def test_an_unreachable_supervisor_stops_before_anything_is_created(installation: Installation) -> None:
    url = f"http://127.0.0.2:{installation.control_port}"
    config = installation.edited("no-supervisor", (url, f"http://127.0.0.2:{free_port()}"))
    with nothing_changes(installation, VAULT):
        code, out = installation.keyturn("rotate", VAULT.name, config=config)
    assert code == BEFORE_PIVOT
    assert "nothing was created" in out and "keyturn exec" in out


def test_a_canary_model_that_the_proxy_does_not_have_stops_before_anything_is_created(installation: Installation) -> None:
    config = installation.edited("no-model", ('"model": "gpt-4o-mini"', '"model": "gpt-5-nonesuch"'))
    with nothing_changes(installation, VAULT):
        code, out = installation.keyturn("rotate", VAULT.name, config=config)
    assert code == BEFORE_PIVOT
    assert "gpt-5-nonesuch is not known to the proxy; it has: gpt-4o, gpt-4o-mini" in out


def test_a_canary_model_that_the_provider_does_not_have_stops_before_anything_is_created(installation: Installation) -> None:
    with nothing_changes(installation, VAULT):
        installation.tell_provider("behaviour", models=["gpt-4o"])
        try:
            code, out = installation.keyturn("rotate", VAULT.name)
        finally:
            installation.tell_provider("behaviour", models=["gpt-4o-mini", "gpt-4o"])
    assert code == BEFORE_PIVOT
    assert "nothing was created" in out and "model" in out


def test_a_new_key_that_stays_refused_is_undone(installation: Installation) -> None:
    config = installation.edited("impatient", ('"model": "gpt-4o-mini"', '"model": "gpt-4o-mini", "propagation": "2s"'))
    with nothing_changes(installation, VAULT, makes=1):
        installation.tell_provider("behaviour", accept_delay=600)
        try:
            code, out = installation.keyturn("rotate", VAULT.name, config=config)
        finally:
            installation.tell_provider("behaviour", accept_delay=0)
    assert code == BEFORE_PIVOT
    assert "refuses the new key" in out and "what to do" in out


def test_after_all_of_that_a_rotation_succeeds(installation: Installation) -> None:
    for credential in (VAULT, AWS):
        outcome = installation.rotate_json(credential)
        assert outcome["result"] == "rotated, old key refused"
        assert len(installation.live_keys(credential)) == 1
