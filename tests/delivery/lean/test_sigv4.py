"""The signature is AWS's own: botocore's SigV4Auth makes the same of whatever is signed."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import patch

import botocore.auth
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.session import Session
from hypothesis import given
from hypothesis import strategies as st

from keyturn.delivery.lean.declined import Declined
from keyturn.delivery.lean.kinds import KINDS
from keyturn.delivery.lean.sigv4 import signed
from tests.hostile import fuzz

LATIN = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
WORD = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-", min_size=1, max_size=40)


@fuzz(150)
@given(
    body=st.binary(max_size=300),
    host=st.from_regex(r"\A[a-z][a-z0-9.-]{0,30}(:[1-9][0-9]{0,3})?\Z"),
    value=LATIN,
    key_id=WORD,
    secret=WORD,
    token=WORD | st.none(),
    region=st.from_regex(r"\A[a-z]{2}-[a-z]{4,9}-[0-9]\Z"),
    at=st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)),
)
def test_it_is_what_botocore_makes(
    body: bytes, host: str, value: str, key_id: str, secret: str, token: str | None, region: str, at: datetime
) -> None:
    headers = {"Host": host, "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": value}
    request = AWSRequest("POST", f"https://{host}/", headers=headers, data=body)
    with patch.object(botocore.auth, "get_current_datetime", lambda: at.replace(tzinfo=UTC)):
        SigV4Auth(Credentials(key_id, secret, token), "secretsmanager", region).add_auth(request)
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    ours = signed(
        headers, body, region=region, service="secretsmanager", key_id=key_id, secret=secret, token=token, at=stamp
    )
    assert ours == {name: request.headers[name] for name in ours}
    assert ours["Authorization"] == request.headers["Authorization"]
    assert ("X-Amz-Security-Token" in ours) is (token is not None)


PARTITIONS = ["aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-eusc"]


@pytest.mark.parametrize("partition", PARTITIONS)
def test_a_region_is_asked_where_botocore_asks_it_or_left(partition: str) -> None:
    session = Session()
    taken = 0
    for region in session.get_available_regions("secretsmanager", partition_name=partition):
        try:
            KINDS["stores"]["aws_secrets_manager"]({"region": region})
        except Declined:
            continue
        taken += 1
        client = session.create_client(
            "secretsmanager", region_name=region, aws_access_key_id="id", aws_secret_access_key="secret"
        )
        assert client.meta.endpoint_url == f"https://secretsmanager.{region}.amazonaws.com"
        client.close()
    assert bool(taken) is (partition == "aws")
