"""sweep: look at every credential; finish what is half-way, retire what is overdue, rotate what is due, revoke strays."""

import asyncio
import logging
import secrets
from datetime import UTC, datetime

from prefect import flow
from prefect.logging import get_run_logger

from flows.at_work import artifact, keep_page
from flows.choice import side_by_side
from flows.late import overtaken
from flows.left_behind import end_left_behind
from flows.sweep_one import LOOK_SECONDS, sweep_one
from flows.swept import State, Swept, page
from keyturn import faults
from keyturn.assembly import Adapters
from keyturn.config import Config, load
from keyturn.quiet import hold_vendor_loggers
from keyturn.steps.login_age import Age, login_ages
from tasks.policy import discreet


@flow(name="sweep", persist_result=False, log_prints=False)
async def sweep() -> list[Swept]:
    """Every credential side by side, each from its look to its end by itself: one that is slow or broken delays no other."""
    hold_vendor_loggers()
    logger = get_run_logger()
    if await overtaken("sweep"):
        logger.info("a later sweep is due by now, and does the same")
        return []
    async with discreet():
        rows = await _every_credential(load())
    for row in rows:
        logger.log(
            logging.INFO if row.is_well and row.state is not State.ENDING else logging.WARNING,
            "%s: %s: %s",
            row.credential,
            row.state,
            "; ".join((row.sentence, *row.drift)),
        )
    await keep_page(artifact("sweep"), page(rows), "The last sweep: every credential, and what was done")
    await end_left_behind()
    return rows


async def _every_credential(config: Config) -> list[Swept]:
    adapters = Adapters(config)
    # In an order of this run's own: sweeps of several workers at once would else meet at each credential.
    order = secrets.SystemRandom().sample(list(config.credentials), len(config.credentials))
    try:
        looks = side_by_side(config, order, config.sweep.at_once, lambda name: sweep_one(config, adapters, name))
        rows, logins = await asyncio.gather(looks, _logins(config, adapters))
        by_name = dict(zip(order, rows, strict=True))
        return [*(by_name[name] for name in config.credentials), *logins]
    finally:
        await adapters.aclose()


async def _logins(config: Config, adapters: Adapters) -> list[Swept]:
    """Those of keyturn's own that end soon, or should have. No credential waits for them, and none fails with them."""
    states = {Age.ENDING: State.ENDING, Age.OVER: State.TOO_OLD}
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            found = await login_ages(config, adapters.provider, datetime.now(UTC))
    except TimeoutError:
        return []
    except Exception as error:
        return [Swept("logins", State.FAILED, f"a fault of keyturn's: {faults.describe(error)}")]
    return [Swept(f"login of {each.provider}", states[each.age], each.sentence) for each in found if each.age in states]
