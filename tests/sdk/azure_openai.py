"""PyPI azure-mgmt-cognitiveservices 14.1.0: see the package's text. Arguments: the URL, and where the account is."""

import json
import os
import sys
import time

from azure.core.credentials import AccessToken
from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient


class Given:
    """A credential that has its token already."""

    def get_token(self, *scopes: str, **more: object) -> AccessToken:
        return AccessToken(os.environ["ADMIN"], int(time.time()) + 3600)


url, subscription, group, account = sys.argv[1:]
# azure-core sends no token over plain HTTP unless it is told that it may.
client = CognitiveServicesManagementClient(Given(), subscription, base_url=url, credential_scopes=["x/.default"])
may = {"enforce_https": False}
before = client.accounts.list_keys(group, account, **may)
client.accounts.regenerate_key(group, account, "Key2", **may)
after = client.accounts.list_keys(group, account, **may)
found = client.accounts.get(group, account, **may)
told = {name: {"key1": keys.key1, "key2": keys.key2} for name, keys in (("before", before), ("after", after))}
json.dump({**told, "disable_local_auth": found.properties.disable_local_auth}, sys.stdout)
