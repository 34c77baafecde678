"""A key of two parts: LiteLLM signs with both, under the supervisor, and a rotation turns both at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.material import KeyMaterial
from tests.walks.bedrock import PAIR, BedrockWalk
from tests.walks.walk import Way

pytestmark = pytest.mark.real


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[BedrockWalk]:
    made = BedrockWalk(tmp_path / "walk", credentials=(PAIR,))
    made.start_provider()
    yield made
    made.stop()


async def test_a_pair_turns_under_traffic_and_both_parts_are_seen_on_the_wire(walk: BedrockWalk) -> None:
    walk.write_configuration()
    walk.start_proxies([Way()] * 2)
    old = walk.key_id()
    async with walk.users() as users:
        assert walk.on_the_wire(PAIR) == [old, old]
        code, out = await asyncio.to_thread(walk.keyturn, "rotate", PAIR.name, "--json", "--wait")
        assert code == 0, out
        new = walk.key_id()
        assert walk.on_the_wire(PAIR) == [new, new]
    assert new != old
    assert set(users.answers) == {f"served-by {id}" for id in (old, new)}
    keys = {key.id: key.deleted for key in walk.iam.keys.values()}
    assert keys == {old: True, new: False}
    # What the members say they serve is the whole text.
    whole = KeyMaterial(walk.file.read_text()).fingerprint()
    told = [walk.member_status(n) for n in range(walk.members)]
    assert [each["versions"][PAIR.name]["fingerprint"] for each in told] == [whole] * 2
    assert [each["rolls"] for each in told] == [1, 1]
    # The candidate was tried through LiteLLM before anybody served it, after a garbage pair that was refused.
    strangers = [id for id in walk.bedrock.ids if id not in keys]
    assert strangers and walk.bedrock.ids.index(strangers[0]) < walk.bedrock.ids.index(new)
    assert "accepted: the provider answered through LiteLLM" in json.dumps(json.loads(out)["timeline"])
    assert walk.bedrock.tokens == []
    assert walk.leaks() == []
