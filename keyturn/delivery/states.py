"""What a member does, and what becomes of an order to roll it."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What the member does."""

    STARTING = "starting"  # the program is not ready yet, or its new key not proved: the first time, or in a roll
    SERVING = "serving"
    DRAINING = "draining"  # the program still answers, but the balancer is told to leave, or it ends its last requests
    STOPPING = "stopping"  # SIGTERM
    FAILED = "failed"  # neither the new keys nor the old ones came up: the supervisor is about to end


class Admission(StrEnum):
    """What became of a request to roll."""

    BEGUN = "begun"
    UNDER_WAY = "under way"  # this very version is being rolled out, or started with
    SERVED = "served"  # nothing to do
    BUSY = "busy"  # not now: something else is under way; ask again
    WAITING = "waiting"  # for the render of this key: ask again
