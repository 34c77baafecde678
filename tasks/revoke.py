"""revoke: the old key, on evidence."""

from keyturn.steps import revoke as step
from tasks.policy import as_task

revoke = as_task(step.revoke, name="revoke", retries=3, first_pause=3)
