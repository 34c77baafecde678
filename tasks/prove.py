"""prove: the evidence that nothing serves the old key."""

from keyturn.steps import prove as step
from tasks.policy import as_task

prove = as_task(step.prove, name="prove", retries=2, first_pause=3)
