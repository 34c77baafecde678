"""The steps of a rotation, as plain coroutines: each re-reads the world and is a no-op when its work is already done.

`tasks/` wraps each as a Prefect task with its retries; `flows/` gives the order.
"""
