"""strays: keys of ours that nothing claims."""

from keyturn.steps import strays as step
from tasks.policy import as_task

# The next sweep looks again.
strays = as_task(step.strays, name="strays", retries=1, first_pause=1)
