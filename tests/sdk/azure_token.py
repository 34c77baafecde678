"""msal 1.39.0: what Microsoft's own library sends for a token, told and sent nowhere.

The application's key and certificate are in the files that are named. Token endpoints are found by a document that is given
here, for the library wants one.
"""

import json
import sys
from pathlib import Path

import msal

asked = json.loads(sys.argv[1])
sent = []


class Answer:
    def __init__(self, document):
        self.status_code, self.text, self.headers = 200, json.dumps(document), {}

    def raise_for_status(self):
        pass


class Wire:
    """As much of `requests.Session` as the library uses."""

    def get(self, url, params=None, headers=None, **_):
        if "openid-configuration" in url:
            base = f"https://login.microsoftonline.com/{asked['tenant']}"
            there = {"authorization_endpoint": base, "token_endpoint": f"{base}/oauth2/v2.0/token", "issuer": base}
            return Answer(there)
        sent.append({"url": url, "params": params, "metadata": headers["Metadata"]})
        return Answer({"access_token": "token", "expires_in": "86399", "token_type": "Bearer"})

    def post(self, url, params=None, data=None, headers=None, **_):
        sent.append({"url": url, "form": {name: value for name, value in data.items() if name != "client_info"}})
        return Answer({"access_token": "token", "expires_in": 3599, "token_type": "Bearer"})

    def close(self):
        pass


def application(credential):
    msal.ConfidentialClientApplication(
        asked["client_id"],
        client_credential=credential,
        authority=f"https://login.microsoftonline.com/{asked['tenant']}",
        http_client=Wire(),
        instance_discovery=False,
    ).acquire_token_for_client([asked["scope"]])


application("a-client-secret")
application({"client_assertion": "a-projected-token"})
pem = Path(asked["certificate_file"]).read_text()
application({"private_key": pem, "public_certificate": pem})
resource = asked["scope"].removesuffix("/.default")
for identity in (msal.SystemAssignedManagedIdentity(), msal.UserAssignedManagedIdentity(client_id=asked["client_id"])):
    msal.ManagedIdentityClient(identity, http_client=Wire()).acquire_token_for_client(resource=resource)
for each in sent:
    if isinstance(value := each.get("form", {}).get("client_assertion"), bytes):
        each["form"]["client_assertion"] = value.decode()
json.dump({"sent": sent}, sys.stdout)
