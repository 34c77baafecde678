"""respond: keys have leaked. Every credential side by side, with no overlap; in the end a report of what became of each."""

import asyncio

from prefect import flow

from flows.at_fleets import in_company
from flows.at_work import asked_at, keep_page
from flows.outcome import Outcome
from flows.parameters import Credentials, Fingerprint, Policy
from flows.respond_one import Leak, respond_one
from keyturn.assembly import Adapters
from keyturn.config import Config, load
from keyturn.errors import KeyturnError, NotFoundError
from keyturn.incident_report import page
from keyturn.leak import holders
from keyturn.quiet import hold_vendor_loggers
from tasks.policy import discreet


class UnansweredError(KeyturnError):
    """Not every leaked key is known to be refused. `outcomes`: of all credentials, in the order they were named."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        self.outcomes = outcomes
        left = [each for each in outcomes if each.old_key_refused_at is None]
        told = "; ".join(f"{each.credential}: {each.result}: {each.sentence}" for each in left)
        super().__init__(
            f"of {len(left)} of {len(outcomes)} credentials the old key is not seen to be refused: {told}",
            remedy="mend what is named, and run the same again; a sweep goes on with it, too",
        )


@flow(name="respond", persist_result=False, log_prints=False)
async def respond(
    credentials: Credentials, policy: Policy = "configured", fingerprint: Fingerprint | None = None
) -> list[Outcome]:
    """Replace the key in service of each of these, and have it refused. One that fails stops and delays no other.

    `fingerprint`: of the key that has leaked, never the key. Where it is an old one, it alone is revoked, and the key in
    service stays. Without credentials: those that know it.
    """
    hold_vendor_loggers()
    async with discreet():
        config, called = load(), asked_at()
        names = list(dict.fromkeys(credentials)) or await _holders(config, fingerprint)
        leaks = [Leak(name, called, _first(config, name, policy), fingerprint or "") for name in names]
        with in_company({name: config.credential(name).proxies for name in names}):
            answers = await asyncio.gather(*(respond_one(leak) for leak in leaks))
        outcomes = [outcome for outcome, _ in answers]
        await keep_page("incident", page([account for _, account in answers]), "The last incident: what became of each key")
        if any(outcome.old_key_refused_at is None for outcome in outcomes):
            raise UnansweredError(outcomes)
        return outcomes


def _first(config: Config, name: str, policy: str) -> bool:
    return (config.credential(name).on_incident if policy == "configured" else policy) == "revoke_first"


async def _holders(config: Config, fingerprint: str | None) -> list[str]:
    """Those that know a key of this fingerprint."""
    if not fingerprint:
        raise NotFoundError("no credential and no fingerprint: nothing is known to have leaked", remedy="name one")
    adapters = Adapters(config)
    try:
        found = await holders(config, adapters, fingerprint)
    finally:
        await adapters.aclose()
    if not found.names:
        raise NotFoundError(
            "no credential holds or remembers a key of this fingerprint" + found.caveat,
            remedy="name the credentials: then their keys in service are replaced",
        )
    return list(found.names)
