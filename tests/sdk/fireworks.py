"""PyPI fireworks-ai 1.2.28: see the package's text. The account is the second argument, the user the third."""

import json
import os
import sys
from datetime import UTC, datetime

from fireworks import AuthenticationError, Fireworks

_, url, account, user = sys.argv


def works(text: str) -> bool:
    try:
        Fireworks(api_key=text, base_url=url, account_id=account, max_retries=0).models.list(page_size=1)
    except AuthenticationError:
        return False
    return True


client = Fireworks(api_key=os.environ["ADMIN"], base_url=url, account_id=account, max_retries=0)
made = client.api_keys.create(
    user, api_key={"display_name": "from the SDK", "expire_time": datetime(2100, 1, 1, tzinfo=UTC)}
)
listed = list(client.api_keys.list(user, page_size=1))
accepted = works(made.key)
client.api_keys.delete(user, key_id=made.key_id)
after = list(client.api_keys.list(user))

json.dump(
    {
        "text": made.key,
        "id": made.key_id,
        "expires": made.expire_time.isoformat(),
        "listed": [[key.key_id, key.display_name, key.prefix, key.create_time.isoformat()] for key in listed],
        "accepted": accepted,
        "accepted_after": works(made.key),
        "after": [key.display_name for key in after],
    },
    sys.stdout,
)
