"""A key of two parts, as an IAM user's access key is one: made at run time."""

from __future__ import annotations

import json
import secrets

from keyturn.delivery.variable_names import Names, names_of
from keyturn.key_parts import AWS_ACCESS_KEY, stranger
from keyturn.material import KeyMaterial

ID, SECRET = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
BOTH = "AWS_ACCESS_KEY_ID_AND_AWS_SECRET_ACCESS_KEY"


def new_pair() -> KeyMaterial:
    return stranger(AWS_ACCESS_KEY)


def parts_of(pair: KeyMaterial) -> dict[str, str]:
    found: dict[str, str] = json.loads(pair.reveal())
    return found


def usual_names() -> Names:
    found = names_of(None, None, "aws_access_key")
    if found is None:
        raise AssertionError("a pair has usual names")
    return found


def spoilt() -> list[str]:
    """Texts that are no pair. Each holds a secret of its own."""
    secret = secrets.token_hex(20)
    return [
        f"AKIA{secret}",
        json.dumps(secret),
        json.dumps([ID, secret]),
        json.dumps({SECRET: secret}),
        json.dumps({ID: "", SECRET: secret}),
        json.dumps({ID: "a b ", SECRET: secret}),
        json.dumps({ID: 1, SECRET: secret}),
        json.dumps({ID: None, SECRET: secret}),
        json.dumps({ID: "a", SECRET: secret, "AWS_SESSION_TOKEN": "t"}),
        f'{{"{ID}":"a","{ID}":"b","{SECRET}":"{secret}"}}',
        f'{{"{ID}":"a","{SECRET}":"{secret}"',
    ]
