"""keyturn approve: what a person says, who was asked whether an old key may be revoked. The flow of that name."""

from __future__ import annotations

from keyturn import config
from keyturn.commands import flows
from keyturn.commands.exits import Exit, reported
from keyturn.commands.rotate import listen, show_outcome


def approve(name: str, deny: bool, as_json: bool) -> None:
    """Take the answer; with a yes, see the old key refused where its time has come."""
    lines = listen(as_json)
    with reported(as_json, lines, Exit.NOT_WELL):
        config.load().credential(name)
        outcome = flows.run(flows.load("flows.approve", "approve"), credential=name, answer="keep" if deny else "revoke")
    show_outcome(outcome, lines, as_json)
