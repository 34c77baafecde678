"""A supervised member as a program of its own, its store a file: for what can only be seen from outside a process."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from datetime import timedelta
from pathlib import Path

from keyturn.delivery.exec import run_exec
from keyturn.delivery.keys import Variable
from keyturn.delivery.supervisor import Supervisor
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, VersionRef


async def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--key-file", type=Path, required=True)
    parser.add_argument("--port", required=True)
    parser.add_argument("--control", required=True)
    parser.add_argument("--health")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG)

    async def read() -> HeldKey:
        material = KeyMaterial(arguments.key_file.read_text())
        return HeldKey(VersionRef("v1", material.fingerprint()), material)

    supervisor = Supervisor(
        arguments.command,
        [Variable("openai-prod", "OPENAI_API_KEY", read)],
        f"http://127.0.0.1:{arguments.port}/health/readiness",
        drain=timedelta(seconds=0.1),
        strip=["ANOTHER_SECRET"],
    )
    token = KeyMaterial(os.environ["KEYTURN_CONTROL_TOKEN"])
    return await run_exec(supervisor, control=arguments.control, token=token, health=arguments.health)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
