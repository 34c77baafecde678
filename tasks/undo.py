"""undo: a rotation that failed before the pivot leaves nothing behind."""

from keyturn.steps import undo as step
from tasks.policy import as_task

undo = as_task(step.undo, name="undo", retries=4, first_pause=1)
