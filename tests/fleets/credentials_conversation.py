"""A conversation with LiteLLM about a credential in its database, and how its answers are written down.

The recording (tests/data/litellm-credentials.json) is of LiteLLM 1.106.2's own code over a table in a file
(tests/inside_litellm). What is kept of an answer is what keyturn reads in it. Keys stand in it by name.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from keyturn.material import KeyMaterial
from keyturn.testing.litellm_credentials import mask
from keyturn.testing.world import new_key

RECORDING = Path(__file__).parent.parent / "data" / "litellm-credentials.json"

# member, method, path, body. READ: the member reads the table again. `no database`: there is none from then on.
Step = tuple[str, str, str, Any]
_NAME = {"credential_name": "OpenAI (prod)/1"}
_PATH = "/credentials/OpenAI%20%28prod%29%2F1"
_GET = "/credentials/by_name/OpenAI%20%28prod%29%2F1"
_CREATE = {
    **_NAME,
    "credential_values": {"api_key": "<old>", "api_base": "", "organization": "org"},
    "credential_info": {"custom_llm_provider": "openai"},
}
CONVERSATION: tuple[Step, ...] = (
    ("one", "GET", _GET, None),
    ("one", "PATCH", _PATH, {**_NAME, "credential_values": {"api_key": "<new>"}, "credential_info": {}}),
    ("one", "POST", "/credentials", _CREATE),
    ("one", "GET", _GET, None),
    ("two", "GET", _GET, None),
    ("two", "READ", "", {}),
    ("two", "GET", _GET, None),
    ("one", "PATCH", _PATH, {**_NAME, "credential_values": {"api_key": "<new>"}, "credential_info": {"keyturn": "mark"}}),
    ("one", "GET", _GET, None),
    ("two", "GET", _GET, None),
    ("two", "READ", "", {}),
    ("two", "GET", _GET, None),
    ("one", "READ", "", {}),
    ("one", "GET", _GET, None),
    ("one", "GET", "/credentials", None),
    ("one", "PATCH", _PATH, {**_NAME, "credential_values": {}, "credential_info": {}}),
    ("one", "READ", "", {}),
    ("one", "GET", _GET, None),
    ("stranger", "GET", _GET, None),
    ("stranger", "PATCH", _PATH, {**_NAME, "credential_values": {"api_key": "<new>"}, "credential_info": {}}),
    ("two", "READ", "", {"salt": "another"}),
    ("two", "UNREADABLE", _GET, None),
    ("two", "READ", "", {"salt": "salt"}),
    ("one", "NO DATABASE", "", None),
    ("one", "GET", _GET, None),
    ("one", "PATCH", _PATH, {**_NAME, "credential_values": {"api_key": "<old>"}, "credential_info": {}}),
)

# method, path, body -> status, document. `member` "stranger" is "one", asked with a key that is not the master key.
Send = Callable[[str, str, str, Any], Awaitable[tuple[int, Mapping[str, Any]]]]


async def play(send: Send, keys: Mapping[str, KeyMaterial]) -> list[dict[str, Any]]:
    """What was asked and what was answered, as it is recorded."""
    said = []
    for member, method, path, body in CONVERSATION:
        text = json.dumps(body)
        for name, key in keys.items():
            text = text.replace(f"<{name}>", key.reveal())
        asked = "GET" if method == "UNREADABLE" else method
        status, document = await send(member, asked, path, json.loads(text))
        told: Any = _kept(status, document)
        if method == "UNREADABLE":  # the mask is of what stands in the table, and another each time
            shown = document["credential_values"]["api_key"]
            told = {"is that of a key": shown in map(_mask, keys.values()), "has a mask's form": len(shown) == 8}
        answer = json.dumps(told)
        for name, key in keys.items():
            answer = answer.replace(_mask(key), f"<mask of {name}>")
        said.append({"member": member, "asked": f"{method} {path}".strip(), "body": body, "status": status})
        said[-1]["answer"] = json.loads(answer)
    return said


def two_keys() -> dict[str, KeyMaterial]:
    """Whose masks differ, as those of one pair in 3,844 do not."""
    keys = {"old": new_key(), "new": new_key()}
    return keys if _mask(keys["old"]) != _mask(keys["new"]) else two_keys()


def recorded() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(RECORDING.read_text())["said"]
    return found


def _mask(key: KeyMaterial) -> str:
    return mask(key.reveal())


def _kept(status: int, document: Mapping[str, Any]) -> Any:
    """Of an error the words that keyturn compares; of a credential what every version tells."""
    if "error" in document:
        message = document["error"]["message"]
        words = ("No connected db", "DB not connected", "Credential not found in DB", "Credential not found")
        return {"error": next((each for each in words if each in message), message)}
    if "credentials" in document:
        return [_kept(status, each) for each in document["credentials"]]
    return {
        name: document[name]
        for name in ("success", "credential_name", "credential_values", "credential_info")
        if name in document
    }
