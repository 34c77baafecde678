"""AWS's scheduler as the trigger: a rotation function for Secrets Manager, over keyturn's own steps and keyturn.yaml.

    createSecret    preflight, create the key at the provider, stage it under AWS's token
    setSecret       see that it is there: the provider made the key, so there is nothing to set
    testSecret      the canary
    finishSecret    promote

What follows is left to the next sweep: to roll the proxies, to prove it, and to revoke the old key. Without one the proxies
go on with the old key, which works as long as nobody deletes it. See docs/aws.md.

Each step may be repeated, and may be killed anywhere: it looks first, and finishes what it finds. AWS invokes a function for
fifteen minutes at most. A key that one was killed over before it could stage it is a stray, and revoked by the sweep.
"""

import asyncio
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from keyturn.assembly import Assembly, assemble
from keyturn.config import Config, load
from keyturn.errors import ConflictError, KeyturnError, MisconfiguredError, NotFoundError, PermanentError, UnavailableError
from keyturn.lifecycle import Asked, Reason, Step
from keyturn.model import CreatedKey, Stage, VersionRef
from keyturn.quiet import hold_vendor_loggers
from keyturn.steps.create import create
from keyturn.steps.observe import Turn, begin, observe_decider
from keyturn.steps.preflight import preflight
from keyturn.steps.promote import promote
from keyturn.steps.undo import undo
from keyturn.steps.validate import validate
from keyturn.steps.write import SupersededError, write
from keyturn.stores.aws_secrets_manager import AWSSecretsManager

LONGEST = timedelta(minutes=15)  # of one invocation (AWS Lambda, quotas)
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
_ANEW = "start RotateSecret anew"
_SUFFIX = r"(-[A-Za-z0-9]{6})?"  # that AWS adds to a name in its ARN


def handler(event: Mapping[str, Any], context: object = None) -> None:
    """One step of a rotation. Errors are keyturn's, in words that hold no key; AWS repeats what failed."""
    hold_vendor_loggers()
    asyncio.run(handle(load(), event))


async def handle(config: Config, event: Mapping[str, Any]) -> None:
    """As `handler`, for this configuration."""
    step, arn, token = (str(event.get(name, "")) for name in ("Step", "SecretId", "ClientRequestToken"))
    if step not in STEPS or not _is_token(token):
        raise MisconfiguredError(
            "this event is not one of a rotation by Secrets Manager", remedy="let RotateSecret invoke the function"
        )
    if config.sweep.stray_age <= LONGEST:
        raise MisconfiguredError(
            "sweep.stray_age is shorter than an invocation may take: a sweep could take the key in its hands for a stray",
            remedy="set it to more than 15m",
        )
    async with assemble(config, credential_of(config, arn)) as c:
        if await _is_under_way(c, token):
            await _DO[step](c, token)
        elif step == "finishSecret":
            await _complete(c, token)


def credential_of(config: Config, arn: str) -> str:
    """The credential that this secret decides. MisconfiguredError where there is none, or more than one."""
    found = []
    for name, credential in config.credentials.items():
        address = credential.secrets[0]
        store = config.stores[address.store]
        region = getattr(store.settings, "region", None)
        path = address.path if address.path.startswith("arn:") else f"arn:[a-z-]+:secretsmanager:{region}:[0-9]+:secret:"
        pattern = re.escape(path) if path == address.path else path + re.escape(address.path)
        if store.kind == "aws_secrets_manager" and re.fullmatch(pattern + _SUFFIX, arn):
            found.append(name)
    if len(found) != 1:
        what = "no credential is" if not found else f"{', '.join(found)} are"
        raise MisconfiguredError(
            f"{what} decided by the secret that AWS rotates",
            remedy="name it first in the secrets of one credential; where a bundle has the keys of several, AWS cannot say "
            "which one is to be rotated: use keyturn's own schedule",
        )
    return found[0]


