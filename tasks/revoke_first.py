"""revoke_first: a leaked key is refused before it has a successor."""

from keyturn.steps import revoke_first as step
from tasks.policy import as_task

# Few and short: where the provider does not do it now, the successor is not to wait for that.
revoke_first = as_task(step.revoke_first, name="revoke_first", retries=2, first_pause=1)
