"""PyPI google-api-python-client 2.202.0, with the discovery document that it brings, and google-auth 2.63.0 for tokens: see
the package's text."""

import base64
import json
import os
import sys

import google_auth_httplib2
import httplib2
from cryptography import x509
from google.auth.exceptions import RefreshError
from google.oauth2.credentials import Credentials
from google.oauth2.service_account import Credentials as AccountCredentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

url, project, account, uploaded = sys.argv[1:]
api = build("iam", "v1", credentials=Credentials(os.environ["ADMIN"]), client_options={"api_endpoint": url})
keys = api.projects().serviceAccounts().keys()
parent = f"projects/{project}/serviceAccounts/{account}"


def token(text):
    """As LiteLLM gets one: but from here, which the key file does not know."""
    info = {**json.loads(text), "token_uri": f"{url}/token"}
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    credentials = AccountCredentials.from_service_account_info(info, scopes=scopes)
    credentials.refresh(google_auth_httplib2.Request(httplib2.Http()))
    return credentials.token[:7]


def certificate(name):
    found = keys.get(name=name, publicKeyType="TYPE_X509_PEM_FILE").execute()
    subject = x509.load_pem_x509_certificate(base64.b64decode(found["publicKeyData"])).subject
    return [subject.rfc4514_string().removeprefix("CN="), found["keyOrigin"]], found["publicKeyData"]


def shown():
    return keys.list(name=parent, keyTypes=["USER_MANAGED"]).execute().get("keys", [])


asked = {"permissions": ["iam.serviceAccountKeys.create", "iam.serviceAccountKeys.disable"]}
granted = api.projects().serviceAccounts().testIamPermissions(resource=parent, body=asked).execute()
(mine,) = shown()
name, data = certificate(mine["name"])
made = keys.create(name=parent, body={"privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE"}).execute()
text = json.dumps(json.loads(base64.b64decode(made["privateKeyData"])), separators=(",", ":"))
tokens = [token(text), token(uploaded)]
listed = shown()
keys.disable(name=made["name"], body={}).execute()
disabled = [key["name"] for key in shown() if key.get("disabled")]
try:
    refused = token(text)
except RefreshError as error:
    refused = error.args[0]
keys.enable(name=made["name"], body={}).execute()
token(text)
keys.delete(name=made["name"]).execute()
try:
    gone = keys.get(name=made["name"]).execute()
except HttpError as error:
    gone = error.status_code
after = shown()
# The same certificate once more, as a person would upload it.
again = keys.upload(name=parent, body={"publicKeyData": data}).execute()
again, _ = certificate(again["name"])

json.dump(
    {
        "text": text,
        "granted": granted == asked,
        "id": made["name"].rpartition("/")[2],
        "listed": sorted(key["name"].rpartition("/")[2] for key in listed),
        "disabled": [each.rpartition("/")[2] for each in disabled],
        "tokens": tokens,
        "refused": refused,
        "after": [key["name"].rpartition("/")[2] for key in after],
        "gone": gone,
        "certificate": name[0],
        "again": again,
    },
    sys.stdout,
)
