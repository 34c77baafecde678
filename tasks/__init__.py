"""The steps of keyturn.steps as Prefect tasks: one file each, with its retries and the reason for them."""
