"""answer: what a person said of an old key's end, written down."""

from keyturn.steps import answer as step
from tasks.policy import as_task

answer = as_task(step.answer, name="answer", retries=2, first_pause=1)
