"""PyPI google-api-python-client 2.202.0, with the discovery document that it brings: see the package's text."""

import json
import os
import sys
import time

from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

url, project = sys.argv[1:]
projects = build(
    "cloudresourcemanager", "v3", credentials=Credentials(os.environ["ADMIN"]), client_options={"api_endpoint": url}
).projects()
asked = {"permissions": ["apikeys.keys.create", "apikeys.keys.delete"]}
granted = projects.testIamPermissions(resource=f"projects/{project}", body=asked).execute()
api = build("apikeys", "v2", credentials=Credentials(os.environ["ADMIN"]), client_options={"api_endpoint": url})
parent = f"projects/{project}/locations/global"
keys = api.projects().locations().keys()


def done(operation):
    while not operation.get("done"):
        time.sleep(0.01)
        operation = api.operations().get(name=operation["name"]).execute()
    return operation["response"]


def refused(request):
    try:
        request.execute()
    except HttpError as error:
        return error.status_code
    return None


body = {
    "displayName": "from the SDK",
    "restrictions": {"apiTargets": [{"service": "generativelanguage.googleapis.com"}]},
}
made = done(keys.create(parent=parent, keyId="from-the-sdk", body=body).execute())
name = f"{parent}/keys/{made['name'].rpartition('/')[2]}"
again = refused(keys.create(parent=parent, keyId="from-the-sdk", body=body))
text = keys.getKeyString(name=name).execute()["keyString"]
listed = keys.list(parent=parent, pageSize=10).execute()
done(keys.delete(name=name, checkExistingUsage="CHECK").execute())
done(keys.undelete(name=name, body={}).execute())
unused = refused(keys.undelete(name=name, body={}))
gone = done(keys.delete(name=name).execute())
after = keys.list(parent=parent).execute()
with_deleted = keys.list(parent=parent, showDeleted=True).execute()

json.dump(
    {
        "text": text,
        "id": made["name"].rpartition("/")[2],
        "names": [made["name"]],
        "granted": granted == asked,
        "again": again,
        "unused": unused,
        "listed": [key["displayName"] for key in listed["keys"]],
        "deleted": "deleteTime" in gone,
        "after": after.get("keys", []),
        "with_deleted": len(with_deleted["keys"]),
    },
    sys.stdout,
)
