"""tidy: keys of this rotation's name that nothing holds."""

from keyturn.steps import tidy as step
from tasks.policy import as_task

tidy = as_task(step.tidy, name="tidy", retries=3, first_pause=1)
