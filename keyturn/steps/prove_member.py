"""A member that was just moved is asked at once whether its key works there, before the next one is touched.

A candidate that was accepted elsewhere may be refused in one member: the provider lets in addresses by a list, or its
`api_base` is another. So what it answers is compared with the others: those that still have the old key, or else those that
were moved before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from keyturn.assembly import Assembly
from keyturn.errors import KeyturnError, PermanentError, RollFailedError, UndecidedError
from keyturn.model import Judgement, Member, Verdict, VersionRef
from keyturn.steps.prove import SECOND_LOOK_AFTER, SECOND_LOOKS

_REMEDY = "look what is different there: its address, its api_base, what it may call"

Place = tuple[str, Member]


async def prove_moved(c: Assembly, fleet: str, member: Member, version: VersionRef) -> None:
    """Return when it answers with `version`; or where that cannot be asked there, which `prove` tells.

    RollFailedError: the provider refuses its key, or it stays without an answer while others have one. UndecidedError:
    nobody has one, so nothing is known, and no further member is moved. Where the provider refuses the key of those that
    were not moved yet, they have nothing to lose: the roll goes on.
    """
    member = await _where_it_is_now(c, fleet, member)
    found = await _patiently(c, fleet, member)
    if found is None or found.verdict is Verdict.ACCEPTED:
        return
    what = f"{fleet}/{member.name} does not answer with the key that it was moved to: {found.reason}"
    unmoved, moved = await _others(c, (fleet, member), version)
    verdicts = await asyncio.gather(*(_look(c, place) for place in unmoved))
    for (other, each), verdict in zip(unmoved, verdicts, strict=True):
        if verdict is Verdict.ACCEPTED:
            raise RollFailedError(f"{what}; {other}/{each.name}, which was not moved yet, answers", remedy=_REMEDY)
    if Verdict.REJECTED in verdicts:
        c.say("roll", f"{what}; but the key before is refused, so the others are moved")
    elif found.verdict is Verdict.REJECTED or await _any_answers(c, [] if unmoved else moved):
        raise RollFailedError(what, remedy=_REMEDY)
    elif unmoved:
        raise UndecidedError(f"{what}; nor does any other member", remedy="run again when the provider answers")
    else:
        c.say("roll", what)


async def _where_it_is_now(c: Assembly, fleet: str, member: Member) -> Member:
    """A container that was restarted, or made anew, may have another address than the one it had when it was found."""
    return next((each for each in await c.fleets[fleet].members() if each.name == member.name), member)


async def _patiently(c: Assembly, fleet: str, member: Member) -> Judgement | None:
    """None: it cannot be asked. What may pass is looked at again, a refusal once."""
    refused = 0
    for looks_left in range(SECOND_LOOKS, -1, -1):
        try:
            found = await c.canaries[fleet].member(member)
        except PermanentError as error:
            c.say("roll", f"{fleet}/{member.name}: not proved: {error.message}")
            return None
        except KeyturnError as error:
            found = Judgement(Verdict.INDETERMINATE, error.message)
        refused += found.verdict is Verdict.REJECTED
        if found.verdict is Verdict.ACCEPTED or refused > 1 or not looks_left:
            break
        await c.pause(SECOND_LOOK_AFTER)
    return found


async def _others(c: Assembly, asked: Place, version: VersionRef) -> tuple[list[Place], list[Place]]:
    """Who is not known to serve this version yet, and who is; in every fleet of the credential."""
    places = [(name, each) for name, fleet in c.fleets.items() for each in await fleet.members()]
    places = [place for place in places if (place[0], place[1].name) != (asked[0], asked[1].name)]
    serving = await asyncio.gather(*(c.fleets[name].serving(each, c.name) for name, each in places))
    there = list(zip(places, serving, strict=True))
    return [each for each, serves in there if serves != version], [each for each, serves in there if serves == version]


async def _any_answers(c: Assembly, places: Sequence[Place]) -> bool:
    return Verdict.ACCEPTED in await asyncio.gather(*(_look(c, place) for place in places))


async def _look(c: Assembly, place: Place) -> Verdict:
    try:
        return (await c.canaries[place[0]].member(place[1])).verdict
    except KeyturnError:
        return Verdict.INDETERMINATE
