"""write: the new value into the stores, staged, served by nobody."""

from keyturn.steps import write as step
from tasks.policy import as_task

# The key's text lives in this process alone until it is written: try long before giving it up.
write = as_task(step.write, name="write", retries=6, first_pause=1)
