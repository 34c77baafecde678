"""The commands of the terminal, a file each. Imported on use: `keyturn --help` must not wait for Prefect or boto3."""
