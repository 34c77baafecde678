"""PyPI elevenlabs 2.78.0: see the package's text. The service account is the second argument.

Its models take anything as it comes; here each answer is held to what they say.
"""

import json
import os
import sys
import time

from elevenlabs import ElevenLabs
from elevenlabs.core.api_error import ApiError

_, url, account = sys.argv


def strict(answer):
    return type(answer).model_validate(answer.model_dump(by_alias=True))


def works(text: str) -> bool:
    try:
        strict(ElevenLabs(api_key=text, base_url=url).user.get())
    except ApiError as error:
        assert error.status_code == 401
        return False
    return True


keys = ElevenLabs(api_key=os.environ["ADMIN"], base_url=url).service_accounts.api_keys
until = int(time.time()) + 30 * 86400
made = strict(keys.create(account, name="from the SDK", permissions=["user_read"], character_limit=5, expires_at_unix=until))
listed = strict(keys.list(account)).api_keys
accepted = works(made.xi_api_key)
keys.disable(account, made.key_id)
disabled = (strict(keys.list(account)).api_keys[-1].is_disabled, works(made.xi_api_key))
keys.update(account, made.key_id, is_enabled=True)
enabled = (strict(keys.list(account)).api_keys[-1].is_disabled, works(made.xi_api_key))
keys.delete(account, made.key_id)

json.dump(
    {
        "text": made.xi_api_key,
        "id": made.key_id,
        "listed": [[key.key_id, key.name, key.hint, key.created_at_unix, key.expires_at_unix] for key in listed],
        "asked": until,
        "accepted": accepted,
        "disabled": disabled,
        "enabled": enabled,
        "accepted_after": works(made.xi_api_key),
        "after": [key.name for key in strict(keys.list(account)).api_keys],
    },
    sys.stdout,
)
