"""What may stand in keyturn.yaml under a store of kind `aws_secrets_manager`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta

from pydantic import Field, field_validator, model_validator

from keyturn.aws.settings import AWSLogin, Region
from keyturn.durations import Duration
from keyturn.stores import aws_tags

MAX_TAGS = 50  # of a secret, not counting aws:... (API reference, TagResource; General Reference, quotas for tagging)
OURS = "keyturn:"  # how the tags of keyturn's notes begin

_KMS_KEY = (
    r"^(alias/[A-Za-z0-9/_-]{1,250}|mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:(key|alias)/[A-Za-z0-9/_-]{1,250})$"
)
_IN_EVERY_REGION = ("alias/", "mrk-")
_TAG_KEY, _TAG_VALUE = re.compile(r"[\w .:/=+@-]{1,127}"), re.compile(r"[\w .:/=+@-]{0,255}")


class AWSSettings(AWSLogin):
    """A store of kind `aws_secrets_manager`.

    Credentials: see AWSLogin. `replicas`: regions that must say they are in sync before a promote returns,
    and before a member is rolled; waited for up to `replica_timeout`.

    `kms_key_id`, `tags` and `replicas` are given to secrets that keyturn creates. Of those that exist nothing is changed.
    `rotation_lambda_arn`: the function through which AWS itself starts keyturn (deployments/aws_rotation_lambda.py); a
    secret that AWS rotates by any other is left alone.
    """

    replicas: tuple[Region, ...] = ()
    replica_timeout: Duration = timedelta(minutes=1)
    kms_key_id: str | None = Field(default=None, pattern=_KMS_KEY)
    tags: Mapping[str, str] = {}
    rotation_lambda_arn: str | None = Field(
        default=None, pattern=r"^arn:[a-z-]+:lambda:[a-z0-9-]+:\d{12}:function:[A-Za-z0-9_:-]{1,200}$"
    )

    @field_validator("tags")
    @classmethod
    def _tags_fit(cls, tags: Mapping[str, str]) -> Mapping[str, str]:
        for key, value in tags.items():
            if key.lower().startswith((OURS, "aws:")) or value.lower().startswith("aws:"):
                raise ValueError(f"must not begin with {OURS} or aws:, which keyturn and AWS use themselves")
            if not _TAG_KEY.fullmatch(key) or not _TAG_VALUE.fullmatch(value):
                raise ValueError(
                    "must have names of up to 127 and values of up to 255 letters, digits, spaces and _ . : / = + @ -"
                )
        if len(tags) > (most := MAX_TAGS - aws_tags.MOST):
            raise ValueError(
                f"must be {most} at most: AWS allows {MAX_TAGS} for a secret, and keyturn's notes need the rest"
            )
        return tags

    @model_validator(mode="after")
    def _parts_fit(self) -> AWSSettings:
        if self.region in self.replicas:
            raise ValueError("replicas are regions other than the store's own")
        if self.replicas and self.kms_key_id and not self.kms_key_id.startswith(_IN_EVERY_REGION):
            raise ValueError(
                "kms_key_id must be an alias or a multi-Region key (mrk-...) where there are replicas: the same "
                "name has to lead to a key in each region"
            )
        return self
