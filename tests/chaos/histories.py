"""The model of the core, played beside the worlds in a process of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from tests.model.play import play

_NICE = 10  # the workers come first: their clients have time limits


async def played(examples: int, seed: int) -> int:
    """How many histories were played. Raises what one of them found wrong."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh, initializer=os.nice, initargs=(_NICE,)) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, play, examples, seed)
