"""report_leak: what is said to have leaked, written down."""

from keyturn.steps import report_leak as step
from tasks.policy import as_task

report_leak = as_task(step.report_leak, name="report_leak", retries=2, first_pause=1)
