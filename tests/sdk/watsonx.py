"""PyPI ibm-platform-services 0.77: see the package's text. Arguments: the address, the account, and the service ID."""

import json
import os
import sys

from ibm_cloud_sdk_core import ApiException
from ibm_cloud_sdk_core.authenticators import IAMAuthenticator
from ibm_platform_services import IamIdentityV1
from ibm_platform_services.iam_identity_v1 import ApiKey, ApiKeyList

url, account, iam_id = sys.argv[1:4]
service = IamIdentityV1(authenticator=IAMAuthenticator(os.environ["ADMIN"], url=url))
service.set_service_url(url)


def listed() -> list[ApiKey]:
    """Every page, each link followed by its token."""
    return ApiKeyList.from_dict(service.list_api_keys(account_id=account, iam_id=iam_id, pagesize=100).get_result()).apikeys


def token_of(key: str) -> bool:
    try:
        return bool(IAMAuthenticator(key, url=url).token_manager.get_token())
    except ApiException as refused:
        return refused.code != 400 or "could not be found" not in refused.message


made = service.create_api_key(
    "from the SDK", iam_id, account_id=account, store_value=False, expires_at="2099-01-01T00:00+0000", entity_lock="true"
)
key = ApiKey.from_dict(made.get_result())
found = listed()
refused = ""
try:
    service.delete_api_key(key.id)
except ApiException as error:
    refused = str(error.code)
service.unlock_api_key(key.id)
accepted = token_of(key.apikey)
activity = ApiKey.from_dict(service.get_api_key(key.id, include_activity=True).get_result()).activity
service.disable_api_key(key.id)
disabled = token_of(key.apikey)
service.enable_api_key(key.id)
service.lock_api_key(key.id)
locked = ApiKey.from_dict(service.get_api_key(key.id).get_result()).locked
service.unlock_api_key(key.id)
gone = service.delete_api_key(key.id).get_status_code()

json.dump(
    {
        "text": key.apikey,
        "id": key.id,
        "status": made.get_status_code(),
        "expires": key.expires_at,
        "listed": [each.name for each in found],
        "shown": [each.apikey for each in found],
        "locked": [key.locked, refused, locked],
        "tokens": [accepted, disabled, token_of(key.apikey)],
        "activity": [activity.authn_count, activity.last_authn is not None],
        "deleted": gone,
        "after": len(listed()),
    },
    sys.stdout,
)
