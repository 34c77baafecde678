"""Who may do what at the Kubernetes double: bearer tokens, RBAC, and the reviews that tell about both.

After the pages "Authenticating" and "Using RBAC Authorization" of kubernetes.io: everything is denied that no rule grants;
a rule with `resourceNames` grants nothing where a request has no name, as a create has none. The answers to token reviews
are held to recordings. Left out: that nobody may grant what he has not, aggregated roles, impersonation, expiry.
"""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from keyturn.testing.kubernetes_objects import Cluster, Resource
from keyturn.testing.kubernetes_refusals import Object, bad_request, unauthorized
from keyturn.testing.kubernetes_secrets import SERVICE_ACCOUNTS

AUDIENCE = "https://kubernetes.default.svc"
_RBAC = "rbac.authorization.k8s.io"

ROLES = Resource(_RBAC, "v1", "roles", "Role")
ROLE_BINDINGS = Resource(_RBAC, "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLES = Resource(_RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS = Resource(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
RBAC = (ROLES, ROLE_BINDINGS, CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS)

_EVERYBODY: tuple[Object, ...] = (  # the cluster role system:basic-user, which every cluster binds to system:authenticated
    {
        "verbs": ["create"],
        "apiGroups": ["authorization.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    },
)


@dataclass(frozen=True)
class User:
    """Who asks."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, list[str]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
ADMIN = User("admin", ("system:masters", "system:authenticated"))


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for. `name` "" where the request has none."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class Access:
    """The tokens, and what the roles of the cluster grant to whom."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._users: dict[str, User] = {}

    def add(self, user: User, token: str | None = None) -> str:
        """A token for this user, made up where none is given."""
        token = token or secrets.token_urlsafe(32)
        self._users[token] = user
        return token

    def add_account(self, namespace: str, name: str) -> str:
        """A token for a service account, as TokenRequest gives one. The account is there already."""
        account = self._cluster.get(SERVICE_ACCOUNTS, namespace, name)
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        jti = str(uuid.uuid4())
        extra = {"authentication.kubernetes.io/credential-id": [f"JTI={jti}"]}
        uid = account["metadata"]["uid"]
        user = User(f"system:serviceaccount:{namespace}:{name}", groups, uid, extra)
        return self.add(user, _token(user, namespace, name, jti))

    def with_rules(self, namespace: str, name: str, rules: Sequence[Object]) -> str:
        """A service account of this name that has these rules of a Role, instead of what it had, and nothing else."""
        for resource, made in (
            (SERVICE_ACCOUNTS, {}),
            (ROLES, {"rules": list(rules)}),
            (
                ROLE_BINDINGS,
                {
                    "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
                    "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
                },
            ),
        ):
            there = self._cluster.find(resource, namespace, name)
            if there is None:
                self._cluster.create(resource, namespace, {"metadata": {"name": name}, **made})
            else:
                self._cluster.update(resource, namespace, name, {"metadata": {"name": name}, **made})
        return self.add_account(namespace, name)

    def forget(self, token: str) -> None:
        """It is refused from now on."""
        self._users.pop(token, None)

    def user(self, authorization: str | None) -> User:
        """Who asks with this header; without one it is `system:anonymous`. RefusedError (401) for a token not known."""
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        found = self._users.get(token.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise unauthorized()
        return found

    def allows(self, user: User, asked: Asked) -> bool:
        return "system:masters" in user.groups or any(_grants(rule, asked) for rule in self._rules(user, asked.namespace))

    def _rules(self, user: User, namespace: str) -> Iterator[Object]:
        if "system:authenticated" in user.groups:
            yield from _EVERYBODY
        for binding in self._cluster.list(CLUSTER_ROLE_BINDINGS)[0]:
            yield from self._bound(binding, user, "")
        if namespace:
            for binding in self._cluster.list(ROLE_BINDINGS, namespace)[0]:
                yield from self._bound(binding, user, namespace)

    def _bound(self, binding: Object, user: User, namespace: str) -> Iterator[Object]:
        if not any(_is_meant(subject, user, namespace) for subject in binding.get("subjects") or []):
            return
        reference = binding["roleRef"]
        of_namespace = reference["kind"] == "Role"
        role = self._cluster.find(
            ROLES if of_namespace else CLUSTER_ROLES, namespace if of_namespace else "", reference["name"]
        )
        yield from (role or {}).get("rules") or []

    # Reviews: objects that are only ever created, and answered.

    def review(self, plural: str, user: User, sent: Object) -> Object:
        """The answer to one of `REVIEWS`."""
        spec = sent.get("spec")
        if not isinstance(spec, dict):
            raise bad_request("spec is required")
        kind, group = REVIEWS[plural]
        match plural:
            case "tokenreviews":
                status = self._token_status(spec)
            case "selfsubjectaccessreviews":
                status = self._access_status(user, spec)
            case _:
                status = self._rules_status(user, spec)
        return {"kind": kind, "apiVersion": f"{group}/v1", "metadata": {}, "spec": spec, "status": status}

    def _token_status(self, spec: Object) -> Object:
        user = self._users.get(spec.get("token", ""))
        audiences = spec.get("audiences") or [AUDIENCE]
        if user is None or AUDIENCE not in audiences:
            return {"user": {}, "error": "invalid bearer token"}
        told = {"username": user.name, "uid": user.uid, "groups": list(user.groups), "extra": dict(user.extra)}
        return {
            "authenticated": True,
            "user": {name: value for name, value in told.items() if value},
            "audiences": [AUDIENCE],
        }

    def _access_status(self, user: User, spec: Object) -> Object:
        asked = spec.get("resourceAttributes")
        if not isinstance(asked, dict):
            raise bad_request("this double answers reviews with resourceAttributes alone")
        wanted = Asked(
            asked.get("verb", ""),
            asked.get("group", ""),
            asked.get("resource", ""),
            asked.get("namespace", ""),
            asked.get("name", ""),
            asked.get("subresource", ""),
        )
        return {"allowed": self.allows(user, wanted)}

    def _rules_status(self, user: User, spec: Object) -> Object:
        namespace = spec.get("namespace")
        if not namespace:
            raise bad_request("no namespace on request")
        rules = list(self._rules(user, namespace))
        if "system:masters" in user.groups:
            rules.append({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
        return {"resourceRules": rules, "nonResourceRules": [], "incomplete": False}


REVIEWS = {
    "tokenreviews": ("TokenReview", "authentication.k8s.io"),
    "selfsubjectaccessreviews": ("SelfSubjectAccessReview", "authorization.k8s.io"),
    "selfsubjectrulesreviews": ("SelfSubjectRulesReview", "authorization.k8s.io"),
}


def _grants(rule: Object, asked: Asked) -> bool:
    resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    names = rule.get("resourceNames") or []
    return (
        bool({"*", asked.verb} & set(rule.get("verbs") or []))
        and bool({"*", asked.group} & set(rule.get("apiGroups") or []))
        and bool({"*", resource, f"*/{asked.subresource}"} & set(rule.get("resources") or []))
        and (not names or (asked.name in names and asked.name != ""))
    )


def _is_meant(subject: Object, user: User, namespace: str) -> bool:
    match subject.get("kind"):
        case "User":
            return bool(subject["name"] == user.name)
        case "Group":
            return subject["name"] in user.groups
        case "ServiceAccount":
            space = subject.get("namespace") or namespace
            return user.name == f"system:serviceaccount:{space}:{subject['name']}"
    return False


def _token(user: User, namespace: str, name: str, jti: str) -> str:
    """A JWT in form, with the claims of a real one. Its signature is noise: what counts is the list of tokens."""
    claims = {
        "aud": [AUDIENCE],
        "iss": AUDIENCE,
        "jti": jti,
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": user.uid}},
        "sub": user.name,
    }
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "kid": "double", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, secrets.token_bytes(256)))
