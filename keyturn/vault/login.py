"""How a token is got: one function for each auth method of Vault's.

Requests and answers after Vault's pages "AppRole", "Kubernetes", "JWT/OIDC" and "AWS auth method (API)", and "Response
wrapping"; all but AWS were tried on OpenBao 2.7.2.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError
from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.references import Resolver
from keyturn.vault.answer import Answer
from keyturn.vault.iam import signed_identity
from keyturn.vault.settings import AppRoleAuth, Auth, AWSAuth, JWTAuth, KubernetesAuth, TokenAuth
from keyturn.vault.token import Token, token_in

Post = Callable[..., Awaitable[Answer]]
"""post(path, body, token): sends it, and gives any answer that may be one to a login: 2xx, 400, 403 and 404."""

_REFUSED = (400, 403, 404)

_REMEDIES: Mapping[str, str] = {
    "approle": "check that role id and secret id belong together, and that the secret id has not expired or been used up; "
    "`vault write -f auth/<mount>/role/<role>/secret-id` makes a new one",
    "kubernetes": "check that the role is bound to this pod's service account, namespace and audience, and that Vault may "
    "ask the cluster for token reviews",
    "jwt": "check that the token has not expired, and that the role's bound audiences, subject and claims fit it",
    "aws": "check that the role is bound to this identity (bound_iam_principal_arn), that iam_server_id is what the method "
    "was configured with, and region that of its sts_endpoint",
}


class Login:
    """Logs in, as often as it is asked to. A secret id that came wrapped is unwrapped once, and kept in memory."""

    def __init__(self, auth: Auth, resolve: Resolver, post: Post, where: str) -> None:
        self._auth, self._resolve, self._post, self._where = auth, resolve, post, where
        self._unwrapped: KeyMaterial | None = None

    async def __call__(self) -> Token:
        """DeniedError where Vault refuses. Needs no policy: whoever logs in has none yet."""
        auth = self._auth
        if isinstance(auth, TokenAuth):
            return Token(await self._resolve(auth.token))
        answer = await self._post(auth.path, await self._body(auth))
        if answer.status in _REFUSED:
            raise DeniedError(
                f"{self._where} refuses the {auth.method} login at {auth.path} ({answer.status})",
                remedy=_REMEDIES[auth.method],
            )
        try:
            return token_in(answer.body)
        except UnreadableError:
            raise self._not_vault(auth.path) from None

    async def _body(self, auth: AppRoleAuth | KubernetesAuth | JWTAuth | AWSAuth) -> Mapping[str, Any]:
        if isinstance(auth, AppRoleAuth):
            role_id, secret_id = await self._resolve(auth.role_id), await self._secret_id(auth)
            return {"role_id": role_id.reveal(), "secret_id": secret_id.reveal()}
        if isinstance(auth, AWSAuth):
            return {"role": auth.role, **await signed_identity(auth, self._resolve)}
        reference = f"file:{auth.token_file}" if isinstance(auth, KubernetesAuth) else auth.token
        return {"role": auth.role, "jwt": (await self._resolve(reference)).reveal()}

    async def _secret_id(self, auth: AppRoleAuth) -> KeyMaterial:
        if auth.secret_id is not None:
            return await self._resolve(auth.secret_id)
        if self._unwrapped is None:
            self._unwrapped = await self._unwrap(auth)
        return self._unwrapped

    async def _unwrap(self, auth: AppRoleAuth) -> KeyMaterial:
        """The secret id in a wrapping token, which is used up by that.

        First the token is looked up, which does not use it: whoever has intercepted it can wrap something else again, but
        not under the path of a secret id. So what is told is either that nobody has looked inside, or that somebody may.
        """
        token = await self._resolve(auth.wrapped_secret_id or "")
        answer = await self._post("sys/wrapping/lookup", {"token": token.reveal()})
        if answer.status in _REFUSED:
            raise self._used_up(auth)
        made_at = answer.data.get("creation_path")
        mount = re.escape(auth.path.removesuffix("/login"))
        if not isinstance(made_at, str) or not re.fullmatch(rf"{mount}/role/[^/]+/secret-id", made_at):
            raise DeniedError(
                f"the wrapping token in {auth.wrapped_secret_id} was not made for a secret id: it may have been swapped",
                remedy="treat it as intercepted: destroy the secret ids of the role, find out who handles the token on its "
                "way, and have a new one made",
            )
        answer = await self._post("sys/wrapping/unwrap", None, token)
        if answer.status in _REFUSED:
            raise self._used_up(auth)
        secret_id = answer.data.get("secret_id")
        try:
            return KeyMaterial(secret_id if isinstance(secret_id, str) else "")
        except ValueError:
            raise self._not_vault("sys/wrapping/unwrap") from None

    def _used_up(self, auth: AppRoleAuth) -> KeyturnError:
        return DeniedError(
            f"the wrapping token in {auth.wrapped_secret_id} was used before, or has expired",
            remedy="if no process of yours has used it (each needs one of its own, and a new one when it starts anew), "
            "somebody has intercepted it: destroy the secret ids of the role, find out who handles the token on its way; "
            "then have a new one made with `vault write -wrap-ttl=5m -f auth/<mount>/role/<role>/secret-id`",
        )

    def _not_vault(self, path: str) -> KeyturnError:
        return MisconfiguredError(
            f"what answers at {self._where} to {path} does not speak Vault's API",
            remedy="check the address, and proxies and login pages in between",
        )
