"""Play so many histories of the machine, from a seed."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Machine
from tests.steps.plain_flows import plainly

STEPS = 12  # many short histories find more than few long ones: each begins somewhere else


def play(examples: int, seeded: int, *, shrink: bool = True) -> int:
    """How many were played, the same for the same seed. Raises what one of them found wrong, told by its shortest form."""
    played = 0

    class Counted(Machine):
        def teardown(self) -> None:
            nonlocal played
            played += 1
            super().teardown()

    how = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    with plainly():
        run_state_machine_as_test(seed(seeded)(Counted), settings=how)
    return played
