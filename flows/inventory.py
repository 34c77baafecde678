"""inventory: every key in service, how old it is, and whether the provider still takes it. It looks, and changes nothing."""

import asyncio

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.logging import get_run_logger

from flows.asking import asking_prefect
from flows.at_work import keep_page, tell
from flows.late import overtaken
from flows.turnstile import is_taken
from keyturn import faults
from keyturn.assembly import Adapters, Assembly, assemble
from keyturn.config import Config, load
from keyturn.errors import KeyturnError, UnavailableError
from keyturn.inventory import LIFE_OF, Held, Life, plot
from keyturn.key_age import key_age
from keyturn.lifecycle import Asked, Reason
from keyturn.quiet import hold_vendor_loggers
from keyturn.steps.probe import probe
from keyturn.steps.standing import Standing, standing
from tasks.policy import discreet

LOOK_SECONDS = 120


@flow(name="inventory", persist_result=False, log_prints=False)
async def inventory() -> list[Held]:
    """Look at every credential side by side, and try each key in service at its provider.

    One that is refused is told as `keyturn.dead`, for an automation that calls the incident; a limit that was reached, or an
    answer that did not come, is not.
    """
    hold_vendor_loggers()
    if await overtaken("inventory"):
        return []
    async with discreet():
        rows = await _every_key(load())
    for row in rows:
        if row.life is Life.DEAD:
            get_run_logger().error("%s: the provider refuses the key in service: %s", row.credential, row.reason)
            tell("dead", row.credential, key=row.key, value=row.fingerprint, reason=row.reason)
    await _keep_table(rows)
    await keep_page("key-ages", plot(rows), "How old the keys in service are")
    return rows


async def _every_key(config: Config) -> list[Held]:
    adapters, places = Adapters(config), asyncio.Semaphore(config.inventory.at_once)

    async def in_its_place(name: str) -> Held:
        async with places:
            return await _one(config, adapters, name)

    try:
        return list(await asyncio.gather(*(in_its_place(name) for name in config.credentials)))
    finally:
        await adapters.aclose()


async def _one(config: Config, adapters: Adapters, name: str) -> Held:
    """Raises nothing: whatever happens to this credential is its own row."""
    provider = config.credential(name).provider
    try:
        async with asyncio.timeout(LOOK_SECONDS), assemble(config, name, adapters=adapters) as c:
            return await _held(c)
    except TimeoutError:
        return Held(name, provider, Life.UNKNOWN, f"its parts did not answer within {LOOK_SECONDS} s")
    except KeyturnError as error:
        return Held(name, provider, Life.UNKNOWN, error.message)
    except Exception as error:
        return Held(name, provider, Life.UNKNOWN, f"a fault of keyturn's: {faults.describe(error)}")


async def _held(c: Assembly) -> Held:
    found = await standing(c, Asked(c.now(), Reason.SCHEDULED, c.settings.overlap, c.settings.max_age))
    if not found.is_seen:
        return _row(c, found, Life.UNKNOWN, "; ".join(found.seen.problems))
    judged = await probe(c, found.seen.journal)
    life = LIFE_OF[judged.verdict]
    if life is Life.DEAD and await is_taken(c.name):
        return _row(c, found, Life.BUSY, f"a run is at it: {judged.reason}")
    return _row(c, found, life, judged.reason)


def _row(c: Assembly, found: Standing, life: Life, reason: str) -> Held:
    seen = found.seen
    served = [version for members in seen.serving.values() for version in members.values()]
    on = sum(version is not None and version == seen.current for version in served)
    return Held(
        c.name,
        c.settings.provider,
        life,
        reason,
        seen.journal.keys.get(seen.current.fingerprint, "") if seen.current else "",
        seen.current.fingerprint if seen.current else "",
        key_age(c.settings, seen),
        f"{on} of {len(served)}",
        len(found.strays),
        tuple(str(secret) for secret, _ in c.secrets),
    )


async def _keep_table(rows: list[Held]) -> None:
    try:
        with asking_prefect():
            await acreate_table_artifact(
                key="inventory", table=[row.as_row() for row in rows], description="Every key in service"
            )
    except (UnavailableError, TimeoutError) as error:
        get_run_logger().warning("the table could not be kept as an artifact: %s", error)
