"""roll: every member onto the new key."""

from keyturn.steps import roll as step
from tasks.policy import as_task

# A member that serves the key already is left alone, so a repeat goes on where it stopped.
roll = as_task(step.roll, name="roll", retries=2, first_pause=5)
