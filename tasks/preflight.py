"""preflight: may we write, roll and revoke? Asked before anything is created."""

from keyturn.steps import preflight as step
from tasks.policy import as_task

# What is not well is reported at once: the next run asks again.
preflight = as_task(step.preflight, name="preflight", retries=1, first_pause=2)
