"""A vendor's own SDK at our simulator: tests/sdk has the programs."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from keyturn.testing.provider_scene import ADMIN, Scene

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".vendors" / "bin" / "python"


async def drive(scene: Scene, vendor: str, *arguments: str, python: Path = PYTHON, **env: str) -> dict[str, Any]:
    """What the program of this vendor printed, run with the simulator's address and its management credential.

    `python`: of the environment that has the SDK. `env`: more variables.
    """
    return await run(vendor, scene.url, *arguments, python=python, ADMIN=scene.environ[ADMIN], **env)


async def run(program_name: str, *arguments: str, python: Path = PYTHON, **env: str) -> dict[str, Any]:
    """What a program of tests/sdk printed. As `drive`, for one that has no simulator."""
    if not python.exists():
        pytest.fail(f"the vendors' SDKs are not installed: run `make {python.parent.parent.name}/.ready`")
    # -P: a program named as the SDK that it imports must not find itself.
    program = [str(python), "-P", str(ROOT / "tests" / "sdk" / f"{program_name}.py"), *arguments]
    process = await asyncio.create_subprocess_exec(
        *program,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": os.devnull, "NO_PROXY": "*", **env},
    )
    told, complaints = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, complaints.decode()[-3000:]
    found: dict[str, Any] = json.loads(told)
    return found
