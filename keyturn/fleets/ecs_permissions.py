"""What IAM grants keyturn's own credentials on the services, by its policy simulator, which does nothing that it is asked
about. It needs iam:SimulatePrincipalPolicy on the principal. Source: botocore 1.44.5; not measured.

What is only read shows by reading. UpdateService and TagResource have no call that would tell and change nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from keyturn.aws.sdk import attempt, code_of, make_client
from keyturn.aws.simulation import principal_of
from keyturn.fleets.ecs_settings import ECSSettings
from keyturn.model import Finding
from keyturn.references import Resolver

ACTIONS = ("ecs:TagResource", "ecs:UpdateService")
_WHAT = "may tag and update the ECS services"


async def permissions(settings: ECSSettings, resolve: Resolver, services: Sequence[str], tag: str) -> Sequence[Finding]:
    """`services`: their ARNs. What cannot be told is None: the roll will show it."""
    texts = [(await resolve(reference)).reveal() for reference in settings.references]
    return await asyncio.to_thread(_told, settings, texts, services, tag)


def _told(settings: ECSSettings, texts: Sequence[str], services: Sequence[str], tag: str) -> Sequence[Finding]:
    remedy = "allow iam:SimulatePrincipalPolicy on keyturn's own role, or set check_permissions: false"
    principal = settings.role_arn
    if principal is None:
        caller = _asked("sts", settings, settings.sts_endpoint_url, texts, "get_caller_identity", {})
        arn = caller.get("Arn") if isinstance(caller, dict) else None
        principal = principal_of(arn) if isinstance(arn, str) else None
        if principal is None:
            return [Finding(_WHAT, None, f"whose credentials these are, AWS does not say{_code(caller)}", remedy)]
    context = [{"ContextKeyName": "aws:TagKeys", "ContextKeyValues": [tag], "ContextKeyType": "stringList"}]
    asked = {
        "PolicySourceArn": principal,
        "ActionNames": list(ACTIONS),
        "ResourceArns": list(services),
        "ContextEntries": context,
    }
    answer = _asked("iam", settings, settings.iam_endpoint_url, texts, "simulate_principal_policy", asked)
    results = answer.get("EvaluationResults") if isinstance(answer, dict) else None
    if not isinstance(results, list):
        return [Finding(_WHAT, None, f"IAM's policy simulator does not tell{_code(answer)}", remedy)]
    denied = sorted({action for each in results for action in ACTIONS if _is_denied(each, action)})
    unsure = any(isinstance(each, Mapping) and each.get("MissingContextValues") for each in results)
    told = {each.get("EvalActionName") for each in results if isinstance(each, Mapping)}
    if unsure or not told >= set(ACTIONS):
        return [Finding(_WHAT, None, "the policies hang on more than the simulator knows", remedy)]
    if denied:
        return [Finding(_WHAT, False, f"not granted: {', '.join(denied)}", "`keyturn policy aws` prints what is needed")]
    return [Finding(_WHAT, True)]


def _is_denied(result: Any, action: str) -> bool:
    if not isinstance(result, Mapping) or result.get("EvalActionName") != action:
        return False
    specific = result.get("ResourceSpecificResults") or []
    decisions = [each.get("EvalResourceDecision") for each in specific if isinstance(each, Mapping)]
    return any(decision != "allowed" for decision in decisions or [result.get("EvalDecision")])


def _asked(
    service: str, settings: ECSSettings, url: str | None, texts: Sequence[str], method: str, arguments: Mapping[str, Any]
) -> Any:
    """Its answer, or the SDK's error as a value."""
    login = settings.model_copy(update={"endpoint_url": url})
    client = attempt(partial(make_client, service, login, texts, 2))
    if isinstance(client, Exception):
        return client
    try:
        return attempt(partial(getattr(client, method), **arguments))
    finally:
        client.close()


def _code(answer: Any) -> str:
    """Of a refusal: its code; of a silence: its class."""
    code = code_of(answer)
    if isinstance(answer, ClientError):
        return f" ({code})" if code.isalnum() and len(code) < 65 else ""
    return f" ({type(answer).__name__})" if isinstance(answer, Exception) else ""
