"""What IAM grants keyturn's own credentials on a user: by its policy simulator, which does nothing that it is asked about.

SimulatePrincipalPolicy needs a permission of its own, `iam:SimulatePrincipalPolicy` on the principal, and the user's ARN, so
`iam:GetUser` on the user: an ARN without the user's path would be another user's. IAM has no DryRun. What a policy makes
hang on the call itself (MissingContextValues), the simulator does not know: that is not told. Source: botocore 1.44.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keyturn.aws.simulation import principal_of
from keyturn.errors import DeniedError, NotFoundError, UnavailableError
from keyturn.json_object import UnreadableError
from keyturn.providers.aws_iam import Answer, IamApi
from keyturn.providers.facts import Facts, May, Permission
from keyturn.providers.fields import items, mapping, text
from keyturn.providers.permissions import Rights, rights_of

TOLD_BY = "SimulatePrincipalPolicy, GetUser, GetCallerIdentity (with iam:SimulatePrincipalPolicy on itself, and iam:GetUser)"


def permissions(create: str, delete: str, update: str, lists: Sequence[str]) -> tuple[Permission, ...]:
    """Of a kind of key: each by the name of IAM's action."""
    return (
        Permission(May.CREATE, (f"iam:{create}", "iam:TagUser", "iam:UntagUser"), TOLD_BY),
        Permission(May.LIST, tuple(f"iam:{each}" for each in lists)),
        Permission(May.DELETE, (f"iam:{delete}",), TOLD_BY),
        Permission(May.DISABLE, (f"iam:{update}",), TOLD_BY),
    )


async def simulated(iam: IamApi, role_arn: str | None, facts: Facts) -> Rights:
    """`role_arn`: the role that the credentials are used to assume, where there is one."""
    principal = role_arn or principal_of(await iam.caller())
    if principal is None:
        return Rights(note="the credentials are neither a user's nor a role's")
    user = _read(await iam.call("GetUser"), lambda answer: text(mapping(answer.get("User")).get("Arn")))
    actions = sorted({name for each in facts.permissions for name in each.needs})
    asked = {"PolicySourceArn": principal, "ActionNames": actions, "ResourceArns": [user]}
    try:
        answer = await iam.call("SimulatePrincipalPolicy", asked, about_user=False)
    except DeniedError as error:
        raise DeniedError(error.message, remedy=f"allow iam:SimulatePrincipalPolicy on {principal}") from None
    if answer is None:
        return Rights(note=f"IAM finds no {principal}: its path is not known")
    decided = _read(answer, lambda given: dict(_decision(each, user) for each in items(given.get("EvaluationResults"))))
    granted = [action for action in actions if decided.get(action) is True]
    return rights_of(facts, granted, [action for action in actions if decided.get(action) is None])


def _decision(result: Mapping[str, Any], user: str) -> tuple[str, bool | None]:
    """Of one action: the decision for this user, where there is one, and not the strictest of all."""
    of_user = [each for each in result.get("ResourceSpecificResults", []) if each.get("EvalResourceName") == user]
    decision = text(of_user[0].get("EvalResourceDecision") if of_user else result.get("EvalDecision"))
    open_questions = any(each.get("MissingContextValues") for each in (result, *of_user))
    return text(result.get("EvalActionName")), None if open_questions else decision == "allowed"


def _read(answer: Answer | None, parse: Any) -> Any:
    if answer is None:
        raise NotFoundError("IAM knows no such user", remedy="check user_name, and whose account it is")
    try:
        return parse(answer)
    except UnreadableError:
        raise UnavailableError("what answers is not IAM", remedy="look at endpoint_url, and at proxies") from None
