"""What a run can be told, as types that Prefect renders as a form: names, choices and durations, never free text.

Choices come from keyturn.yaml, so that a pasted key is refused by the schema before Prefect stores it.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from keyturn.config import load
from keyturn.durations import PATTERN
from keyturn.errors import MisconfiguredError

# Without a configuration (a build, a linter) the names cannot be known; their shape can.
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,39}$"


def credential_names() -> tuple[str, ...]:
    """The credentials of keyturn.yaml; none where there is no usable one."""
    try:
        return tuple(load().credentials)
    except MisconfiguredError:
        return ()


if TYPE_CHECKING:
    CredentialName = str
else:
    _names = credential_names()
    CredentialName = (
        Annotated[Literal[_names], Field(description="Which credential of keyturn.yaml")]
        if _names
        else Annotated[str, Field(pattern=NAME_PATTERN, description="Which credential of keyturn.yaml")]
    )

Overlap = Annotated[
    str, Field(pattern=PATTERN, max_length=12, description="How long the old key lives on, such as 0s, 90m, 24h or 7d")
]
