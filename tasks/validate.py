"""validate: the canary's word on the new key."""

from keyturn.steps import validate as step
from tasks.policy import as_task

# The step itself waits out propagation and throttling.
validate = as_task(step.validate, name="validate", retries=1, first_pause=5)
