"""create: the new key at the provider."""

from keyturn.steps import create as step
from tasks.policy import as_task

# A create whose answer was lost leaves one more key of the same name, which `tidy` revokes: few tries, long pauses.
create = as_task(step.create, name="create", retries=2, first_pause=3)
