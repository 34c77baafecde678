"""keyturn status, doctor and plan on real parts: what they say, that reading is all they need, that they touch nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import hvac
import pytest

from keyturn.testing.embedded import AWS, BUNDLE, VAULT, Credential
from keyturn.testing.openai_endpoints import OPERATIONS
from tests.e2e.conftest import Installation

pytestmark = pytest.mark.real

BOTH = pytest.mark.parametrize("credential", [VAULT, AWS], ids=["vault", "aws"])
READS_AT_AWS = {"DescribeSecret", "GetSecretValue"}
READ_ONLY = "".join(
    f'path "secret/{path}" {{ capabilities = ["read"] }}\n'
    for path in (f"data/{BUNDLE}", f"data/keyturn/{BUNDLE}/*", f"metadata/keyturn/{BUNDLE}/*")
)


def looked(installation: Installation, *words: str, code: int = 0, env: Mapping[str, str] | None = None) -> Any:
    """The JSON of a command that must end with this code."""
    found, out = installation.keyturn(*words, "--json", env=env)
    assert found == code, out
    return json.loads(out)


@BOTH
def test_status_tells_what_is_served(credential: Credential, installation: Installation) -> None:
    facts = looked(installation, "status")[credential.name]
    current = installation.fingerprint(credential)
    assert facts["stages"]["current"] == current
    assert list(facts["serving"]["local"].values()) == [current] * installation.members
    assert facts["next"]["step"] == "create"
    assert (facts["strays"], facts["problems"]) == (0, [])


def test_doctor_finds_everything_well(installation: Installation) -> None:
    code, out = installation.keyturn("doctor", "--json")
    rows = json.loads(out[: out.rindex("]") + 1])
    # Whether anybody has registered the deployments depends on which tests ran before.
    bad = [row for row in rows if row["ok"] is False and row["what"] != "deployment retire/keyturn"]
    assert bad == []
    assert code == (6 if any(row["ok"] is False for row in rows) else 0)
    assert {row["of"] for row in rows} == {"prefect", "provider openai-org", "proxies local", VAULT.name, AWS.name}
    (login,) = [row for row in rows if row["of"] == "provider openai-org"]
    assert login["ok"] is None and "login_issued" in login["remedy"], "nobody tells how old it is: no failure"
    asked = " ".join(row["what"] for row in rows)
    parts = ("may list keys", "KV v2", "can be rotated", "supervisor", "canary model", "a garbage key is refused", "API")
    for part in parts:
        assert part in asked, part


def test_doctor_tells_what_is_not_well_and_goes_on(installation: Installation) -> None:
    rows = looked(installation, "doctor", code=6, env={"VAULT_SECRET_ID": ""})
    bad = [row for row in rows if row["ok"] is False and row["of"] == VAULT.name]
    assert {row["remedy"] for row in bad} == {"set the environment variable VAULT_SECRET_ID"}
    assert all("env:VAULT_SECRET_ID" in row["detail"] for row in bad)
    assert not [row for row in rows if row["ok"] is False and row["of"] == AWS.name], (
        "the other credential has no part in it"
    )


class Traces:
    """Everything that a command could have left: counted writes, and the state of what can be written."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.provider = len(self._provider())
        httpx.delete(f"{installation.aws_url}/_double/calls", trust_env=False).raise_for_status()

    def _provider(self) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = self.installation.ask_provider("log")["calls"]
        return calls

    def writes(self) -> list[str]:
        """The calls since then that were not reads, at the two parts that count them."""
        calls = httpx.get(f"{self.installation.aws_url}/_double/calls", trust_env=False).json()
        asked = [call["operation"] for call in self._provider()[self.provider :]]
        return sorted({*calls} - READS_AT_AWS) + [name for name in asked if OPERATIONS[name].method != "GET"]

    def state(self) -> list[Any]:
        client = self.installation.bao.root
        return [
            [client.read(f"secret/metadata/{path}")["data"] for path in _vault_paths(client)],
            [self.installation.member_status(n) for n in range(self.installation.members)],
            [(key["id"], key["deleted"]) for key in self.installation.provider_keys()],
            self.installation.aws_client().describe_secret(SecretId=AWS.secret["name"])["VersionIdsToStages"],
        ]


def _vault_paths(client: hvac.Client, folder: str = "") -> Iterator[str]:
    for name in client.secrets.kv.v2.list_secrets(folder, mount_point="secret")["data"]["keys"]:
        if name.endswith("/"):
            yield from _vault_paths(client, folder + name)
        else:
            yield folder + name


@BOTH
def test_plan_and_status_touch_nothing_and_need_to_read_alone(credential: Credential, installation: Installation) -> None:
    role = installation.bao.app_role(READ_ONLY, name="reader")
    reader = {"VAULT_ROLE_ID": role.role_id, "VAULT_SECRET_ID": role.secret_id}
    traces = Traces(installation)
    before = traces.state()
    plan = looked(installation, "plan", credential.name, env=reader)
    looked(installation, "status", env=reader)
    assert traces.writes() == []
    assert traces.state() == before
    assert plan["problems"] == []
    assert plan["next"]["step"] == "create"


def test_the_count_of_writes_sees_a_rotation(installation: Installation) -> None:
    """The counter-test: else a count at the wrong place would pass the one above."""
    traces = Traces(installation)
    before = traces.state()
    installation.rotate_json(VAULT)
    installation.rotate_json(AWS)
    assert {"create_key", "delete_key", "PutSecretValue", "TagResource", "UpdateSecretVersionStage"} <= set(traces.writes())
    assert all(now != then for now, then in zip(traces.state(), before, strict=True))


@BOTH
def test_plan_names_every_call_and_its_permission(credential: Credential, installation: Installation) -> None:
    steps = looked(installation, "plan", credential.name)["steps"]
    assert list(dict.fromkeys(row["step"] for row in steps)) == [
        "observe", "create", "write", "validate", "promote", "roll", "prove", "revoke",
    ]  # fmt: skip
    assert all(row["call"] and row["permission"] for row in steps)
    assert not [row for row in steps if row["permission"] == "not told by this adapter"]
    code, printed = installation.keyturn("plan", credential.name)
    assert code == 0
    assert all(row["call"].split()[0] in printed for row in steps)
