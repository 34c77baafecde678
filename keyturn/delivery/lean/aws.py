"""CURRENT out of AWS Secrets Manager: one GetSecretValue for each secret.

Answers as keyturn.stores.aws_versions reads them; a test holds the two against each other.
"""

from __future__ import annotations

import json
import os
import time

from keyturn.delivery.lean.declined import Declined
from keyturn.delivery.lean.plain import Settings
from keyturn.delivery.lean.plan import Secret
from keyturn.delivery.lean.references import resolved
from keyturn.delivery.lean.sigv4 import signed
from keyturn.delivery.lean.wire import Wire
from keyturn.material import KeyMaterial
from keyturn.stores.aws_answers import is_of_aws
from keyturn.stores.json_bundle import field_text

_OPERATION, _STAGE = "GetSecretValue", "AWSCURRENT"
_KIND = "application/x-amz-json-1.1"
# Any other variable of AWS's may tell the SDK to go elsewhere, or to log in in another way.
_KNOWN = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
}
_FILES = ("~/.aws/config", "~/.aws/credentials")


class AWSReader:
    """A context manager: one region with one pair of keys. Needs secretsmanager:GetSecretValue, and kms:Decrypt where the
    secret has a key of its own. Declined for all that is not plain."""

    def __init__(self, settings: Settings) -> None:
        if any(name.startswith("AWS_") and name not in _KNOWN for name in os.environ):
            raise Declined
        if any(os.path.exists(os.path.expanduser(file)) for file in _FILES):  # noqa: PTH110, PTH111
            raise Declined
        self._region = settings["region"]
        given = [settings.get(name) for name in ("access_key_id", "secret_access_key", "session_token")]
        if given[0] is None:
            names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
            given = [f"env:{name}" if os.environ.get(name) else None for name in names]
        if given[0] is None or given[1] is None:
            raise Declined
        self._key_id, self._secret = resolved(given[0]), resolved(given[1])
        self._session = None if given[2] is None else resolved(given[2])
        self._wire = Wire(settings.get("endpoint_url", f"https://secretsmanager.{self._region}.amazonaws.com"))
        self._read: dict[str, tuple[str, str]] = {}

    def __enter__(self) -> AWSReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.__exit__(None, None, None)

    def current(self, secret: Secret) -> tuple[str, KeyMaterial]:
        """The version's id, and the key."""
        if secret.path not in self._read:
            self._read[secret.path] = self._value(secret.path)
        version, text = self._read[secret.path]
        value = text if secret.field is None else field_text(text, secret.field)
        if value is None:
            raise Declined
        return version, KeyMaterial(value)

    def _value(self, path: str) -> tuple[str, str]:
        body = json.dumps({"SecretId": path, "VersionStage": _STAGE}).encode()
        headers = {"Host": self._wire.host, "Content-Type": _KIND, "X-Amz-Target": f"secretsmanager.{_OPERATION}"}
        sent = signed(
            headers,
            body,
            region=self._region,
            service="secretsmanager",
            key_id=self._key_id.reveal(),
            secret=self._secret.reveal(),
            token=self._session.reveal() if self._session else None,
            at=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
        )
        answer = self._wire.ask("POST", "/", {**sent, "Accept-Encoding": "identity"}, body)
        text = answer.get("SecretString")
        if not is_of_aws(_OPERATION, {**answer, "ResponseMetadata": {"HTTPStatusCode": 200}}) or not isinstance(text, str):
            raise Declined
        return answer["VersionId"], text
