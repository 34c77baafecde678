"""Leases of a database engine of the real OpenBao. What takes its keys is a table of a real PostgreSQL, which the engine
writes: a user's name is the key here, since an engine can be told how to make one, and a search finds its literal."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import asyncpg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keyturn.material import KeyMaterial
from keyturn.testing.loopback import LoopbackServer
from keyturn.testing.openbao import AppRole
from keyturn.testing.postgres import DATABASE, Postgres
from keyturn.testing.processes import Processes
from keyturn.vault.permissions import stanza
from tests.chaos.left import Left
from tests.chaos.outside import Outside
from tests.chaos.vendors.account import Account, Known, Made
from tests.chaos.vendors.answers import served
from tests.chaos.vendors.rules import without_a_list

if TYPE_CHECKING:
    from tests.chaos.watch import Watch
    from tests.chaos.world import World

_TABLE = "CREATE TABLE keys (n serial, name text, until timestamptz, deletions int DEFAULT 0)"
_STATEMENTS = {
    "creation_statements": ["INSERT INTO keys (name, until) VALUES ('{{name}}', '{{expiration}}')"],
    "renew_statements": ["UPDATE keys SET until = '{{expiration}}' WHERE name = '{{name}}'"],
    # What a person deleted, the end of its lease finds gone.
    "revocation_statements": ["UPDATE keys SET deletions = 1 WHERE name = '{{name}}'"],
}
_LIVES = {"default_ttl": "1h", "max_ttl": "24h"}  # so that each lease is renewed once
_ROLE_ID, _SECRET_ID = "CHAOS_LEASES_ROLE_ID", "CHAOS_LEASES_SECRET_ID"
_ENDS = "it was made, and never written: it ends by itself"


class LeasedAccount(Account):
    """One role of an engine of this world's own. Of what is promised elsewhere one thing is not asked here: that a key which
    was made and never written is revoked. FACTS.risks say so: a lease has no name. That it has an end is demanded."""

    KIND = "vault_dynamic"
    CREDENTIAL: ClassVar[Mapping[str, str]] = {"max_age": "11h"}
    watches_stages: ClassVar[bool] = True
    shows_hints: ClassVar[bool] = False

    def __init__(self, outside: Outside, world: str) -> None:
        self._outside, self._mount, self._world = outside, f"leases-{world}", world
        self._path = f"{self._mount}/creds/litellm"
        self._logs = Path(tempfile.mkdtemp(prefix="keyturn-chaos-"))  # with keys in them: no place to search for leaks
        self._processes = Processes(self._logs)
        self._postgres: Postgres | None = None
        self._login: AppRole | None = None
        routes = [Route("/v1/chat/completions", self._chat, methods=["POST"])]
        self._server = LoopbackServer(Starlette(routes=routes))

    @property
    def port(self) -> int:
        return self._outside.vault_port

    @property
    def inference(self) -> str:
        return f"{self._server.url}/v1"

    @property
    def environ(self) -> Mapping[str, str]:
        return {_ROLE_ID: self._login.role_id, _SECRET_ID: self._login.secret_id} if self._login else {}

    def settings(self, url: str, world: World) -> dict[str, Any]:
        """See the base."""
        login = {"method": "approle", "role_id": f"env:{_ROLE_ID}", "secret_id": f"env:{_SECRET_ID}"}
        key = {"path": self._path, "field": "username", "max_ttl": _LIVES["max_ttl"], "can_list": True}
        return {"address": url, "auth": login, **key}

    async def start(self, world: World) -> None:
        self._postgres = await asyncio.to_thread(Postgres, self._processes)
        await self._ask(_TABLE)
        vault = self._outside.vault
        address = f"postgres://postgres@/{DATABASE}?host={self._postgres.folder}"
        names = f'{{{{printf "{self._outside.literal}%s" (random 20)}}}}'
        plugin = {"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username_template": names}
        await vault("POST", f"sys/mounts/{self._mount}", type="database")
        await vault("POST", f"{self._mount}/config/table", connection_url=address, **plugin)
        await vault("POST", f"{self._mount}/roles/litellm", db_name="table", **_STATEMENTS, **_LIVES)
        rules = {
            self._path: ("read",),
            "auth/token/create-orphan": ("update",),
            "sys/leases/revoke": ("update",),
            f"sys/leases/lookup/{self._path}/": ("list", "sudo"),
        }
        text = "\n".join(stanza(path, may) for path, may in rules.items())
        self._login = await asyncio.to_thread(self._outside.bao.app_role, text, self._mount, "2h")
        self._server.__enter__()

    def stop(self) -> None:
        if self._login is not None:
            self._server.__exit__(None, None, None)
        self._processes.stop()
        if self._postgres is not None:
            self._postgres.remove()
        shutil.rmtree(self._logs, ignore_errors=True)

    async def new_key(self, name: str) -> Made:
        """A lease of the root token's."""
        made = await self._outside.vault("GET", self._path)
        return Made(made["lease_id"], made["data"]["username"])

    async def keys(self) -> Sequence[Known]:
        rows = await self._ask("SELECT n, name, deletions, deletions = 0 AND until > now() AS lives FROM keys ORDER BY n")
        return [
            Known(f"user {row['n']}", "", KeyMaterial(row["name"]).fingerprint(), row["lives"], row["deletions"])
            for row in rows
        ]

    async def delete(self, key: Known) -> None:
        """The user, not its lease."""
        await self._ask("UPDATE keys SET deletions = 1 WHERE n = $1", int(key.id.split()[1]))

    async def judge(self, world: World, watch: Watch, current: Mapping[str, str], left: Left) -> None:
        without_a_list(await self.keys(), watch.seen(current), left, never_written=_ENDS)
        for row in await self._ask("SELECT n FROM keys WHERE deletions = 0 AND until > now() + interval '1 day 1 minute'"):
            left.lost.append(f"user {row['n']} lives longer than any key is to")

    async def _ask(self, statement: str, *values: Any) -> list[Any]:
        assert self._postgres is not None
        connection = await asyncpg.connect(host=str(self._postgres.folder), user="postgres", database=DATABASE)
        try:
            found: list[Any] = await connection.fetch(statement, *values)
            return found
        finally:
            await connection.close()

    async def _chat(self, request: Request) -> Response:
        name = request.headers.get("authorization", "").removeprefix("Bearer ")
        lives = await self._ask("SELECT 1 FROM keys WHERE name = $1 AND deletions = 0 AND until > now()", name)
        return served(KeyMaterial(name).fingerprint() if lives else None)
