"""The statements about a user's programmatic access tokens: all SQL of keyturn is here.

After docs.snowflake.com, "ALTER USER ... ADD (MODIFY, REMOVE, ROTATE) PROGRAMMATIC ACCESS TOKEN" and "SHOW USER PROGRAMMATIC
ACCESS TOKENS", read 2026-11-29. Names are quoted: none of these statements is documented to take bind variables.
"""

from __future__ import annotations

import re

WHOSE = "SELECT CURRENT_USER()"


def listed(user: str) -> str:
    """All of a user, with disabled ones, and those that expired within the last days."""
    return f"SHOW USER PROGRAMMATIC ACCESS TOKENS FOR USER {identifier(user)}"


def add(user: str, name: str, days: int, role: str | None) -> str:
    """The only statement whose answer has the token's text. Without `IF NOT EXISTS`, which would answer without one."""
    restricted = f" ROLE_RESTRICTION = {literal(role)}" if role else ""
    return f"{_of(user)} ADD PROGRAMMATIC ACCESS TOKEN {identifier(name)}{restricted} DAYS_TO_EXPIRY = {days:d}"


def rotate(user: str, name: str, hours: int) -> str:
    """A new text for a token, whose end is as far away again as when it was made. The old text becomes a token of another
    name, `rotated_to` this one in the list, and ends after so many hours, no later than it would have."""
    return f"{_of(user)} ROTATE PROGRAMMATIC ACCESS TOKEN {identifier(name)} EXPIRE_ROTATED_TOKEN_AFTER_HOURS = {hours:d}"


def remove(user: str, name: str) -> str:
    return f"{_of(user)} REMOVE PROGRAMMATIC ACCESS TOKEN {identifier(name)}"


def set_disabled(user: str, name: str, disabled: bool) -> str:
    """Reversible, both ways."""
    return f"{_of(user)} MODIFY PROGRAMMATIC ACCESS TOKEN {identifier(name)} SET DISABLED = {str(disabled).upper()}"


def network_policy(user: str) -> str:
    """The policy that a user is subject to, their own or the account's."""
    return f"SHOW PARAMETERS LIKE 'NETWORK_POLICY' FOR USER {identifier(user)}"


def token_name(label: str) -> str:
    """A label of ours in the alphabet of Snowflake's names: capitals, digits, underscores. Any other text stays as it is."""
    return label.upper().replace("-", "_") if re.fullmatch(r"keyturn-[a-z0-9-]+", label) else label


def label_of(name: str) -> str:
    """The other way. A label has no underscore, so nothing is lost."""
    return name.lower().replace("_", "-") if re.fullmatch(r"KEYTURN_[A-Z0-9_]+", name) else name


def identifier(name: str) -> str:
    """A double-quoted identifier: it means exactly this name, in this case."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string constant. A backslash escapes in Snowflake's."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _of(user: str) -> str:
    return f"ALTER USER {identifier(user)}"
