"""The supervisor: `keyturn exec --control` restarts LiteLLM gently when it is asked to, once it is out of the balancer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest

from keyturn.testing.embedded import VAULT
from tests.walks.walk import Walk, Way

pytestmark = pytest.mark.real

LITELLM = pytest.param("litellm", marks=[pytest.mark.compat, pytest.mark.timeout(1800)])  # a minute on an idle machine


@pytest.mark.parametrize("proxy", ["stand-in", LITELLM])
async def test_each_member_leaves_the_balancer_restarts_and_comes_back(
    proxy: Literal["stand-in", "litellm"], walks: Callable[..., Walk]
) -> None:
    walk = walks(credentials=(VAULT,), proxy=proxy)
    walk.start_vault()
    walk.write_configuration()
    walk.start_proxies([Way(lacks=("OPENAI_ADMIN_KEY",))] * 2)
    before = walk.pids()
    async with walk.under_traffic():
        old, new = await walk.rotate(VAULT)
        assert walk.on_the_wire(VAULT) == [new, new]
    assert not set(before) & set(walk.pids())
    assert [walk.member_status(n)["rolls"] for n in range(walk.members)] == [1, 1]
    assert old != new
    assert walk.leaks() == []
