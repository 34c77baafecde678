"""Leases in keyturn.yaml: beside credentials or alone, and refused where they would be in another's way."""

from __future__ import annotations

import pytest

from keyturn.config import parse
from tests.test_config import GOOD, faults

LEASES = """
leases:
  bedrock: {kind: bedrock_token, region: us-east-1, proxies: [local]}
  azure: {kind: azure_token, tenant: t, client_id: c, client_secret: env:ENTRA_SECRET, proxies: [local], refresh_before: 20m}
"""
PROXIES = """
proxies:
  local: {kind: process, members: ["http://127.0.0.1:4001"], control_token: env:T, master_key: env:M}
"""


def test_leases_stand_beside_credentials_or_alone() -> None:
    for source in (GOOD + LEASES, PROXIES + LEASES):
        config = parse(source)
        assert config.leased("local") == {"bedrock": "AWS_BEARER_TOKEN_BEDROCK", "azure": "AZURE_AD_TOKEN"}
        assert config.leased("other") == {}
    assert parse(GOOD).leases == {}


def test_without_leases_every_section_is_needed_and_an_empty_one_is_a_fault() -> None:
    missing = "is missing or empty: name at least one"
    assert f"credentials (line 2): {missing}" in faults(PROXIES)
    assert f"leases (line 19): {missing}" in faults(GOOD + "leases: {}\n")
    assert f"proxies (line 2): {missing}" in faults(LEASES)
    assert f"stores (line 8): {missing}" in faults(PROXIES + LEASES + "stores: {}\n")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  bedrock: {", "  openai-prod: {", "leases.openai-prod (line 21): is the name of a credential, too"),
        (
            "region: us-east-1",
            "region: us-east-1, env: OPENAI_API_KEY",
            "openai-prod would both be $OPENAI_API_KEY of local",
        ),
        ("region: us-east-1", "region: us-east-1, env: AZURE_AD_TOKEN", "bedrock would both be $AZURE_AD_TOKEN of local"),
        ("proxies: [local]}", "proxies: [nowhere]}", "names nothing in proxies"),
        ("kind: bedrock_token", "kind: bedrok_token", "use one of: azure_token, bedrock_token"),
        ("client_secret: env:ENTRA_SECRET", "client_secret: hunter2", "must be a reference to a secret"),
        ("client_secret: env:ENTRA_SECRET", "client_secret: store:nowhere/path#f", "names nothing in stores"),
        ("refresh_before: 20m", "refresh_before: 5s", "longer than least_left"),
        ("refresh_before: 20m", "refresh_after: 20m", "unknown setting"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place_and_never_quoted(old: str, new: str, said: str) -> None:
    source = GOOD + LEASES.replace(old, new, 1)
    assert said in faults(source)
    assert "hunter2" not in faults(source)


@pytest.mark.parametrize(
    "kind",
    [
        '{kind: command, master_key: env:M, members: [{url: "http://127.0.0.1:4011", restart: [x], state: /run/x}]}',
        '{kind: litellm_credentials, master_key: env:M, members: ["http://127.0.0.1:4011"]}',
    ],
)
def test_proxies_that_nothing_supervises_cannot_have_one(kind: str) -> None:
    source = PROXIES.rstrip("\n") + f"\n  units: {kind}\n" + LEASES.replace("proxies: [local]", "proxies: [local, units]", 1)
    assert "leases.bedrock.proxies.1" in faults(source)
    assert "started without a supervisor" in faults(source)


def test_keyturn_itself_has_no_use_for_one() -> None:
    itself = "\n  itself: {kind: keyturn}\n"
    source = PROXIES.rstrip("\n") + itself + LEASES.replace("proxies: [local]", "proxies: [local, itself]", 1)
    assert "leases.bedrock.proxies.1" in faults(source)
    assert "calls no model" in faults(source)
