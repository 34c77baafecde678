"""IAM and STS of one user on loopback, as AWS's SDK speaks to them: the query protocol, signed. Keys are a subclass's.

Every call is a POST to `/` with its `Action` in a form; inside, it has a route of its own, `/<Action>`. Signatures are
checked. Control: see keyturn.testing.vendors.service.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, ClassVar
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyturn.delivery.lean.sigv4 import signed
from keyturn.material import KeyMaterial
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator

MOST = 2
USER = "litellm"
_ACCOUNT = "arn:aws:iam::123456789012"
USER_ARN, OWN_ARN = f"{_ACCOUNT}:user/apps/{USER}", f"{_ACCOUNT}:user/keyturn"
_VERBS = {"Create": "create", "Delete": "delete", "Update": "disable"}
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([A-Z0-9]+)/[0-9]{8}/([a-z0-9-]+)/([a-z]+)/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=[0-9a-f]{64}"
)
_SPEAKS_XML: ContextVar[bool] = ContextVar("speaks_xml", default=False)

_SIMULATED = ("PolicySourceArn", "ActionNames", "ResourceArns")
TAG_ROUTES = (
    Route("list_tags", "admin", "POST", "/ListUserTags", body=("UserName", "Marker", "MaxItems"), reads=True),
    Route("get_user", "admin", "POST", "/GetUser", body=("UserName",), reads=True),
    Route("simulate", "admin", "POST", "/SimulatePrincipalPolicy", body=_SIMULATED, reads=True),
    Route("caller", "key", "POST", "/GetCallerIdentity"),
    Route("tag", "admin", "POST", "/TagUser", body=("UserName", "Tags")),
    Route("untag", "admin", "POST", "/UntagUser", body=("UserName", "TagKeys")),
)


class AWSUserSimulator(Simulator):
    """See the module's text. `tags`: the user's. `missing`: context keys that a policy of keyturn's own hangs on."""

    NAMESPACE: ClassVar[str] = "https://iam.amazonaws.com/doc/2010-05-08/"

    def __init__(self, admin: KeyMaterial, clock: Callable[[], float] = time.time) -> None:
        super().__init__(admin, clock)
        self._admin = admin
        self.tags: dict[str, str] = {}
        self.missing: list[str] = []
        self.materials: dict[str, KeyMaterial] = {}  # access key id -> its secret, for checking signatures

    # The wire -------------------------------------------------------------------------------------------------------

    def app(self) -> ASGIApp:  # type: ignore[override]  # Starlette, with a door in front of it
        inside = super().app()

        async def door(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", "/"):
                await inside(scope, receive, send)
                return
            body = b""
            while (message := await receive())["type"] == "http.request":
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            replay: list[Message] = [{"type": "http.request", "body": body}]

            async def again() -> Message:
                return replay.pop() if replay else await receive()

            form = dict(parse_qsl(body.decode(), keep_blank_values=True))
            path = f"/{form.get('Action', '')}"
            token = _SPEAKS_XML.set(True)
            try:
                scope = {**scope, "path": path, "raw_path": path.encode(), "signed_by": self._signer(Request(scope), body)}
                await inside(scope, again, send)
            finally:
                _SPEAKS_XML.reset(token)

        return door

    def _signer(self, request: Request, body: bytes) -> str:
        """The secret that the request is signed with; "" where that is none that is known."""
        found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if found is None:
            return ""
        id, region, service, names = found.groups()
        secret = self.materials.get(id, self._admin).reveal()
        own = ("x-amz-date", "x-amz-security-token")
        headers = {name: request.headers.get(name, "") for name in names.split(";") if name not in own}
        at, token = request.headers.get("x-amz-date", ""), request.headers.get("x-amz-security-token")
        made = signed(headers, body, region=region, service=service, key_id=id, secret=secret, token=token, at=at)
        return secret if made["Authorization"] == found.group() else ""

    async def _parameters(self, request: Request, route: Route) -> tuple[Mapping[str, str], Mapping[str, Any]]:
        if not _SPEAKS_XML.get():
            return await super()._parameters(request, route)
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        version = form.pop("Version", ""), form.pop("Action", "")
        if version[0] not in ("2010-05-08", "2011-06-15"):
            raise RefusedError(400, "no such version", "InvalidAction")
        given = _structured(form)
        unknown = given.keys() - set(route.body or ())
        if unknown:
            raise RefusedError(400, f"unknown parameter {sorted(unknown)[0]}", "ValidationError")
        if "UserName" in (route.body or ()) and given.get("UserName") != USER:
            raise RefusedError(404, "The user with that name cannot be found.", "NoSuchEntity")
        return {}, given

    def admin_of(self, request: Request) -> str:
        found: str = request.scope.get("signed_by", "")
        return found

    def answer(self, action: str, result: Mapping[str, Any] | None = None) -> Response:
        """As the query protocol has it. An action without a result has none in its answer."""
        told = "" if result is None else f"<{action}Result>{_xml(result)}</{action}Result>"
        id = uuid.uuid4()
        body = (
            f'<{action}Response xmlns="{self.NAMESPACE}">{told}'
            f"<ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{action}Response>"
        )
        return Response(body, media_type="text/xml", headers={"x-amzn-requestid": str(id)})

    def error(self, status: int, message: str, code: str = "") -> Response:
        told = f"<Type>Sender</Type><Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
        id = f"<RequestId>{uuid.uuid4()}</RequestId>"
        body = f'<ErrorResponse xmlns="{self.NAMESPACE}"><Error>{told}</Error>{id}</ErrorResponse>'
        return Response(body, status, media_type="text/xml")

    def denied(self) -> Response:
        return self.error(403, "User is not authorized to perform this action", "AccessDenied")

    def rejected(self, group: str) -> Response:
        return self.error(403, "The security token included in the request is invalid.", "InvalidClientTokenId")

    @staticmethod
    def speaks_xml() -> bool:
        """Whether the request at hand is one of IAM or STS."""
        return _SPEAKS_XML.get()

    # Keys and tags ----------------------------------------------------------------------------------------------------

    def demand_room(self) -> None:
        if len(self.live()) >= MOST:
            raise RefusedError(409, "Cannot exceed quota: 2", "LimitExceeded")

    def by_id(self, id: str) -> Key:
        try:
            return super().by_id(id)
        except RefusedError:
            raise RefusedError(404, "The key with that id cannot be found.", "NoSuchEntity") from None

    def status(self, key: Key) -> str:
        return "Inactive" if key.disabled else "Active"

    def turn(self, key: Key, status: Any) -> None:
        if status not in ("Active", "Inactive"):
            raise RefusedError(400, "status", "ValidationError")
        key.disabled = status == "Inactive"

    # What keyturn's own credentials may ------------------------------------------------------------------------------

    def _may(self, route: Route, caller: KeyMaterial | None, key: Key | None) -> bool:
        is_admin = caller is not None and caller == self._admin
        return (is_admin and route.operation == "caller") or super()._may(route, caller, key)

    def key_of(self, request: Request) -> str:
        return self.admin_of(request) if self.speaks_xml() else super().key_of(request)

    async def caller(self, call: Call) -> Response:
        arn, user = (USER_ARN, "AIDALITELLMEXAMPLE") if call.key else (OWN_ARN, "AIDAKEYTURNEXAMPLE")
        return self.answer("GetCallerIdentity", {"Arn": arn, "UserId": user, "Account": "123456789012"})

    async def get_user(self, call: Call) -> Response:
        made = "2026-01-01T00:00:00Z"
        user = {"Path": "/apps/", "UserName": USER, "UserId": "AIDALITELLMEXAMPLE", "Arn": USER_ARN, "CreateDate": made}
        return self.answer("GetUser", {"User": user})

    async def simulate(self, call: Call) -> Response:
        """For another user than this one nothing is allowed."""
        if call.body.get("PolicySourceArn") != OWN_ARN:
            raise RefusedError(404, "The principal cannot be found.", "NoSuchEntity")
        (resource,) = call.body.get("ResourceArns", ["*"])
        results = []
        for action in call.body.get("ActionNames", []):
            verb = next((each for name, each in _VERBS.items() if action.startswith(f"iam:{name}")), "")
            decision = "allowed" if resource == USER_ARN and not self.lacks(verb) else "implicitDeny"
            of_user = {"EvalResourceName": resource, "EvalResourceDecision": decision, "MissingContextValues": self.missing}
            results.append(
                {
                    "EvalActionName": action,
                    "EvalResourceName": "arn:${Partition}:iam::${Account}:user/${UserNameWithPath}",
                    "EvalDecision": decision,
                    "MatchedStatements": [],
                    "MissingContextValues": [],
                    "ResourceSpecificResults": [of_user],
                }
            )
        return self.answer("SimulatePrincipalPolicy", {"EvaluationResults": results, "IsTruncated": False})

    async def list_tags(self, call: Call) -> Response:
        tags = [{"Key": name, "Value": value} for name, value in self.tags.items()]
        return self.answer("ListUserTags", {"Tags": tags, "IsTruncated": False})

    async def tag(self, call: Call) -> Response:
        for tag in call.body.get("Tags", []):
            if not re.fullmatch(r"[\w .:/=+@-]{1,128}", tag["Key"]) or not re.fullmatch(
                r"[\w .:/=+@-]{0,256}", tag["Value"]
            ):
                raise RefusedError(400, "a tag", "ValidationError")
            self.tags[tag["Key"]] = tag["Value"]
        if len(self.tags) > 50:
            raise RefusedError(409, "too many tags", "LimitExceeded")
        return self.answer("TagUser")

    async def untag(self, call: Call) -> Response:
        for name in call.body.get("TagKeys", []):
            self.tags.pop(name, None)
        return self.answer("UntagUser")


def _structured(form: Mapping[str, str]) -> dict[str, Any]:
    """`Tags.member.1.Key` and the like as lists; the rest as it is."""
    found: dict[str, Any] = {}
    for name, value in form.items():
        head, *path = name.split(".")
        if not path:
            found[head] = value
        elif len(path) == 2 and path[0] == "member":
            found.setdefault(head, []).append(value)
        else:
            items: list[dict[str, str]] = found.setdefault(head, [])
            if int(path[1]) > len(items):
                items.append({})
            items[-1][path[2]] = value
    return found


def _xml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "".join(f"<{name}>{_xml(each)}</{name}>" for name, each in value.items() if each is not None)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "".join(f"<member>{_xml(each)}</member>" for each in value)
    return escape(str(value).lower() if isinstance(value, bool) else str(value))
