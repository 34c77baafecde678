"""What a run can be told, as types that Prefect renders as a form: names, choices and durations, never free text.

Choices come from keyturn.yaml, so that Prefect's API refuses a pasted key before it stores it. Where its check is switched
off (the tick box "Validate parameters", `enforce_parameter_schema: false`) Prefect stores what it is given, and nothing of
ours can be ahead of that; the run then fails on the same types, and says which parameter it was, not what it held.
"""

import logging
from typing import TYPE_CHECKING, Annotated, Any, Literal

from prefect.utilities import callables
from prefect.utilities.callables import ParameterSchema
from pydantic import Field, WithJsonSchema

from keyturn.config import load
from keyturn.durations import PATTERN
from keyturn.errors import MisconfiguredError

# Without a configuration (a build, a linter) the names cannot be known; their shape can.
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,39}$"


def names_of_config() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The credentials of keyturn.yaml, and its providers; none where there is no usable one."""
    try:
        config = load()
    except MisconfiguredError:
        return (), ()
    return tuple(config.credentials), tuple(config.providers)


def _choice(names: tuple[str, ...], description: str) -> Any:
    described = {"type": "string", "description": description}
    if not names:
        return Annotated[str, Field(pattern=NAME_PATTERN), WithJsonSchema({**described, "pattern": NAME_PATTERN})]
    # An enum also where there is one name: pydantic's own `const` is no choice in the form.
    return Annotated[Literal[names], WithJsonSchema({**described, "enum": list(names)})]


if TYPE_CHECKING:
    CredentialName = str
    ProviderName = str
else:
    _credentials, _providers = names_of_config()
    CredentialName = _choice(_credentials, "Which credential of keyturn.yaml")
    ProviderName = _choice(_providers, "Every credential of this provider of keyturn.yaml")

Overlap = Annotated[
    str, Field(pattern=PATTERN, max_length=12, description="How long the old key lives on, such as 0s, 90m, 24h or 7d")
]

Credentials = Annotated[list[CredentialName], Field(max_length=1000, description="Which credentials of keyturn.yaml")]

Policy = Annotated[
    Literal["configured", "prove_first", "revoke_first"],
    Field(
        description="What goes first: the proof that the new key serves, or the leaked one's end. configured: on_incident"
    ),
]

Fingerprint = Annotated[
    str,
    Field(pattern=r"^[0-9a-f]{16}$", description="Of the key that has leaked, 16 hex digits; the key itself never"),
]


Answer = Annotated[
    Literal["revoke", "keep"],
    Field(description="revoke: the old key may be ended. keep: it lives until a person says otherwise"),
]


class ClosedSchema(ParameterSchema):
    """The schema of a flow's parameters, and no others: else Prefect would store a key that is sent under any other name."""

    additionalProperties: bool

    def __init__(self, **schema: Any) -> None:
        super().__init__(**{**schema, "additionalProperties": False})


# Prefect 3.8.8 has no public way to add to the schema that it makes of a flow's signature. It makes one here, where every
# flow imports its parameters from before it is made, so that `keyturn serve` and `prefect deploy` both get a closed one.
callables.ParameterSchema = ClosedSchema  # type: ignore[misc]


def _tells_values(record: logging.LogRecord) -> bool:
    return str(record.msg).startswith("Parameter validation failed")


# Where a parameter does not fit, Prefect 3.8.8 prints all of them, with their values, to the process's own log. What it
# keeps (the run's state and its log) names the parameter alone.
logging.getLogger("prefect.flows").addFilter(lambda record: not _tells_values(record))
