"""PyPI cloudflare 5.9.0: see the package's text. Arguments: the address, the account, and a token to copy."""

import json
import os
import sys

from cloudflare import APIStatusError, Cloudflare

url, account, template = sys.argv[1:4]
client = Cloudflare(api_token=os.environ["ADMIN"], base_url=f"{url}/client/v4", max_retries=0)
tokens = client.accounts.tokens
mine = tokens.get(tokens.verify(account_id=account).id, account_id=account)

policies = [
    {
        "effect": policy.effect,
        "permission_groups": [{"id": group.id} for group in policy.permission_groups],
        "resources": policy.resources,
    }
    for policy in tokens.get(template, account_id=account).policies
]
made = tokens.create(account_id=account, name="from the SDK", policies=policies, expires_on="2099-01-01T00:00:00Z")
listed = list(tokens.list(account_id=account, include_expired=True, per_page=50))
itself = Cloudflare(api_token=made.value, base_url=f"{url}/client/v4", max_retries=0)
verified = itself.accounts.tokens.verify(account_id=account)
value = tokens.value.update(made.id, account_id=account)
turned = Cloudflare(api_token=value, base_url=f"{url}/client/v4", max_retries=0)
try:
    itself.accounts.tokens.verify(account_id=account)
    refused = 200
except APIStatusError as error:
    refused = error.status_code
renewed = turned.accounts.tokens.verify(account_id=account)
disabled = tokens.update(made.id, account_id=account, name=made.name, policies=policies, status="disabled")
again = tokens.get(made.id, account_id=account)
gone = tokens.delete(made.id, account_id=account)
after = list(tokens.list(account_id=account, include_expired=True))

json.dump(
    {
        "first": made.value,
        "text": value,
        "turned": [refused, renewed.id],
        "own": [group.name for policy in mine.policies for group in policy.permission_groups],
        "id": made.id,
        "issued": made.issued_on.isoformat(),
        "expires": made.expires_on.year,
        "listed": [token.name for token in listed],
        "verified": [verified.id, verified.status],
        "disabled": [disabled.status, again.status],
        "groups": [group.id for policy in again.policies for group in policy.permission_groups],
        "deleted": gone.id,
        "after": len(after),
    },
    sys.stdout,
)
