"""Bootstrap: keys are read once, by the launcher that becomes LiteLLM; something else restarts the members.

Once with Vault and once with AWS Secrets Manager. The process manager is a script of ours, where a machine has systemd: the
fleet of kind `command` runs it for one member after the other, once the balancer has been told by a file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from keyturn.material import KeyMaterial
from keyturn.testing.embedded import AWS, READY_SECONDS, VAULT, Credential, keyturn_program
from keyturn.testing.litellm import Deployment, command, executable, write_config
from keyturn.testing.processes import wait_for_http
from tests.walks import process_manager
from tests.walks.walk import ROOT, Walk

pytestmark = pytest.mark.real

GRACE = 60  # seconds


class Launched:
    """The members of a walk, started by `keyturn exec` without --control. `outside`: where nobody looks for leaks."""

    def __init__(self, walk: Walk, credential: Credential, outside: Path) -> None:
        self.walk, self.credential, self.outside = walk, credential, outside
        outside.mkdir()

    def state(self, n: int) -> Path:
        return self.outside / f"member-{n + 1}.json"

    def pid(self, n: int) -> int:
        return int(json.loads(self.state(n).read_text())["pid"])

    def restart(self, n: int) -> list[str]:
        return [sys.executable, str(Path(process_manager.__file__)), str(self.outside / f"member-{n + 1}.start.json")]

    def fleet(self) -> dict[str, Any]:
        members = [
            {
                "url": url,
                "restart": self.restart(n),
                "state": str(self.state(n)),
                **self.walk.leave_and_return(self.walk.address(n)),
            }
            for n, url in enumerate(self.walk.member_urls)
        ]
        return {"kind": "command", "members": members, "drain": "3s", "master_key": "env:LITELLM_MASTER_KEY"}

    def start(self) -> None:
        for n in range(self.walk.members):
            self._specify(n)
            process_manager.main(self.outside / f"member-{n + 1}.start.json")
        for url in self.walk.member_urls:
            wait_for_http(f"{url}/health/readiness", seconds=READY_SECONDS)
        self.walk.start_balancer(supervised=False, gated=True)

    def _specify(self, n: int) -> None:
        walk, each = self.walk, self.credential
        deployment = Deployment(
            f"{each.name}-1", f"{walk.provider_url}/v1", each.model, each.variable, f"openai/{each.model}"
        )
        config = write_config(walk.folder / f"litellm-{n + 1}.json", [deployment])
        program: list[str | Path] = [keyturn_program(), "exec", "--proxy", "local", "--state", self.state(n), "--"]
        environ = dict(walk.environ)
        if walk.proxy == "litellm":
            how = command(config, walk.proxy_port, KeyMaterial(walk.environ["LITELLM_MASTER_KEY"]), executable())
            program += [walk.address(n) if word == "127.0.0.1" else word for word in how.argv]
            environ = {**how.env, **environ}
        else:
            program += [sys.executable, "-m", "keyturn.testing.stand_in", "--config", config]
            program += ["--host", walk.address(n), "--port", str(walk.proxy_port)]
        specification = {
            "command": [str(word) for word in program],
            "environ": {"PATH": "/usr/bin:/bin", "HOME": str(walk.folder), "PYTHONPATH": str(ROOT), **environ},
            "log": str(walk.folder / "logs" / f"member-{n + 1}.log"),
            "pid": str(self.outside / f"member-{n + 1}.pid"),
            "grace": GRACE,
        }
        (self.outside / f"member-{n + 1}.start.json").write_text(json.dumps(specification))

    def stop(self) -> None:
        for n in range(self.walk.members):
            process_manager.stop(self.outside / f"member-{n + 1}.pid", grace=5)


@contextmanager
def launched(walk: Walk, credential: Credential, outside: Path) -> Iterator[Launched]:
    members = Launched(walk, credential, outside)
    content = json.loads(walk.config.read_text())
    content["proxies"]["local"] = members.fleet()
    walk.config.write_text(json.dumps(content, indent=2))
    try:
        members.start()
        yield members
    finally:
        members.stop()


@pytest.mark.parametrize("proxy", ["stand-in", "litellm"])
@pytest.mark.parametrize("store", ["vault", "aws"])
async def test_members_are_restarted_one_by_one_and_no_request_fails(
    store: str, proxy: Literal["stand-in", "litellm"], walks: Callable[..., Walk], tmp_path: Path
) -> None:
    credential = VAULT if store == "vault" else AWS
    walk = walks(credentials=(credential,), proxy=proxy)
    walk.start_vault() if store == "vault" else walk.start_aws()
    walk.write_configuration()
    with launched(walk, credential, tmp_path / "outside") as members:
        before = [members.pid(n) for n in range(walk.members)]
        async with walk.under_traffic():
            old, new = await walk.rotate(credential)
            assert walk.on_the_wire(credential) == [new, new]
        after = [members.pid(n) for n in range(walk.members)]
        assert not set(before) & set(after)
        # Whoever finds it rotated restarts nobody.
        code, out = walk.keyturn("retire", credential.name)
        assert code == 0, out
        assert [members.pid(n) for n in range(walk.members)] == after
        assert old != new
        assert walk.leaks() == []
