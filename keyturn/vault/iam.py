"""A signed sts:GetCallerIdentity, as Vault's AWS auth method takes it: Vault sends it on, and AWS tells it who signed.

Shape: Vault's page "AWS auth method (API)", Login: `iam_http_request_method`, and base64 of URL, body and headers (JSON).
Signed by botocore's SigV4Auth. OpenBao has no AWS auth method, so no real server has been seen to take it.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from keyturn.errors import MisconfiguredError
from keyturn.references import Resolver
from keyturn.vault.settings import AWSAuth

_BODY = "Action=GetCallerIdentity&Version=2011-06-15"
_GLOBAL_ENDPOINT, _GLOBAL_REGION = "https://sts.amazonaws.com/", "us-east-1"


async def signed_identity(auth: AWSAuth, resolve: Resolver) -> Mapping[str, str]:
    """The body of a login. Its headers are signed for fifteen minutes (AWS's limit), and hold no secret key.

    Needs no permission: AWS answers sts:GetCallerIdentity to any of its identities. MisconfiguredError: no credentials.
    """
    named = (auth.access_key_id, auth.secret_access_key, auth.session_token)
    keys = [(await resolve(reference)).reveal() for reference in named if reference is not None]
    signed = await asyncio.to_thread(_signed, auth, keys)  # the SDK may ask the metadata service of the machine
    if isinstance(signed, str):
        raise MisconfiguredError(
            f"AWS credentials for the login to Vault cannot be had ({signed})",
            remedy="give the process a role, or set auth.profile, or auth.access_key_id and auth.secret_access_key",
        )
    url, headers = signed
    return {
        "iam_http_request_method": "POST",
        "iam_request_url": _base64(url),
        "iam_request_body": _base64(_BODY),
        "iam_request_headers": _base64(json.dumps(headers)),
    }


def _signed(auth: AWSAuth, keys: list[str]) -> tuple[str, dict[str, str]] | str:
    """URL and headers; else of what kind the SDK's error is, which may quote what it read."""
    from botocore.auth import SigV4Auth  # slow to import, and only needed here
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    try:
        session: Any = Session(profile=auth.profile)
        credentials = Credentials(*keys) if keys else session.get_credentials()
        if credentials is None:
            return "NoCredentialsError"
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        if auth.iam_server_id is not None:
            headers["X-Vault-AWS-IAM-Server-ID"] = auth.iam_server_id
        url = _endpoint(session, auth.region)
        request = AWSRequest(method="POST", url=url, data=_BODY, headers=headers)
        frozen = credentials.get_frozen_credentials()
        SigV4Auth(frozen, "sts", auth.region or _GLOBAL_REGION).add_auth(request)
        return url, dict(request.headers.items())
    except (BotoCoreError, ValueError, OSError) as error:
        return type(error).__name__


def _endpoint(session: Any, region: str | None) -> str:
    if region is None:
        return _GLOBAL_ENDPOINT
    from botocore.config import Config

    chosen: Any = {"ignore_configured_endpoint_urls": True}  # botocore's stubs do not know it
    # The SDK knows the names in every partition. An address of the environment's is for calls of ours, and this is Vault's.
    session.set_config_variable("sts_regional_endpoints", "regional")
    client = session.create_client("sts", region_name=region, config=Config(**chosen))
    return f"{client.meta.endpoint_url}/"


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
