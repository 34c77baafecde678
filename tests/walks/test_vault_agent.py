"""A sidecar: Vault Agent renders the keys, and the members have no access to the store."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from keyturn.config import load
from keyturn.delivery.agent.vault_agent import policy
from keyturn.delivery.agent.wanted import Choices, Plan
from keyturn.testing.bao_agent import log_in_with, start_agent
from keyturn.testing.embedded import VAULT
from tests.delivery.supervised import until
from tests.walks.walk import Walk, Way

pytestmark = pytest.mark.real

LOGIN = ("VAULT_ROLE_ID", "VAULT_SECRET_ID", "OPENAI_ADMIN_KEY")


def start_agents(walk: Walk, outside: Path) -> tuple[list[subprocess.Popen[bytes]], list[Path]]:
    """An agent for each member, by what the command writes, with a role that may read and nothing else."""
    role = walk.bao.app_role(policy(Plan.of(load(walk.config), "local", ("vault_kv2",), Choices())), "litellm")
    agents, rendered = [], []
    for n in range(walk.members):
        folder = outside / f"member-{n + 1}"
        rendered.append(folder / "keys.env")
        options = ("--rendered", str(rendered[-1]), "--logins", str(log_in_with(role, folder)), "--interval", "1s")
        code, out = walk.keyturn("agent-config", "--proxy", "local", "--out", str(folder), *options)
        assert code == 0, out
        agents.append(start_agent(walk.processes, folder / "agent.hcl", f"agent-{n + 1}"))
    return agents, rendered


@pytest.mark.parametrize("proxy", ["stand-in", "litellm"])
async def test_a_roll_waits_for_the_render_and_no_request_fails(
    proxy: Literal["stand-in", "litellm"], walks: Callable[..., Walk], tmp_path: Path
) -> None:
    walk = walks(credentials=(VAULT,), proxy=proxy)
    walk.start_vault()
    walk.write_configuration()
    agents, rendered = start_agents(walk, tmp_path / "outside")
    walk.start_proxies([Way(("--env-file", path), lacks=LOGIN) for path in rendered])

    async with walk.under_traffic():
        old = walk.fingerprint(VAULT)
        for agent in agents:
            agent.send_signal(signal.SIGSTOP)  # nothing is rendered for now
        rotation = asyncio.create_task(walk.rotate(VAULT))
        try:
            await until(lambda: rotation.done() or walk.member_status(0)["waiting"], 240)
            assert not rotation.done(), rotation.result()
            wanted = walk.fingerprint(VAULT)
            first = walk.member_status(0)
            assert (first["state"], first["starts"], first["waiting"]) == ("serving", 1, {VAULT.name: wanted})
            assert wanted != old
            assert walk.on_the_wire(VAULT) == [old, old]
        finally:
            for agent in agents:
                agent.send_signal(signal.SIGCONT)
        assert await rotation == (old, wanted)
        assert walk.on_the_wire(VAULT) == [wanted, wanted]

        assert (await walk.rotate(VAULT))[0] == wanted  # it is rendered again
        assert walk.on_the_wire(VAULT) == [walk.fingerprint(VAULT)] * 2

    for n in range(walk.members):
        status = walk.member_status(n)
        assert (status["starts"], status["rolls"], status["waiting"]) == (3, 2, {})
    assert walk.leaks() == []
