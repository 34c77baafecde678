"""The usual entrypoint for AWS Secrets Manager: read one secret with boto3, and become the program."""

import os
import sys

import boto3

client = boto3.client("secretsmanager", region_name="us-east-1", endpoint_url=os.environ["SECRETS_URL"])
os.environ["OPENAI_API_KEY"] = client.get_secret_value(SecretId=os.environ["SECRET_NAME"])["SecretString"]
os.execvp(sys.argv[1], sys.argv[1:])
