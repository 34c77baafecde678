"""What preflight says of LiteLLM's credentials: whether each member has the one that is meant, and may be given a key."""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.errors import KeyturnError
from keyturn.fleets.credential_answers import Told
from keyturn.fleets.credential_calls import CredentialCalls, unknown
from keyturn.model import Finding, Member


async def examine(calls: CredentialCalls, member: Member, name: str) -> tuple[list[Finding], Told | None]:
    """What is found, and what the member told of the credential; None where it did not."""
    database = f"{member.name}: database"
    try:
        if not await calls.has_database(member):
            return [
                Finding(
                    database,
                    False,
                    "its readiness says that it is not connected",
                    "give the proxy a database and `store_model_in_db: true`, or use another kind of fleet",
                )
            ], None
        told = await calls.read(member, name)
        if told is None:
            raise unknown(member, name)
        users = await calls.users(member, name)
    except KeyturnError as error:
        return [Finding(f"{member.name}: credential {name}", False, error.message, error.remedy)], None
    written = "take it out of config.yaml's credential_list, and make it in the database (POST /credentials)"
    in_config = Finding(f"{member.name}: credential {name}", False, "stands in config.yaml", written)
    return [
        Finding(database, True),
        in_config if told.is_in_config else Finding(f"{member.name}: credential {name}", True),
        Finding(
            f"{member.name}: deployments with `litellm_credential_name: {name}`",
            True if users else None,
            ", ".join(users) or "none",
            "name it in their litellm_params, and give them no api_key of their own: LiteLLM would prefer that",
        ),
    ], told


def agreement(seen: Sequence[Told]) -> Finding:
    """Whether all show the same values. They differ for some seconds after a write; for good, where a salt key differs."""
    shown = {repr(sorted(told.masks.items(), key=lambda item: item[0])) for told in seen}
    if len(shown) <= 1:
        return Finding("members show the same values", True)
    return Finding(
        "members show the same values",
        None,
        "what they show of the credential differs",
        "where that lasts: start each with the same database and the same LITELLM_SALT_KEY",
    )
