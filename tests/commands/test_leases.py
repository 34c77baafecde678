"""Leases as status, plan and doctor show them, and as exec and env refuse them."""

from __future__ import annotations

import json

import pytest

from tests.commands.conftest import CONFIG, Terminal

PROXY = '  away: {kind: process, members: ["http://127.0.0.1:1"], control_token: env:CONTROL, master_key: env:MASTER}'
LEASES = """
leases:
  azure: {kind: azure_token, tenant: t, client_id: c, client_secret: env:ENTRA_SECRET, login_url: "http://127.0.0.1:1",
          proxies: [away, local]}
"""


@pytest.fixture
def leased(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("CONTROL", "the-control-token")
    monkeypatch.setenv("ENTRA_SECRET", "the-entra-secret")
    terminal.config.write_text(CONFIG.replace("proxies:\n  local:", f"proxies:\n{PROXY}\n  local:") + LEASES)
    return terminal


def test_status_shows_each_member_and_is_not_well_where_one_cannot_be_asked(leased: Terminal) -> None:
    found = leased.json("status", code=6)
    assert list(found) == ["openai-prod", "azure"]
    members = found["azure"]["members"]
    assert (found["azure"]["lease"], found["azure"]["variable"]) == ("azure_token", "AZURE_AD_TOKEN")
    assert "cannot be reached" in members["away/127.0.0.1:1"]["failure"]
    assert "does not tell" in members["local"]["failure"]
    assert list(leased.json("status", "azure", code=6)) == ["azure"]
    assert list(leased.json("status", "openai-prod")) == ["openai-prod"]
    assert "AZURE_AD_TOKEN" in leased.type("status").stdout


def test_plan_of_a_lease_says_what_is_called_and_touches_nothing(leased: Terminal) -> None:
    found = leased.json("plan", "azure")
    assert [row["step"] for row in found["steps"]] == ["token", "renew", "renew"]
    assert "oauth2/v2.0/token" in found["steps"][0]["call"]
    assert "two thirds" in found["risks"][0]
    assert "LiteLLM reads $AZURE_AD_TOKEN" in leased.type("plan", "azure").stdout


def test_doctor_tries_the_lease_and_says_what_to_do(leased: Terminal) -> None:
    result = leased.type("doctor", "--json")
    rows = {row["what"]: row for row in json.loads(result.stdout) if row["of"] == "azure"}
    assert rows["a token is given"]["ok"] is False
    assert "cannot be reached" in rows["a token is given"]["detail"]
    assert rows["away/127.0.0.1:1: token"]["remedy"]
    assert "the-entra-secret" not in result.output


@pytest.mark.parametrize("words", [("exec", "--proxy", "local", "--", "true"), ("env", "--proxy", "local")])
def test_what_would_give_a_token_once_and_never_again_refuses(leased: Terminal, words: tuple[str, ...]) -> None:
    result = leased.type(*words)
    assert result.exit_code == 2, result.output
    assert "nothing would replace them here" in result.output
    assert "--control" in result.output
