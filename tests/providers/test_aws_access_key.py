"""AWS access keys: the suite, and boto3 at the simulator."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from keyturn.material import KeyMaterial
from keyturn.model import Verdict
from keyturn.providers.admin_api import Answer
from keyturn.providers.aws_access_key import AwsAccessKey
from keyturn.providers.verdicts import Row
from keyturn.testing.provider_scene import Scene, new_label
from keyturn.testing.provider_suite import fault
from keyturn.testing.vendors.aws_access_key import AccessKeySimulator
from tests.providers.aws_user import ADMIN_ID, IamUserSuite
from tests.providers.sdk import drive


class TestAwsAccessKey(IamUserSuite):
    PROVIDER, SIMULATOR = AwsAccessKey, AccessKeySimulator

    def answer(self, row: Row) -> Answer:
        """STS answers in XML, of which the SDK makes a document."""
        return Answer(row.status, {}, {"Error": {"Code": row.code or "AnotherCode"}}, True)

    @pytest.mark.real
    async def test_boto3_does_a_life_of_a_key(self, scene: Scene) -> None:
        own = scene.environ[ADMIN_ID]
        told = await drive(scene, "aws_access_key", python=Path(sys.executable), ADMIN_ID=own)
        key, *_ = scene.vendor.keys.values()
        text = json.dumps({"AWS_ACCESS_KEY_ID": told["id"], "AWS_SECRET_ACCESS_KEY": told["secret"]}, separators=(",", ":"))
        assert (told["id"], KeyMaterial(text).fingerprint()) == (key.id, key.fingerprint)
        assert told["may"] == ["allowed", [True]]
        assert told["first"] == ["123456789012", [[key.id, "Active"]]]
        assert told["second"] == ["InvalidClientTokenId", [[key.id, "Inactive"]]]
        assert told["refusals"] == ["NoSuchEntity", "LimitExceeded"]
        assert (told["never"], told["used"]) == (False, True)

    async def test_a_value_is_both_parts_and_its_hint_names_it(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        parts = json.loads(created.material.reveal())
        assert list(parts) == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
        id = created.ref.id
        assert (id[4], id.replace("-", "")) == ("-", parts["AWS_ACCESS_KEY_ID"])
        (found,) = await scene.provider.list()
        assert created.material.fits_hint(found.hint)
        assert not KeyMaterial(scene.vendor.text("")).may_fit_hint(found.hint)

    @pytest.mark.parametrize("text", ["a text", "{}", '{"AWS_ACCESS_KEY_ID":"a"}', '["a","b"]'])
    async def test_a_value_of_another_form_is_not_sent_and_no_dead_key(self, scene: Scene, text: str) -> None:
        assert (await scene.provider.check(KeyMaterial(text))).verdict is Verdict.INDETERMINATE
        assert scene.vendor.log == []

    @pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "RequestExpired", "AccessDenied", "ExpiredToken"])
    async def test_other_refusals_of_sts_say_nothing_of_the_key(self, scene: Scene, code: str) -> None:
        created = await scene.provider.create(new_label())
        scene.vendor.faults.append(fault("key", "status", status=403, code=code, times=None))
        assert (await scene.provider.check(created.material)).verdict is Verdict.INDETERMINATE
