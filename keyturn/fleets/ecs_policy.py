"""The least IAM policy for rolling services of ECS, as statements.

Resources and condition keys as in AWS's Service Authorization Reference for Amazon ECS, from memory; which actions a roll
takes is counted on the double (tests/fleets/test_ecs_policy.py). That AWS itself takes them was not tried. iam:PassRole is
left out: UpdateService is given no task definition and no role. That AWS does not ask for it then is not measured either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from keyturn.errors import MisconfiguredError
from keyturn.fleets.ecs_settings import ECSSettings

_OWNED = re.compile(r"arn:(?P<partition>[a-z-]+):[a-z]+:[a-z0-9-]*:(?P<account>\d{12}):.+")
_ACCOUNT = re.compile(r"\d{12}")


def statements(fleets: Sequence[ECSSettings], account: str | None) -> list[dict[str, Any]]:
    """`account`: where neither the cluster's ARN nor a role tells it. MisconfiguredError where nothing does."""
    if account is not None and not _ACCOUNT.fullmatch(account):
        raise MisconfiguredError("an AWS account is twelve digits", remedy="give --account 123456789012")
    services, tasks, clusters = [], [], []
    for each in fleets:
        owned = _OWNED.fullmatch(each.cluster) or _OWNED.fullmatch(each.role_arn or "")
        if owned is None and account is None:
            raise MisconfiguredError(
                f"the account of the cluster {each.cluster} is not known",
                remedy="give --account, or the cluster's ARN in keyturn.yaml",
            )
        partition, owner = (owned["partition"], owned["account"]) if owned else ("aws", account)
        prefix = f"arn:{partition}:ecs:{each.region}:{owner}"
        services += [f"{prefix}:service/{each.cluster_name}/{service}" for service in each.services]
        tasks.append(f"{prefix}:task/{each.cluster_name}/*")
        clusters.append(f"{prefix}:cluster/{each.cluster_name}")
    if not fleets:
        return []
    ours = {"ForAllValues:StringLike": {"aws:TagKeys": ["keyturn:*"]}, "Null": {"aws:TagKeys": "false"}}
    in_clusters = {"ArnEquals": {"ecs:cluster": list(dict.fromkeys(clusters))}}
    return [
        _statement("RollTheServices", ["ecs:DescribeServices", "ecs:UpdateService"], services),
        _statement("NameTheRoll", ["ecs:TagResource"], services, ours),
        _statement("SeeTheirTasks", ["ecs:DescribeTasks"], tasks),
        _statement("FindTheirTasks", ["ecs:ListTasks"], ["*"], in_clusters),
        _statement("SeeWhichSecretsTheyRead", ["ecs:DescribeTaskDefinition"], ["*"]),
    ]


def _statement(
    sid: str, actions: list[str], resources: list[str], condition: dict[str, Any] | None = None
) -> dict[str, Any]:
    made = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": list(dict.fromkeys(resources))}
    return {**made, "Condition": condition} if condition else made
