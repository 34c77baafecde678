"""The usual entrypoint for Vault: read one secret with hvac, and become the program."""

import os
import sys

import hvac

client = hvac.Client(url=os.environ["SECRETS_URL"], token=os.environ["VAULT_TOKEN"])
answer = client.secrets.kv.v2.read_secret_version(path=os.environ["SECRET_NAME"], raise_on_deleted_version=True)
os.environ["OPENAI_API_KEY"] = answer["data"]["data"]["OPENAI_API_KEY"]
os.execvp(sys.argv[1], sys.argv[1:])
