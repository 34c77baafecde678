"""The pipeline as Prefect flows: the order of the steps, and nothing else."""
