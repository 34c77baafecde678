"""observe: where does the rotation stand?"""

from keyturn.steps.observe import begin
from tasks.policy import as_task

# Reads only: a store or provider that is down for a minute should not fail a night's run.
observe = as_task(begin, name="observe", retries=3, first_pause=1)
