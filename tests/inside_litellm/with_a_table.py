"""A real LiteLLM with credentials in a database: all of it LiteLLM's own code, but for one table, which is a file here.

    .proxy/bin/python tests/inside_litellm/with_a_table.py --config FILE --host HOST --port N

Prisma's engine comes from no package registry. So where LiteLLM's own modules ask for its client to read or write
credentials, they are given the rows of the file $TABLE (a JSON object, by name), which several proxies share; while there
is no such file, no client. The readiness is given it too, and says `connected`. Everything else sees a proxy without a
database. What reads the table again is LiteLLM's `get_credentials`, as its scheduler would call it, but at POST /_test/read
alone, so that a test need not wait; {"salt": TEXT} in its body is the process's LITELLM_SALT_KEY from then on.
"""

import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import litellm
from fastapi import Request
from litellm.proxy import proxy_server

TABLE = Path(os.environ["TABLE"])
_COLUMNS = ("credential_values", "credential_info")


def _read() -> dict:
    return json.loads(TABLE.read_text())


def _write(rows: dict) -> None:
    whole = TABLE.with_name(f"{TABLE.name}.{os.getpid()}")
    whole.write_text(json.dumps(rows))
    whole.replace(TABLE)


def _row(data: dict) -> dict:
    """As Prisma gives it: JSON columns, which are written as text, are read as objects."""
    return {name: json.loads(each) if name in _COLUMNS and isinstance(each, str) else each for name, each in data.items()}


class Credentials:
    """Prisma's verbs for the table."""

    async def find_unique(self, where: dict) -> dict | None:
        return _read().get(where["credential_name"])

    async def find_many(self, **_: object) -> list[dict]:
        return list(_read().values())

    async def create(self, data: dict) -> dict:
        _write(_read() | {data["credential_name"]: _row(data)})
        return _row(data)

    async def update(self, where: dict, data: dict) -> dict:
        rows = _read()
        rows[where["credential_name"]] |= _row(data)
        _write(rows)
        return rows[where["credential_name"]]


async def health_check() -> None:
    """A file is always well."""


CLIENT = SimpleNamespace(db=SimpleNamespace(litellm_credentialstable=Credentials()), health_check=health_check)
_MAY_SEE_IT = (
    "litellm.proxy.credential_endpoints.endpoints",
    "litellm.proxy.common_utils.credential_hydration",
    "litellm.proxy.health_endpoints._health_endpoints",
)


class WithATable(ModuleType):
    """The module proxy_server, as it is seen by those that import `prisma_client` from it."""

    @property
    def prisma_client(self) -> object:
        asks = sys._getframe(1).f_globals.get("__name__")
        return CLIENT if asks in _MAY_SEE_IT and TABLE.exists() else None

    @prisma_client.setter
    def prisma_client(self, value: object) -> None:
        self.__dict__["prisma_client"] = value


async def read(request: Request) -> dict:
    given = await request.json()
    os.environ.update({"LITELLM_SALT_KEY": given["salt"]} if "salt" in given else {})
    await proxy_server.proxy_config.get_credentials(CLIENT)
    return {}


def main() -> None:
    # LiteLLM asks of each error whether it is one of Prisma's, and fails itself where that package is not there.
    for name in ("prisma", "prisma.errors", "prisma.engine", "prisma.engine.errors"):
        sys.modules.setdefault(name, MagicMock())
    proxy_server.__class__ = WithATable
    proxy_server.app.add_api_route("/_test/read", read, methods=["POST"])
    litellm.run_server()


if __name__ == "__main__":
    main()
