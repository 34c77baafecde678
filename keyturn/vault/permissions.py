"""What a token may do, and for how long: as lines of a policy, and as findings of a preflight."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from keyturn import durations
from keyturn.json_object import UnreadableError
from keyturn.model import Finding
from keyturn.vault.answer import Answer
from keyturn.vault.token import Token, seconds

LOGS_IN = "the login to Vault works"
LASTS = "the token for Vault lasts"

_TOO_SHORT = timedelta(minutes=10)  # a rotation takes minutes, and a write is retried for some more
_SOON = timedelta(days=3)  # a weekend, for whoever has to make a new one


def stanza(path: str, capabilities: Collection[str]) -> str:
    """The lines of a policy that grant this."""
    return f'path "{path}" {{ capabilities = [{", ".join(f"{chr(34)}{each}{chr(34)}" for each in capabilities)}] }}'


def granted(answer: Answer, wanted: Mapping[str, Collection[str]]) -> list[Finding]:
    """A finding for each path, from the answer to sys/capabilities-self."""
    findings = []
    for path, needs in wanted.items():
        what, told = f"the token may {', '.join(needs)} {path}", answer.data.get(path)
        if not isinstance(told, list):
            findings.append(Finding(what, None, "Vault does not say"))
            continue
        missing = [need for need in needs if need not in told and "root" not in told]
        detail = f"not granted: {', '.join(missing)}" if missing else ""
        remedy = f"add to the policy of the token: {stanza(path, needs)}" if missing else ""
        findings.append(Finding(what, not missing, detail, remedy))
    return findings


def about_login(token: Token) -> Finding:
    """Of a token that was logged in for. However short it lives, it is renewed, or logged in for again."""
    life = f"it lives for {_text(token.ttl)}" if token.ttl else "its token does not end"
    policies = f"; its policies: {', '.join(token.policies)}" if token.policies else ""
    return Finding(LOGS_IN, True, life + policies)


def about_static_token(told: Mapping[str, Any]) -> Finding:
    """Of a token that somebody else keeps alive, from the answer to auth/token/lookup-self."""
    try:
        left, uses = seconds(told.get("ttl")), seconds(told.get("num_uses", 0))
    except UnreadableError:
        return Finding(LASTS, None, "Vault does not say how long")
    renewable = told.get("renewable") is True
    tied = "" if told.get("orphan") is True else "; it ends before, when the token that made it does"
    if uses:
        detail = f"it may be used {uses:.0f} more times, and a rotation needs it more often than can be told"
        return Finding(LASTS, False, detail, "make a token without num_uses, or use another auth method")
    if not left:
        return Finding(LASTS, True, f"it does not end{tied}")
    detail = f"it ends in {_text(left)}, {'unless it is renewed' if renewable else 'and cannot be renewed'}{tied}"
    if left < _TOO_SHORT.total_seconds():
        remedy = f"`vault token renew` it{'' if renewable else ' is no way: make a new one'}, before anything is rotated"
        return Finding(LASTS, False, detail, remedy)
    if not renewable and left < _SOON.total_seconds():
        return Finding(LASTS, None, detail, "make a new one in time, or use an auth method that logs in by itself")
    return Finding(LASTS, True, detail)


def _text(life: float) -> str:
    return durations.text(timedelta(seconds=life))
