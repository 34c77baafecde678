"""PyPI openrouter 1.3.84: see the package's text."""

import json
import os
import sys

from openrouter import OpenRouter

with OpenRouter(api_key=os.environ["ADMIN"], server_url=f"{sys.argv[1]}/api/v1") as client:
    own = client.api_keys.get_current_key_metadata()
    made = client.api_keys.create(name="from the SDK", limit=5)
    listed = client.api_keys.list(include_disabled=True)
    changed = client.api_keys.update(hash=made.data.hash, disabled=True)
    with OpenRouter(api_key=made.key, server_url=f"{sys.argv[1]}/api/v1") as itself:
        client.api_keys.update(hash=made.data.hash, disabled=False)
        current = itself.api_keys.get_current_key_metadata()
    gone = client.api_keys.delete(hash=made.data.hash)
    after = client.api_keys.list(include_disabled=True)

json.dump(
    {
        "text": made.key,
        "management": [own.data.is_management_key, current.data.is_management_key],
        "id": made.data.hash,
        "listed": [key.name for key in listed.data],
        "disabled": changed.data.disabled,
        "current": current.data.label,
        "deleted": gone.DELETED,
        "after": [key.name for key in after.data],
    },
    sys.stdout,
)
