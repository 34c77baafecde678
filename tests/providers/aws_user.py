"""What the tests of keys of an IAM user have in common: two at most, and names in tags."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from keyturn.aws.simulation import principal_of
from keyturn.errors import KeyturnError, LostAnswerError, PermanentError
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef
from keyturn.providers.aws_permissions import simulated
from keyturn.providers.aws_user import IamUser
from keyturn.quiet import hold_vendor_loggers
from keyturn.testing.provider_scene import MARK, ProviderScene, Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite, fault
from keyturn.testing.vendors.aws_user import USER, AWSUserSimulator

ADMIN_ID = "KEYTURN_SUITE_ADMIN_ID"


class IamUserScene(ProviderScene):
    """How keyturn logs in to AWS."""

    def settings(self, url: str) -> Mapping[str, Any]:
        own = {"access_key_id": f"env:{ADMIN_ID}", "secret_access_key": "env:KEYTURN_SUITE_ADMIN"}
        return {**own, "region": "us-east-1", "user_name": USER, "endpoint_url": url, "sts_endpoint_url": url}

    @pytest.fixture(autouse=True)
    def _quiet(self) -> None:
        """As every way into keyturn does it: botocore prints whole answers at DEBUG."""
        hold_vendor_loggers()

    @pytest.fixture(autouse=True)
    def _own_id(self, scene: Scene) -> None:
        scene.environ[ADMIN_ID] = "AKIA" + base64.b32encode(secrets.token_bytes(10)).decode()


class IamUserSuite(IamUserScene, ProviderSuite):
    """The suite, and what a user's keys have beside it."""

    def by_hand(self, scene: Scene, name: str) -> KeyMaterial:
        """As in the console: the description of a key becomes a tag of the user."""
        key, material = scene.vendor.add_key("", at_once=True)
        self.tags(scene)[key.id] = name
        return material

    @staticmethod
    def tags(scene: Scene) -> dict[str, str]:
        assert isinstance(scene.vendor, AWSUserSimulator)
        return scene.vendor.tags

    async def test_the_name_of_a_key_is_a_tag_that_goes_with_it(self, scene: Scene) -> None:
        name = new_label()
        created = await scene.provider.create(name)
        (key,) = scene.vendor.live()
        assert self.tags(scene) == {key.id: name}
        await scene.provider.revoke(created.ref)
        assert self.tags(scene) == {}

    async def test_a_third_key_is_refused_before_anything_is_asked_of_aws(self, scene: Scene) -> None:
        for _ in range(2):
            await scene.provider.create(new_label())
        before = dict(self.tags(scene))
        asked = scene.counts(self.CREATE)
        with pytest.raises(PermanentError, match="allows 2"):
            await scene.provider.create(new_label())
        assert (scene.counts(self.CREATE), self.tags(scene)) == (asked, before)

    async def test_a_key_whose_naming_failed_is_not_lost_and_has_its_name(self, scene: Scene) -> None:
        name = new_label()
        scene.vendor.faults.append(fault("tag", "status", skip=1, status=500))
        created = await scene.provider.create(name)
        assert [key.id for key in await scene.provider.find(name)] == [created.ref.id]

    async def test_a_lost_create_keeps_its_name_when_another_follows(self, scene: Scene) -> None:
        lost, next_one = new_label(), new_label()
        scene.vendor.faults.append(fault(self.CREATE, "lose_answer"))
        with pytest.raises(LostAnswerError):
            await scene.provider.create(lost)
        scene.clock.now += 3600
        created = await scene.provider.create(next_one)
        (found,) = await scene.provider.find(lost)
        assert found.id != created.ref.id
        assert [key.id for key in await scene.provider.find(next_one)] == [created.ref.id]

    @pytest.mark.parametrize("wait", [-3600, 3600])
    async def test_what_a_person_makes_at_another_time_is_not_taken_for_a_lost_create(self, scene: Scene, wait: int) -> None:
        label = new_label()
        scene.vendor.faults.append(fault(self.CREATE, "reset"))
        with pytest.raises(LostAnswerError):
            await scene.provider.create(label)
        key, _ = scene.vendor.add_key("", at_once=True)
        key.created_at += wait
        assert await scene.provider.find(label) == []
        assert [MARK.is_ours(each.name) for each in await scene.provider.list()] == [False]

    async def test_a_key_that_was_there_before_is_not_taken_for_a_lost_create(self, scene: Scene) -> None:
        """Made a moment ago, without a description, and nobody's."""
        scene.vendor.add_key("", at_once=True)
        label = new_label()
        scene.vendor.faults.append(fault(self.CREATE, "reset"))
        with pytest.raises(LostAnswerError):
            await scene.provider.create(label)
        assert await scene.provider.find(label) == []

    async def test_a_create_that_was_refused_leaves_no_note(self, scene: Scene) -> None:
        scene.vendor.faults.append(fault(self.CREATE, "status", status=403, code="AccessDenied"))
        with pytest.raises(PermanentError):
            await scene.provider.create(new_label())
        assert self.tags(scene) == {}

    async def test_nothing_is_made_before_it_is_noted_that_it_will_be(self, scene: Scene) -> None:
        """A page with a 200 is no note: the SDK takes it for an answer without anything in it."""
        for kind, status in (("html", 200), ("status", 403), ("reset", 500)):
            scene.vendor.faults.append(fault("tag", kind, status=status))
            with pytest.raises(KeyturnError):
                await scene.provider.create(new_label())
        assert scene.counts(self.CREATE) == 0

    async def test_what_is_said_of_another_user_is_an_error(self, scene: Scene) -> None:
        settings = self.PROVIDER.Settings.model_validate(  # type: ignore[attr-defined]
            {**self.settings(scene.url), "user_name": "nobody"}
        )
        other = self.PROVIDER(settings, scene.provider._resolve, scene.clock.moment)
        assert isinstance(other, IamUser)
        for act in (other.list(), other.create(new_label()), other.revoke(KeyRef("ACCA" + "A" * 16, ""))):
            with pytest.raises(PermanentError, match="nobody"):
                await act
        await other.aclose()

    async def test_what_a_policy_makes_hang_on_the_call_itself_is_not_told(self, scene: Scene) -> None:
        assert isinstance(scene.vendor, AWSUserSimulator)
        scene.vendor.missing = ["aws:SourceIp"]
        scene.vendor.behaviour.lacks = frozenset({"delete"})
        (finding,) = [each for each in await scene.provider.preflight() if "delete" in each.what]
        assert finding.ok is None

    async def test_without_leave_to_ask_the_remedy_says_what_to_allow_and_what_to_look_for(self, scene: Scene) -> None:
        scene.vendor.faults.append(fault("simulate", "status", status=403, code="AccessDenied"))
        findings = [each for each in await scene.provider.preflight() if each.ok is None]
        assert len(findings) == 3
        for finding in findings:
            assert "allow iam:SimulatePrincipalPolicy on arn:aws:iam::123456789012:user/keyturn" in finding.remedy

    async def test_a_role_is_asked_about_by_its_own_arn(self, scene: Scene) -> None:
        """Of an assumed role the path is not told: where IAM finds no such role, that is no denial."""
        role = "arn:aws:iam::123456789012:role/apps/keyturn"
        rights = await simulated(scene.provider.iam, role, scene.provider.FACTS)
        assert (dict(rights.has), role in rights.note) == ({}, True)
        assert (
            principal_of("arn:aws:sts::123456789012:assumed-role/keyturn/i-0abc") == "arn:aws:iam::123456789012:role/keyturn"
        )
        assert principal_of("arn:aws:iam::123456789012:root") is None
        assert principal_of("arn:aws:sts::123456789012:federated-user/bob") is None

    async def test_the_sdk_does_not_repeat_a_create(self, scene: Scene) -> None:
        scene.vendor.faults.append(fault(self.CREATE, "status", status=503, code="ServiceUnavailable"))
        with pytest.raises(LostAnswerError):
            await scene.provider.create(new_label(), timedelta(days=1))
        assert scene.counts(self.CREATE) == 1
