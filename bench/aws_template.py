"""What people use today: a rotation function after AWS's template for a single user, in its four steps.

The steps, and which values each of them reads, are those of the user guide ("Lambda rotation functions") and of AWS's sample
for a single user: each invocation describes the secret; a new value is staged under the token; it is set where it is used;
it is tried; AWSCURRENT is moved to it. AWSPREVIOUS is read only where the current value does not work any more, which here
it always does. Written for counting its calls.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


class SingleUser:
    """`api`: a client of Secrets Manager. `set_password`, `accepts`: the system whose password it is."""

    def __init__(self, api: Any, set_password: Callable[[str, str], None], accepts: Callable[[str], bool]) -> None:
        self.api, self.set_password, self.accepts = api, set_password, accepts

    def handler(self, event: Mapping[str, str], context: object = None) -> None:
        arn, token = event["SecretId"], event["ClientRequestToken"]
        described = self.api.describe_secret(SecretId=arn)
        labels = described["VersionIdsToStages"].get(token, [])
        if not described.get("RotationEnabled") or not labels:
            raise ValueError("not set up for rotation")
        if "AWSCURRENT" in labels:
            return
        if "AWSPENDING" not in labels:
            raise ValueError("not staged for rotation")
        steps = {"createSecret": self.create, "setSecret": self.set, "testSecret": self.test, "finishSecret": self.finish}
        steps[event["Step"]](arn, token)

    def create(self, arn: str, token: str) -> None:
        current = self.read(arn, "AWSCURRENT")
        try:
            self.read(arn, "AWSPENDING", token)
        except self.api.exceptions.ResourceNotFoundException:
            password = self.api.get_random_password(ExcludeCharacters="/@\"'\\")["RandomPassword"]
            text = json.dumps({**current, "password": password})
            self.api.put_secret_value(
                SecretId=arn, ClientRequestToken=token, SecretString=text, VersionStages=["AWSPENDING"]
            )

    def set(self, arn: str, token: str) -> None:
        pending = self.read(arn, "AWSPENDING", token)
        if self.accepts(pending["password"]):
            return
        current = self.read(arn, "AWSCURRENT")
        if not self.accepts(current["password"]):
            current = self.read(arn, "AWSPREVIOUS")
        self.set_password(current["password"], pending["password"])

    def test(self, arn: str, token: str) -> None:
        if not self.accepts(self.read(arn, "AWSPENDING", token)["password"]):
            raise ValueError("the new password is refused")

    def finish(self, arn: str, token: str) -> None:
        versions = self.api.describe_secret(SecretId=arn)["VersionIdsToStages"]
        current = next(version for version, labels in versions.items() if "AWSCURRENT" in labels)
        if current != token:
            self.api.update_secret_version_stage(
                SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current
            )

    def read(self, arn: str, label: str, token: str = "") -> dict[str, str]:
        version = {"VersionId": token} if token else {}
        answer = self.api.get_secret_value(SecretId=arn, VersionStage=label, **version)
        fields: dict[str, str] = json.loads(answer["SecretString"])
        return fields
