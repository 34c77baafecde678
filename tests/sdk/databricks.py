"""PyPI databricks-sdk 0.156.0: see the package's text. Arguments: the address; then the account, the service principal and
the management's client id for secrets, or the application id for tokens."""

import json
import os
import sys

from databricks.sdk import AccountClient, WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import NotFound, PermissionDenied


def secrets(url: str, account: str, principal: str, client: str) -> dict:
    """A secret's life, logged in by OAuth."""
    config = Config(host=url, account_id=account, client_id=client, client_secret=os.environ["ADMIN"], auth_type="oauth-m2m")
    api = AccountClient(config=config).service_principal_secrets
    made = [api.create(principal, lifetime="7776000s") for _ in range(3)]
    listed = list(api.list(principal))
    for each in made:
        api.delete(principal, each.id)
    return {
        "text": made[0].secret,
        "id": made[0].id,
        "expires": made[0].expire_time is not None,
        "listed": [each.id for each in listed] == [each.id for each in made],
        "after": len(list(api.list(principal))),
    }


def tokens(url: str, application: str) -> dict:
    """A token's life, logged in by a token."""
    api = WorkspaceClient(host=url, token=os.environ["ADMIN"], auth_type="pat").token_management
    groups = [
        each.display
        for each in WorkspaceClient(host=url, token=os.environ["ADMIN"], auth_type="pat").current_user.me().groups
    ]
    made = api.create_obo_token(application, comment="from the SDK", lifetime_seconds=86400)
    listed = list(api.list())
    itself = WorkspaceClient(host=url, token=made.token_value, auth_type="pat").current_user
    name = itself.me().user_name
    used = api.get(made.token_info.token_id).token_info.last_used_day
    api.delete(made.token_info.token_id)
    refused = ""
    try:
        itself.me()
    except PermissionDenied as error:
        refused = str(error)
    try:
        api.delete(made.token_info.token_id)
        again = True
    except NotFound:
        again = False
    return {
        "text": made.token_value,
        "id": made.token_info.token_id,
        "listed": [each.comment for each in listed],
        "me": name,
        "groups": groups,
        "used": used,
        "refused": refused,
        "again": again,
        "after": len(list(api.list())),
    }


json.dump((secrets if len(sys.argv) == 5 else tokens)(*sys.argv[1:]), sys.stdout)
