"""preflight: may we write, roll and revoke? Asked before anything is created."""

from keyturn.steps import preflight as step
from tasks.policy import as_task

# What is not well is reported at once: the next run asks again. Only a fleet that is being rolled is waited for, which
# takes minutes; the pauses add up to five.
preflight = as_task(step.preflight, name="preflight", retries=6, first_pause=5)
