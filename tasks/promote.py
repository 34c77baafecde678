"""promote: the pivot."""

from keyturn.steps import promote as step
from tasks.policy import as_task

# Repeating a swap whose answer was lost is safe: it looks first.
promote = as_task(step.promote, name="promote", retries=4, first_pause=1)