async def _is_under_way(c: Assembly, token: str) -> bool:
    """What AWS demands that is looked at first in each step. False: the rotation of this token has ended, with its key."""
    secret, store = c.decider
    if not isinstance(store, AWSSecretsManager):
        raise MisconfiguredError(
            f"{secret} is not in AWS Secrets Manager", remedy="name it first in the credential's secrets"
        )
    labels = await store.labels_in_rotation(secret, token)
    if "AWSCURRENT" in labels:
        return False
    if "AWSPENDING" in labels:
        return True
    if await _serves_key_of(c, token):
        return False
    raise NotFoundError(
        f"{secret}: the token is on no version that waits for its rotation", remedy="start RotateSecret anew"
    )


async def _serves_key_of(c: Assembly, token: str) -> bool:
    """AWSCURRENT is on a copy, as it is for a field, and once an old key is revoked: then journal and key's name tell."""
    stages, journal = await observe_decider(c)
    current = stages[Stage.CURRENT].fingerprint
    if (journal.rotation, journal.pending_fingerprint) == (token, current):
        return True
    key_id = journal.keys.get(current)
    if key_id is None or not c.provider.capabilities.can_list:
        return False
    return key_id in [key.id for key in await c.provider.find(c.mark.label(token))]


async def _turn(c: Assembly, token: str) -> Turn:
    """Where it stands, as the turn of AWS's token. ConflictError where another rotation is under way."""
    # Nobody asked for it now: so a credential that is parked, or backs off, is left alone.
    turn = await begin(c, Asked(c.now(), Reason.SCHEDULED, c.settings.overlap))
    pending = turn.seen.stages.get(Stage.PENDING)
    if pending is not None and pending.id != token and turn.decision.step in (Step.VALIDATE, Step.ADOPT):
        raise ConflictError(
            f"another rotation is under way: {turn.decision.sentence}", remedy="let the sweep finish it; AWS tries again"
        )
    return replace(turn, rotation=token, label=c.mark.label(token))


async def _create(c: Assembly, token: str) -> None:
    turn = await _turn(c, token)
    if turn.decision.step is Step.VALIDATE:
        return
    if turn.decision.step not in (Step.CREATE, Step.AGAIN, Step.ADOPT):
        raise UnavailableError(f"not now: {turn.decision.sentence}", remedy="let the sweep finish it; AWS tries again")
    await preflight(c)
    key: CreatedKey | None = None
    try:
        key = await create(c, turn)
        await write(c, turn, key)
    except SupersededError:
        raise
    except PermanentError:
        await _undo(c, turn, key)
        raise


async def _set(c: Assembly, token: str) -> None:
    await _staged(c, token)


async def _test(c: Assembly, token: str) -> None:
    turn = await _staged(c, token)
    try:
        await validate(c, turn)
    except PermanentError:
        await _undo(c, turn, None)
        raise


async def _finish(c: Assembly, token: str) -> None:
    if await _serves_key_of(c, token):
        await _complete(c, token)
    else:
        await promote(c, await _staged(c, token))


async def _staged(c: Assembly, token: str) -> Turn:
    """The turn of a key that is staged, and written down: createSecret has done its work, or this does the rest of it."""
    turn = await _turn(c, token)
    if turn.decision.step is Step.ADOPT:
        await create(c, turn)
        turn = await _turn(c, token)
    if turn.decision.step is not Step.VALIDATE:
        raise NotFoundError(
            f"nothing is staged under this token: {turn.decision.sentence}", remedy="start RotateSecret anew"
        )
    return turn


async def _complete(c: Assembly, token: str) -> None:
    """The rest of a finishSecret that was killed right after it had promoted."""
    secret, store = c.decider
    current = (await store.current(secret)).version
    await store.promote(secret, VersionRef(token, current.fingerprint), current)  # takes AWSPENDING off what had its turn
    turn = await begin(c, Asked(c.now(), Reason.SCHEDULED, c.settings.overlap))
    if turn.decision.step is Step.PROMOTE:
        await promote(c, turn)


async def _undo(c: Assembly, turn: Turn, key: CreatedKey | None) -> None:
    """The failure that led here is the one to report; what is not undone is the sweep's."""
    with suppress(KeyturnError):
        await undo(c, turn, key)


def _is_token(token: str) -> bool:
    """The key is named by it, so it has to be a UUID: as those are that AWS chooses."""
    try:
        return str(uuid.UUID(token)) == token.lower()
    except ValueError:
        return False


_DO = {"createSecret": _create, "setSecret": _set, "testSecret": _test, "finishSecret": _finish}
