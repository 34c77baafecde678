"""An installation whose provider is AWS: IAM and STS of one user, and as much of Bedrock as LiteLLM asks, on loopback."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from keyturn.material import KeyMaterial
from keyturn.testing.embedded import REGION, Credential, keyturn_program
from keyturn.testing.litellm import command
from keyturn.testing.loopback import LoopbackServer
from keyturn.testing.vendors.aws_access_key import AccessKeySimulator
from keyturn.testing.vendors.aws_user import USER
from tests.walks.walk import Walk, Way

MODEL = "nova"
PAIR = Credential("bedrock-prod", "AWS_ACCESS_KEY_ID", MODEL, {"store": "files", "path": "bedrock.json"})
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(\w+)/\d{8}/[a-z0-9-]+/bedrock/aws4_request, SignedHeaders=([a-z0-9;-]+), "
)


@dataclass
class Bedrock:
    """Answers `converse` with the id of the key that signed it, if IAM has that key and its secret made the signature.

    `ids`: of every call. `tokens`: session tokens that came along.
    """

    iam: AccessKeySimulator
    ids: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        answer = self._answer(request, await request.body())
        await answer(scope, receive, send)

    def _answer(self, request: Request, body: bytes) -> Response:
        signed = _SIGNED.match(request.headers.get("authorization", ""))
        id = signed[1] if signed else ""
        self.ids.append(id)
        if token := request.headers.get("x-amz-security-token"):
            self.tokens.append(token)
        key = next((key for key in self.iam.keys.values() if key.id == id), None)
        if signed is None or token or key is None or not key.accepted(self.iam.clock()):
            message = {"message": "The security token included in the request is invalid."}
            return JSONResponse(message, 403, {"x-amzn-errortype": "UnrecognizedClientException"})
        if not request.headers["authorization"].endswith(f"Signature={self._signature(request, body, id, signed[2])}"):
            message = {"message": "The request signature we calculated does not match the signature you provided."}
            return JSONResponse(message, 403, {"x-amzn-errortype": "InvalidSignatureException"})
        key.uses.append(self.iam.clock())
        told = {"role": "assistant", "content": [{"text": f"served-by {id}"}]}
        usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
        return JSONResponse(
            {"output": {"message": told}, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}
        )

    def _signature(self, request: Request, body: bytes, id: str, names: str) -> str:
        """The one that botocore finds for the same request with the secret that IAM has."""
        signer: Any = SigV4Auth(Credentials(id, self.iam.materials[id].reveal()), "bedrock", REGION)
        url = f"http://{request.headers['host']}{request.scope['raw_path'].decode()}"
        again: Any = AWSRequest("POST", url, {name: request.headers[name] for name in names.split(";")}, body)
        again.context["timestamp"] = request.headers["x-amz-date"]
        text: str = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
        return text


@dataclass
class Users:
    """Requests through the balancer, and what became of them."""

    answers: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


class BedrockWalk(Walk):
    """The key is in a file of a folder beside the installation, as JSON; LiteLLM finds both variables by itself."""

    def start_provider(self) -> None:
        admin = secrets.token_urlsafe(30)
        self.environ |= {"IAM_ID": "AKIA" + base64.b32encode(secrets.token_bytes(10)).decode(), "IAM_SECRET": admin}
        self.iam = AccessKeySimulator(KeyMaterial(admin))
        self.iam.behaviour.key_literal = self.literal
        self.bedrock = Bedrock(self.iam)
        self.servers = [LoopbackServer(app) for app in (self.iam.app(), self.bedrock)]
        for server in self.servers:
            server.__enter__()
        self.store = self.folder.parent / f"{self.folder.name}-store"
        self.store.mkdir(mode=0o700)
        key, material = self.iam.add_key("", at_once=True)
        self.iam.tags[key.id] = "by hand"
        self.file.write_text(material.reveal())
        self.file.chmod(0o600)

    @property
    def file(self) -> Path:
        return self.store / PAIR.secret["path"]

    def key_id(self) -> str:
        """Of the store's current key."""
        found: str = json.loads(self.file.read_text())["AWS_ACCESS_KEY_ID"]
        return found

    def write_configuration(self, **settings: Any) -> None:
        super().write_configuration()
        iam = self.servers[0].url
        content = json.loads(self.config.read_text())
        login = {"access_key_id": "env:IAM_ID", "secret_access_key": "env:IAM_SECRET"}
        content["providers"] = {
            "iam": {
                "kind": "aws_access_key",
                "region": REGION,
                "user_name": USER,
                "endpoint_url": iam,
                **login,
                "sts_endpoint_url": iam,
                "usage_lag": "1s",
                "propagation": "5s",
            }
        }
        content["stores"] = {"files": {"kind": "dotenv", "folder": str(self.store)}}
        content["credentials"][PAIR.name] |= {"provider": "iam", **settings}
        del content["credentials"][PAIR.name]["env"]
        self.config.write_text(json.dumps(content, indent=2))

    @property
    def provider_url(self) -> str:  # type: ignore[override]
        return self.servers[0].url

    def start_proxy(self, n: int, way: Way, drain: str = "3s") -> subprocess.Popen[bytes]:
        params = {"model": "bedrock/amazon.nova-lite-v1:0", "aws_region_name": REGION}
        model = {
            "model_name": MODEL,
            "litellm_params": {**params, "aws_bedrock_runtime_endpoint": self.servers[1].url},
            "model_info": {"id": "nova-1"},
        }
        general = {"master_key": "os.environ/LITELLM_MASTER_KEY", "disable_model_info_refresh": True}
        config = self.folder / f"litellm-{n + 1}.json"
        config.write_text(json.dumps({"model_list": [model], "general_settings": general}))
        how = command(config, self.proxy_port, KeyMaterial(self.environ["LITELLM_MASTER_KEY"]))
        program: list[str | Path] = [keyturn_program(), "exec", "--proxy", "local", "--drain", drain, *way.options]
        program += ["--control", self.control(n), "--"]
        program += [self.address(n) if word == "127.0.0.1" else word for word in how.argv]
        # What keyturn itself might log in with: its token is no part of our key.
        own = {"AWS_SESSION_TOKEN": f"{self.own_literal}-session"}
        return self.processes.start(f"member-{n + 1}", program, env={**how.env, **self.environ, **own})

    @asynccontextmanager
    async def users(self, least: int = 20) -> AsyncIterator[Users]:
        """Requests through the balancer while the block runs, and `least` after it. None of all may fail."""
        found, stop = Users(), asyncio.Event()
        headers = {"Authorization": f"Bearer {self.environ['LITELLM_MASTER_KEY']}"}

        async def ask() -> None:
            async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
                left = least
                while left:
                    left -= stop.is_set()
                    body = {"model": MODEL, "messages": [{"role": "user", "content": secrets.token_hex(8)}]}
                    try:
                        answer = await client.post(f"{self.balancer_url}/v1/chat/completions", json=body, headers=headers)
                        if answer.status_code == 200:
                            found.answers[answer.json()["choices"][0]["message"]["content"]] += 1
                        else:
                            found.failures[str(answer.status_code)] += 1
                    except httpx.HTTPError as error:
                        found.failures[type(error).__name__] += 1
                    await asyncio.sleep(0.2)

        asking = asyncio.create_task(ask())
        try:
            yield found
        finally:
            stop.set()
            await asking
        assert dict(found.failures) == {}

    def stop(self) -> None:
        super().stop()
        for server in self.servers:
            server.__exit__(None, None, None)
