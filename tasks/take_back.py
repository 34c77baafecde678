"""take_back: PREVIOUS becomes CURRENT again."""

from keyturn.steps import take_back as step
from tasks.policy import as_task

# A fleet with a bad member serves two keys until this is done, and both are accepted: there is time to try.
take_back = as_task(step.take_back, name="take_back", retries=4, first_pause=1)
