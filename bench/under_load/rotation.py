"""keyturn's own rotation, as its flows do it, in this process and without Prefect, which has no part in what users see."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from flows.outcome import Result
from keyturn.assembly import Adapters, Line, assemble
from keyturn.config import load
from keyturn.references import resolver
from tests.steps.plain_flows import plainly, retire, rotate


def turn(config: Path, environ: Mapping[str, str], credential: str) -> None:
    """Create, write, validate, promote, roll, prove, and the old key's end. RuntimeError when it did not come to that."""
    asyncio.run(_turn(config, environ, credential))


async def _turn(config: Path, environ: Mapping[str, str], credential: str) -> None:
    settings = load(config)
    adapters = Adapters(settings, resolver(environ=environ))
    try:
        async with assemble(settings, credential, _say, adapters) as c:
            with plainly():
                await rotate(c, datetime.now(UTC))
                done = await retire(c, datetime.now(UTC))  # waits for the end of the overlap
    finally:
        await adapters.aclose()
    if done.result is not Result.RETIRED:
        raise RuntimeError(f"the rotation did not come to its end: {done.sentence}")


def _say(line: Line) -> None:
    print(f"    {line.step}: {line.sentence}", file=sys.stderr)
