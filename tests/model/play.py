"""Play so many histories of the machine, from a seed."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Machine
from tests.steps.plain_flows import plainly

STEPS = 12


def play(examples: int, seeded: int, *, shrink: bool = True) -> int:
    """Raises what a history found wrong. How many were played."""
    played = 0

    class Counted(Machine):
        def teardown(self) -> None:
            nonlocal played
            played += 1
            super().teardown()

    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    how = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    with plainly():
        run_state_machine_as_test(seed(seeded)(Counted), settings=how)
    return played
