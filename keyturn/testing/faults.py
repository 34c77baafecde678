"""Faults on request, of the simulators of vendors: which request meets one, and how often."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Fault(BaseModel):
    """What goes wrong, for which requests, and how often."""

    model_config = ConfigDict(extra="forbid")

    operation: str  # its name, or "admin", "inference", "*"
    kind: Literal["lose_answer", "reset", "slow", "throttle", "quota", "status", "html"]
    skip: int = Field(default=0, ge=0)  # so many matching requests pass first
    times: int | None = Field(default=1, ge=1)  # None: until the faults are cleared
    key_id: str | None = None  # only requests made with this key
    address: str | None = None  # only requests from there, as OpenAI's simulator sees it
    commit: bool = False  # the effect happens first, then the fault
    seconds: float = Field(default=0, ge=0)  # slow: how long
    retry_after: float | None = None  # throttle: the header, where given
    status: int = Field(default=500, ge=200, le=599)  # status and html: the status
    code: str | None = None  # status: error.code

    @model_validator(mode="after")
    def _lost_answer(self) -> Self:
        if self.kind == "lose_answer":
            self.kind, self.commit = "reset", True
        return self


def due(faults: list[Fault], operation: str, group: str, key_id: str = "", address: str = "") -> Fault | None:
    """The first fault that matches, counted down."""
    for fault in faults:
        if fault.operation not in (operation, group, "*"):
            continue
        if fault.key_id not in (None, key_id) or fault.address not in (None, address):
            continue
        if fault.skip:
            fault.skip -= 1
            continue
        if fault.times is not None:
            fault.times -= 1
            if not fault.times:
                faults.remove(fault)
        return fault
    return None
