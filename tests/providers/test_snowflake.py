"""Snowflake: the suite, and the form of requests and answers on Snowflake's pages. No client of it speaks the SQL API."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keyturn.errors import (
    ConflictError,
    DeniedError,
    LostAnswerError,
    MisconfiguredError,
    NotFoundError,
    PermanentError,
    UnavailableError,
)
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef, Verdict
from keyturn.providers import snowflake_statements as sql
from keyturn.providers.snowflake import Snowflake
from keyturn.testing.in_place_suite import InPlaceSuite
from keyturn.testing.provider_scene import ADMIN, Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite, fault
from keyturn.testing.vendors.snowflake import ACCOUNT, LOGIN, RESTRICTION, ROLE, USER, SnowflakeSimulator
from tests.providers.description import Recorder
from tests.providers.page_example import PageExample, differences

PAGE = json.loads((Path(__file__).parents[1] / "data" / "providers" / "snowflake.json").read_text())
STATEMENTS = "/api/v2/statements"
_PAIRS = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(3)]
_NEXT = cycle(
    base64.b64encode(pair.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).decode() for pair in _PAIRS
)
HOSTILE = (
    'x"; ALTER USER "LITELLM" REMOVE PROGRAMMATIC ACCESS TOKEN "',
    "a' OR 'b",
    '""',
    "back\\slash",
    "semi;colon",
    "--",
    "?",
)


class TestSnowflake(ProviderSuite):
    PROVIDER, SIMULATOR = Snowflake, SnowflakeSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        login = {"account": ACCOUNT, "login_user": LOGIN, "private_key": "env:KEYTURN_SUITE_ADMIN", "role": ROLE}
        return {**login, "user": USER, "role_restriction": RESTRICTION, "base_url": url}

    def admin(self) -> str:
        return next(_NEXT)

    def having(self, scene: Scene, **settings: Any) -> Any:
        scene.provider.settings = scene.provider.settings.model_copy(update=settings)
        return scene.provider

    # Held to the page -----------------------------------------------------------------------------------------------

    async def test_requests_and_answers_have_the_form_of_the_page(self, scene: Scene) -> None:
        example, recorder = PageExample("snowflake.json"), Recorder(scene.server.app)
        scene.server.app = recorder
        scene.vendor.unfinished = 1  # type: ignore[attr-defined]
        created = await scene.provider.create(new_label())
        await scene.provider.disable(created.ref)
        await scene.provider.enable(created.ref)
        await scene.provider.check(created.material)
        await scene.provider.list()
        await scene.provider.revoke(created.ref)
        with pytest.raises(PermanentError):
            await scene.provider.disable(created.ref)
        bodies = [each.body for each in recorder.exchanges if each.method == "POST"]
        assert len(bodies) == 9  # with the garbage token's, and the list after the removal
        assert set().union(*bodies) <= set(PAGE["request"])
        assert {each.status for each in recorder.exchanges} == {200, 202, 401, 422}
        for each in recorder.exchanges:
            if each.status < 400:
                example.check(each)
            if each.status == 422:
                assert differences(PAGE["refusal"], each.answer, "refusal") == []
        columns = {
            tuple(column["name"] for column in each.answer["resultSetMetaData"]["rowType"])
            for each in recorder.exchanges
            if each.status == 200
        }
        assert {tuple(PAGE["created"]), tuple(PAGE["listed"])} <= columns

    async def test_a_login_says_who_asks_for_ten_minutes(self, scene: Scene) -> None:
        seen: list[Mapping[bytes, bytes]] = []
        inside = scene.server.app

        async def watching(scope: Any, receive: Any, send: Any) -> None:
            seen.append(dict(scope["headers"]))
            await inside(scope, receive, send)

        scene.server.app = watching
        created = await scene.provider.create(new_label())
        await scene.provider.check(created.material)
        assert [each[b"x-snowflake-authorization-token-type"] for each in seen[:2]] == [
            b"KEYPAIR_JWT",
            b"PROGRAMMATIC_ACCESS_TOKEN",
        ]
        assert all(each[b"user-agent"] for each in seen)  # which Snowflake demands
        head, claims, _ = seen[0][b"authorization"].decode().removeprefix("Bearer ").split(".")
        assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"typ": "JWT", "alg": "RS256"}
        told = json.loads(base64.urlsafe_b64decode(claims + "=="))
        assert (told["sub"], told["exp"] - told["iat"]) == (f"{ACCOUNT}.{LOGIN}", 600)
        assert told["iss"].startswith(f"{ACCOUNT}.{LOGIN}.SHA256:")
        assert seen[1][b"authorization"].decode().removeprefix("Bearer ") in created.material.reveal()
        assert b"pat/" not in seen[1][b"authorization"]

    async def test_a_region_behind_a_locator_is_no_part_of_the_account(self, scene: Scene) -> None:
        settings = {
            **self.settings(scene.url),
            "account": f"{ACCOUNT.lower()}.eu-central-1.aws",
            "login_user": LOGIN.lower(),
        }
        other = Snowflake(Snowflake.Settings.model_validate(settings), scene.provider._resolve, scene.clock.moment)
        assert await other.list() == []
        await other.aclose()

    @pytest.mark.parametrize("form", ["pem on a line", "pem with \\n"])
    async def test_a_pem_on_one_line_is_a_private_key_too(self, scene: Scene, form: str) -> None:
        text = scene.environ[ADMIN]
        between = "\\n" if "\\n" in form else " "
        scene.environ[ADMIN] = between.join(
            ("-----BEGIN PRIVATE KEY-----", text[:64], text[64:], "-----END PRIVATE KEY-----")
        )
        assert await scene.provider.list() == []

    async def test_what_is_no_private_key_is_said_and_not_shown(self, scene: Scene) -> None:
        curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        for wrong in ("not base64 at all!", base64.b64encode(b"nothing").decode(), base64.b64encode(curve).decode()):
            scene.environ[ADMIN] = wrong
            with pytest.raises(MisconfiguredError) as raised:
                await scene.provider.list()
            assert "openssl" in raised.value.remedy
            assert wrong not in str(raised.value)
            assert raised.value.__cause__ is raised.value.__context__ is None

    # Names in statements ----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("name", HOSTILE)
    async def test_a_name_is_a_name_whatever_stands_in_it(self, scene: Scene, name: str) -> None:
        kept = await scene.provider.create(new_label())
        created = await scene.provider.create(name)
        assert {key.name for key in scene.vendor.live()} == {kept.ref.id, name}
        await scene.provider.disable(created.ref)
        await scene.provider.revoke(created.ref)
        await scene.provider.revoke(created.ref)
        assert [key.fingerprint for key in scene.live()] == [kept.material.fingerprint()]

    @pytest.mark.parametrize("name", HOSTILE)
    async def test_a_user_and_a_role_are_names_too(self, scene: Scene, name: str) -> None:
        vendor: Any = scene.vendor
        vendor.roles.add(name)
        created = await self.having(scene, role_restriction=name).create(new_label())
        assert vendor.keys[created.material.fingerprint()].more["role_restriction"] == name
        with pytest.raises(NotFoundError, match="002003"):  # and no syntax error: it is a user that is not there
            await self.having(scene, user=name).create(new_label())
        with pytest.raises(NotFoundError, match="002003"):
            await scene.provider.list()
        assert len(vendor.live()) == 1

    def test_quotes_and_backslashes_stay_inside(self) -> None:
        assert sql.identifier('a"b') == '"a""b"'
        assert sql.literal("a'b\\") == "'a''b\\\\'"

    async def test_a_label_is_told_from_the_alphabet_of_snowflakes_names(self, scene: Scene) -> None:
        label = new_label()
        created = await scene.provider.create(label)
        (found,) = await scene.provider.find(label)
        assert found.id == created.ref.id == label.upper().replace("-", "_")
        for name in ("EXAMPLE_TOKEN", "keyturn_x", "KEYTURNING", '"KEYTURN_X"'):
            assert sql.label_of(name) == sql.token_name(name) == name

    # Statements that take their time, or are refused --------------------------------------------------------------------

    async def test_a_statement_that_takes_its_time_is_waited_for(self, scene: Scene) -> None:
        scene.vendor.unfinished = 3  # type: ignore[attr-defined]
        created = await scene.provider.create(new_label())
        assert (await scene.provider.check(created.material)).verdict is Verdict.ACCEPTED
        assert [key.id for key in await scene.provider.list()] == [created.ref.id]
        await scene.provider.revoke(created.ref)
        assert scene.live() == []
        assert scene.counts("create_key") == 1

    @pytest.mark.parametrize(
        ("kind", "status"), [("status", 500), ("status", 401), ("status", 404), ("html", 200), ("html", 422), ("reset", 0)]
    )
    async def test_a_create_that_is_lost_while_we_wait_is_a_lost_answer(self, scene: Scene, kind: str, status: int) -> None:
        scene.vendor.unfinished = 1  # type: ignore[attr-defined]
        scene.vendor.faults.append(fault("statement_status", kind, status=status or 500))
        label = new_label()
        with pytest.raises(LostAnswerError):
            await scene.provider.create(label)
        scene.vendor.unfinished = 0  # type: ignore[attr-defined]
        (found,) = await scene.provider.find(label)
        await scene.provider.revoke(found)
        assert scene.live() == []

    async def test_a_throttled_question_is_asked_again_and_the_statement_is_not(self, scene: Scene) -> None:
        scene.vendor.unfinished = 1  # type: ignore[attr-defined]
        scene.vendor.faults.append(fault("statement_status", "throttle"))
        await scene.provider.create(new_label())
        assert (scene.counts("create_key"), len(scene.live())) == (1, 1)

    async def test_what_is_not_done_in_time_is_given_up_here_and_there(self, scene: Scene) -> None:
        scene.vendor.unfinished = 10**6  # type: ignore[attr-defined]
        recorder = Recorder(scene.server.app)
        scene.server.app = recorder
        provider = self.having(scene, timeout=timedelta(seconds=1))
        with pytest.raises(LostAnswerError):
            await provider.create(new_label())
        with pytest.raises(UnavailableError):
            await provider.list()
        assert {each.body["timeout"] for each in recorder.exchanges if each.method == "POST"} == {1}

    async def test_a_refused_create_has_made_nothing_and_is_said_with_its_code(self, scene: Scene) -> None:
        await scene.provider.create("keyturn-a")
        with pytest.raises(MisconfiguredError, match="422, code 002002"):  # a name that is taken
            await scene.provider.create("keyturn-a")
        with pytest.raises(DeniedError, match="003001") as raised:
            await self.having(scene, role="ANOTHER").create(new_label())
        assert "MODIFY PROGRAMMATIC AUTHENTICATION METHODS" in raised.value.remedy
        assert len(scene.live()) == 1

    @pytest.mark.parametrize("status", [403, 422])
    async def test_a_removal_that_is_refused_is_no_removal(self, scene: Scene, status: int) -> None:
        created = await scene.provider.create(new_label())
        scene.vendor.faults.append(fault("delete_key", "status", status=status, times=None))
        with pytest.raises(PermanentError):
            await scene.provider.revoke(created.ref)
        assert len(scene.live()) == 1
        scene.vendor.faults.clear()
        await scene.provider.revoke(KeyRef("SOMEBODYS", ""))  # it is refused as well, and the list does not have it

    async def test_who_may_not_remove_is_not_told_that_a_token_is_gone(self, scene: Scene) -> None:
        scene.vendor.faults.append(fault("delete_key", "status", status=422, code="003001", times=None))
        with pytest.raises(DeniedError):
            await scene.provider.revoke(KeyRef("SOMEBODYS", ""))

    # The list -----------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("lie", ["cut off", "of somebody else", "without a column", "a row too short"])
    async def test_a_list_that_is_not_the_whole_of_this_user_is_an_error(self, scene: Scene, lie: str) -> None:
        created = await scene.provider.create(new_label())
        vendor: Any = scene.vendor
        honest = vendor._answer

        def lying(handle: str) -> Any:
            result = vendor._results[handle]
            if len(result["resultSetMetaData"]["rowType"]) == len(PAGE["listed"]):
                if lie == "cut off":
                    result["data"] = []
                elif lie == "of somebody else":
                    result["data"][0][1] = "SOMEBODY"
                elif lie == "without a column":
                    result["resultSetMetaData"]["rowType"][0]["name"] = "label"
                else:
                    result["data"][0].pop()
            return honest(handle)

        vendor._answer = lying
        with pytest.raises(UnavailableError):
            await scene.provider.list()
        scene.vendor.faults.append(fault("delete_key", "status", status=422))
        with pytest.raises(UnavailableError):
            await scene.provider.revoke(created.ref)  # such a list does not say that the token is gone

    async def test_disabled_and_expired_tokens_are_listed(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label(), timedelta(hours=30))
        await scene.provider.disable(created.ref)
        (found,) = await scene.provider.list()
        assert found.expires_at == created.ref.expires_at == scene.clock.moment() + timedelta(days=2)
        assert found.created_at == scene.clock.moment()
        scene.clock.now += 3 * 86400
        assert len(await scene.provider.list()) == 1

    # What a token is ------------------------------------------------------------------------------------------------

    async def test_a_token_without_an_end_of_ours_ends_when_the_settings_say(self, scene: Scene) -> None:
        """Snowflake's own default is 15 days."""
        for days in (365, 90):
            created = await self.having(scene, most_days=days).create(new_label())
            told = {key.id: key.expires_at for key in await scene.provider.list()}
            assert told[created.ref.id] == scene.clock.moment() + timedelta(days=days)

    async def test_a_text_that_litellm_would_take_for_another_login_is_not_accepted(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        assert created.material.reveal().startswith("pat/")
        for wrong in (created.material.reveal().removeprefix("pat/"), "pat/"):
            judged = await scene.provider.check(KeyMaterial(wrong))
            assert judged.verdict is Verdict.INDETERMINATE
            assert "pat/" in judged.reason
        assert scene.counts("whose") == 0

    async def test_a_statement_that_is_refused_says_nothing_of_the_token(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        judged = await self.having(scene, check_statement="SELECT nothing FROM nowhere").check(created.material)
        assert (judged.verdict, judged.reason) == (
            Verdict.INDETERMINATE,
            "the token is accepted, and check_statement is not",
        )

    async def test_a_missing_network_policy_is_told_before_anything_is_made(self, scene: Scene) -> None:
        (*_, policy) = await scene.provider.preflight()
        assert (policy.what, policy.ok) == (f"{USER} is under a network policy", True)
        scene.vendor.network_policy = ""  # type: ignore[attr-defined]
        (*_, policy) = await scene.provider.preflight()
        assert (policy.ok, "service user" in policy.remedy) == (None, True)
        scene.vendor.faults.append(fault("show_parameters", "status", status=422))
        (*_, policy) = await scene.provider.preflight()
        assert policy.ok is None


class TestSnowflakeInPlace(InPlaceSuite):
    PROVIDER, SIMULATOR, TURN, ENDS = Snowflake, SnowflakeSimulator, "rotate_key", "by itself"

    def settings(self, url: str) -> Mapping[str, Any]:
        return {**TestSnowflake().settings(url), "in_place": "47h30m"}

    def admin(self) -> str:
        return next(_NEXT)

    async def test_hours_are_whole_and_none_is_missing(self, scene: Scene) -> None:
        assert scene.provider.old_text_lives == timedelta(hours=48)

    async def test_a_token_that_ends_before_its_old_text_would_is_not_turned(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label(), timedelta(days=1))
        with pytest.raises(ConflictError, match="ends before"):
            await scene.provider.turn(created.ref)
        assert scene.counts("rotate_key") == 0
