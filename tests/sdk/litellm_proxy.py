"""PyPI litellm 1.106.2, with the Python of `.proxy`: LiteLLM's client for the keys of a proxy, and its own models.

The client does a life of a key. Then every answer that it got, and every exchange of ours in the file $2, is read with the
models that LiteLLM itself makes answers of and reads requests with: each must come out of them as it went in.
"""

import json
import os
import sys
from pathlib import Path

os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "LITELLM_MODE": "PRODUCTION"}

import inspect

from fastapi.encoders import jsonable_encoder
from litellm.proxy._types import (
    BlockKeyRequest,
    GenerateKeyRequest,
    GenerateKeyResponse,
    KeyRequest,
    LiteLLM_VerificationToken,
    LitellmUserRoles,
    ProxyErrorTypes,
    ProxyException,
    UserAPIKeyAuth,
    UserInfoV2Response,
)
from litellm.proxy.client.exceptions import UnauthorizedError
from litellm.proxy.client.keys import KeysManagementClient
from litellm.proxy.management_endpoints.key_management_endpoints import list_keys

url, exchanges = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())


def held(model, value):
    """As LiteLLM would print it: every field known, and none of another type."""
    unknown = value.keys() - model.model_fields.keys()
    assert not unknown, f"{model.__name__} has no {unknown}"
    printed = jsonable_encoder(model.model_validate(dict(value)))
    other = {name for name in value if printed[name] != value[name]}
    assert not other, f"{model.__name__} prints {other} in another way"


def listed(answer):
    assert answer.keys() == {"keys", "total_count", "current_page", "total_pages"}
    for row in answer["keys"]:
        held(UserAPIKeyAuth, row)


def deleted(answer):
    assert answer.keys() == {"deleted_keys"}


MODELS = {
    "/key/generate": (GenerateKeyRequest, lambda answer: held(GenerateKeyResponse, answer)),
    "/key/block": (BlockKeyRequest, lambda answer: held(LiteLLM_VerificationToken, answer)),
    "/key/unblock": (BlockKeyRequest, lambda answer: held(LiteLLM_VerificationToken, answer)),
    "/key/delete": (KeyRequest, deleted),
}
seen = set()
for each in exchanges:
    seen.add(each["path"])
    if each["status"] >= 400:
        error = each["answer"]["error"]
        made = ProxyException(error["message"], ProxyErrorTypes(error["type"]).value, error["param"], each["status"])
        assert error == made.to_dict()
    elif each["path"] == "/key/list":
        assert each["query"].keys() <= inspect.signature(list_keys).parameters.keys()
        listed(each["answer"])
    elif each["path"] == "/v2/user/info":
        assert each["answer"]["user_role"] in LitellmUserRoles.__members__.values()
        held(UserInfoV2Response, each["answer"])
    elif each["path"] in MODELS:
        asked, answered = MODELS[each["path"]]
        held(asked, each["body"])
        answered(each["answer"])

client = KeysManagementClient(url, os.environ["ADMIN"])
made = client.generate(models=["gpt-4o-mini"], duration="30d", key_alias="from the client")
page = client.list(page=1, size=10, return_full_object=True)
info = client.info(made["token_id"])
gone = client.delete(keys=[made["token_id"]])
after = client.list(page=1, size=10)
held(GenerateKeyResponse, made)
listed(page)
deleted(gone)
held(LiteLLM_VerificationToken, {name: value for name, value in info["info"].items() if name != "status"})
try:
    KeysManagementClient(url, made["key"]).list()
    refused = False
except UnauthorizedError:
    refused = True

json.dump(
    {
        "text": made["key"],
        "id": made["token_id"],
        "listed": [row["key_alias"] for row in page["keys"]],
        "deleted": gone["deleted_keys"],
        "after": after["keys"],
        "refused": refused,
        "seen": sorted(seen),
    },
    sys.stdout,
)
