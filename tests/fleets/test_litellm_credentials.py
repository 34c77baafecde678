"""The fleet whose keys are in LiteLLM's database, against a double of it: what each proxy sends on the wire counts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from keyturn.errors import ConflictError, DeniedError, MisconfiguredError, RollFailedError, UnavailableError
from keyturn.fleets.litellm_credentials import LiteLLMCredentials
from keyturn.key_parts import AWS_ACCESS_KEY, Part, stranger
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, Member, Stage, VersionRef
from keyturn.testing.litellm_credentials import LiteLLMDatabase, Proxy, mask
from keyturn.testing.world import new_key

NAME = "OpenAI (prod)/1"
START = datetime(2026, 11, 1, tzinfo=UTC)


def held(material: KeyMaterial) -> HeldKey:
    return HeldKey(VersionRef("1", material.fingerprint()), material)


@dataclass
class Scene:
    """Two proxies and their table, with `old` in it; a store whose CURRENT is `new`. Time passes when keyturn waits."""

    old: KeyMaterial = field(default_factory=new_key)
    new: KeyMaterial = field(default_factory=new_key)
    master: KeyMaterial = field(default_factory=new_key)
    store: dict[Stage, HeldKey] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    ahead: timedelta = timedelta(0)  # how much a clock of ours is wrong

    def __post_init__(self) -> None:
        self.litellm = LiteLLMDatabase(self.master, {"one": Proxy(), "two": Proxy()})
        self.litellm.live = {self.old.fingerprint(), self.new.fingerprint()}
        self.litellm.deployments = {"gpt-1": NAME}
        self.store = self.store or {Stage.CURRENT: held(self.new), Stage.PREVIOUS: held(self.old)}
        self.create({"api_key": self.old.reveal(), "api_base": "", "organization": "org"}, {"custom_llm_provider": "openai"})

    def create(self, values: dict[str, str], info: dict[str, Any]) -> None:
        self.litellm._create(
            self.proxy("one"), {"credential_name": NAME, "credential_values": values, "credential_info": info}
        )
        self.read_all()

    def read_all(self) -> None:
        for proxy in self.litellm.proxies.values():
            self.litellm.read_table(proxy)

    def proxy(self, name: str) -> Proxy:
        return self.litellm.proxies[name]

    def fleet(self, login: KeyMaterial | None = None, **settings: Any) -> LiteLLMCredentials:
        async def resolve(reference: str) -> KeyMaterial:
            assert reference == "env:MASTER"
            return login or self.master

        async def held(credential: str) -> Mapping[Stage, HeldKey]:
            assert credential == "openai-prod"
            return self.store

        async def pause(seconds: float) -> None:
            self.litellm.pass_time(seconds)

        given = {
            "members": [f"http://{name}" for name in self.litellm.proxies],
            "master_key": "env:MASTER",
            "names": {"openai-prod": NAME},
            **settings,
        }
        return LiteLLMCredentials(
            LiteLLMCredentials.Settings(**given),
            resolve,
            held,
            lambda _: self.parts,
            lambda: START + timedelta(seconds=self.litellm.seconds) + self.ahead,
            pause,
            self.litellm.transport,
        )

    def values(self, proxy: str, worker: int = 0) -> dict[str, str]:
        found: dict[str, str] = self.proxy(proxy).workers[worker][NAME]["credential_values"]
        return found


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
async def fleet(scene: Scene) -> AsyncIterator[LiteLLMCredentials]:
    fleet = scene.fleet()
    yield fleet
    await fleet.aclose()


async def roll_all(fleet: LiteLLMCredentials, version: VersionRef) -> None:
    """As the step does it."""
    for member in await fleet.members():
        if await fleet.serving(member, "openai-prod") != version:
            await fleet.roll(member, "openai-prod", version)


async def served(fleet: LiteLLMCredentials) -> list[str | None]:
    versions = [await fleet.serving(member, "openai-prod") for member in await fleet.members()]
    return [version.fingerprint if version else None for version in versions]


def new_version(scene: Scene) -> VersionRef:
    return scene.store[Stage.CURRENT].version


# Settings ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"members": ["http://one", "http://one"]},
        {"members": []},
        {"names": {"a": "x", "b": "x"}},
        {"settle": "3m", "roll_timeout": "3m"},
        {"workers": 0},
    ],
    ids=str,
)
def test_settings_that_cannot_work(scene: Scene, settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        scene.fleet(**settings)


# A roll -----------------------------------------------------------------------------------------------------------------


async def test_one_patch_moves_every_member_and_each_sends_the_new_key(scene: Scene, fleet: LiteLLMCredentials) -> None:
    assert await served(fleet) == [None, None], "there is no mark yet: unknown, and no guess"
    await roll_all(fleet, new_version(scene))
    assert await served(fleet) == [scene.new.fingerprint()] * 2
    assert len(scene.litellm.patches) == 1
    await ask_all(scene)
    assert scene.litellm.wire == [("one", scene.new.fingerprint()), ("two", scene.new.fingerprint())]


async def ask_all(scene: Scene) -> None:
    async with httpx.AsyncClient(transport=scene.litellm.transport) as client:
        for name, proxy in scene.litellm.proxies.items():
            for _ in proxy.workers:
                headers = {"Authorization": f"Bearer {scene.master.reveal()}"}
                await client.post(f"http://{name}/v1/chat/completions", json={"model": "gpt-1"}, headers=headers)


async def test_the_fields_of_the_key_are_written_and_no_other(scene: Scene, fleet: LiteLLMCredentials) -> None:
    await roll_all(fleet, new_version(scene))
    ((_, body),) = scene.litellm.patches
    assert set(body["credential_values"]) == {"api_key"}
    kept = {"api_key": scene.new.reveal(), "api_base": "", "organization": "org"}
    assert [scene.values(name) for name in ("one", "two")] == [kept, kept], "a blank api_base stays blank, too"


async def test_the_metadata_beside_the_key_is_kept(scene: Scene, fleet: LiteLLMCredentials) -> None:
    await roll_all(fleet, new_version(scene))
    assert scene.litellm.table[NAME]["credential_info"]["custom_llm_provider"] == "openai"


async def test_nobody_writes_again_while_the_others_have_not_read_it(scene: Scene, fleet: LiteLLMCredentials) -> None:
    first, second = await fleet.members()
    await fleet.roll(first, "openai-prod", new_version(scene))
    another = scene.fleet()
    await another.roll(second, "openai-prod", new_version(scene))
    await another.roll(first, "openai-prod", new_version(scene))
    await another.aclose()
    assert len(scene.litellm.patches) == 1


async def test_a_member_does_not_count_before_the_others_could_read_it(scene: Scene, fleet: LiteLLMCredentials) -> None:
    first, _ = await fleet.members()
    await fleet._write_once(first, "openai-prod", await fleet._current("openai-prod", new_version(scene)))
    assert scene.values("one")["api_key"] == scene.new.reveal()
    scene.litellm.pass_time(44)
    assert await served(fleet) == [None, None]
    scene.litellm.pass_time(1)
    assert await served(fleet) == [scene.new.fingerprint()] * 2


async def test_a_key_of_two_parts_is_written_as_its_two_fields() -> None:
    old, new = stranger(AWS_ACCESS_KEY), stranger(AWS_ACCESS_KEY)
    scene = Scene(old, new, store={Stage.CURRENT: held(new), Stage.PREVIOUS: held(old)}, parts=AWS_ACCESS_KEY)
    texts = json.loads(old.reveal())
    scene.create({each.name: texts[each.variable] for each in AWS_ACCESS_KEY}, {})
    fleet = scene.fleet()
    await roll_all(fleet, new_version(scene))
    assert await served(fleet) == [new.fingerprint()] * 2
    await fleet.aclose()
    assert scene.values("two") == {each.name: json.loads(new.reveal())[each.variable] for each in AWS_ACCESS_KEY}


async def test_back_to_the_old_key_and_to_the_new_one_again(scene: Scene, fleet: LiteLLMCredentials) -> None:
    for material in (scene.new, scene.old, scene.new):
        scene.store = {Stage.CURRENT: held(material), Stage.PREVIOUS: held(scene.old)}
        await roll_all(fleet, new_version(scene))
        assert scene.values("two")["api_key"] == material.reveal()
    assert len(scene.litellm.patches) == 3


async def test_back_before_the_others_have_read_the_value_between(scene: Scene, fleet: LiteLLMCredentials) -> None:
    """An old mark of the value that is to come again is no sign that it is written."""
    first, _ = await fleet.members()
    await roll_all(fleet, new_version(scene))
    between = new_key()
    scene.store = {Stage.CURRENT: held(between), Stage.PREVIOUS: held(scene.new)}
    await fleet._write_once(first, "openai-prod", await fleet._current("openai-prod", new_version(scene)))
    scene.store = {Stage.CURRENT: held(scene.new), Stage.PREVIOUS: held(between)}
    await roll_all(fleet, new_version(scene))
    assert [scene.values(name)["api_key"] for name in ("one", "two")] == [scene.new.reveal()] * 2


# What is not believed ---------------------------------------------------------------------------------------------------


async def test_a_member_that_never_reads_the_table_fails_the_roll(scene: Scene, fleet: LiteLLMCredentials) -> None:
    scene.proxy("two").reads_every = None
    first, second = await fleet.members()
    await fleet.roll(first, "openai-prod", new_version(scene))
    with pytest.raises(RollFailedError, match=r"two does not serve the new key .* not read it from the database"):
        await fleet.roll(second, "openai-prod", new_version(scene))
    assert await served(fleet) == [scene.new.fingerprint(), None]
    assert len(scene.litellm.patches) == 1


async def test_a_worker_that_stays_behind_is_found(scene: Scene) -> None:
    for proxy in scene.litellm.proxies.values():
        proxy.workers = [{}, {}]
    scene.read_all()
    scene.proxy("two").stuck = frozenset({1})
    fleet = scene.fleet(workers=2)
    with pytest.raises(RollFailedError, match="one of its workers"):
        await roll_all(fleet, new_version(scene))
    assert await served(fleet) == [scene.new.fingerprint(), None]
    await fleet.aclose()
    await ask_all(scene)
    assert ("two", scene.old.fingerprint()) in scene.litellm.wire, "the trap is one"


async def test_a_key_that_somebody_changed_beside_our_mark_is_unknown_and_put_right(
    scene: Scene, fleet: LiteLLMCredentials
) -> None:
    await roll_all(fleet, new_version(scene))
    by_hand = new_key()
    while mask(by_hand.reveal()) == mask(scene.new.reveal()):
        by_hand = new_key()
    change = {"credential_name": NAME, "credential_values": {"api_key": by_hand.reveal()}, "credential_info": {}}
    scene.litellm._patch("one", scene.proxy("one"), NAME, change)
    scene.read_all()
    assert await served(fleet) == [None, None]
    await roll_all(fleet, new_version(scene))
    assert [scene.values(name)["api_key"] for name in ("one", "two")] == [scene.new.reveal()] * 2


async def test_a_mark_of_a_value_that_the_store_does_not_hold_is_unknown(scene: Scene, fleet: LiteLLMCredentials) -> None:
    await roll_all(fleet, new_version(scene))
    scene.store = {Stage.CURRENT: held(new_key())}
    assert await served(fleet) == [None, None]


async def test_the_version_before_is_named_as_long_as_the_store_holds_it(scene: Scene, fleet: LiteLLMCredentials) -> None:
    await roll_all(fleet, new_version(scene))
    scene.store = {Stage.CURRENT: held(new_key()), Stage.PREVIOUS: held(scene.new)}
    assert await served(fleet) == [scene.new.fingerprint()] * 2


async def test_one_with_another_salt_key_never_writes_and_does_not_count(scene: Scene, fleet: LiteLLMCredentials) -> None:
    scene.proxy("two").salt = "another"
    scene.read_all()
    assert (await fleet.preflight("openai-prod"))[-1].ok is None
    first, second = await fleet.members()
    with pytest.raises(RollFailedError, match="another text, as of one whose salt key is another"):
        await fleet.roll(second, "openai-prod", new_version(scene))
    await fleet.roll(first, "openai-prod", new_version(scene))
    assert [name for name, _ in scene.litellm.patches] == ["one"]
    assert scene.values("one")["api_key"] == scene.new.reveal()


async def test_where_nobody_is_known_to_read_the_table_nothing_is_written(scene: Scene, fleet: LiteLLMCredentials) -> None:
    scene.store = {Stage.CURRENT: held(scene.new)}
    scene.proxy("two").salt = "another"
    scene.read_all()
    for member in await fleet.members():
        with pytest.raises(RollFailedError, match="nothing was written: the members show different values"):
            await fleet.roll(member, "openai-prod", new_version(scene))
    assert not scene.litellm.patches
    scene.proxy("two").salt = "salt"
    scene.read_all()
    await roll_all(fleet, new_version(scene))
    assert len(scene.litellm.patches) == 1, "all show the same: a key that the store never held"


async def test_a_member_that_comes_later_with_another_salt_key_does_not_count(
    scene: Scene, fleet: LiteLLMCredentials
) -> None:
    scene.proxy("two").down = True
    first, second = await fleet.members()
    await fleet.roll(first, "openai-prod", new_version(scene))
    scene.litellm.proxies["two"] = Proxy(salt="another")
    scene.read_all()
    with pytest.raises(RollFailedError, match="another text, as of one whose salt key is another"):
        await fleet.roll(second, "openai-prod", new_version(scene))
    assert await served(fleet) == [scene.new.fingerprint(), None]


async def test_a_mark_of_the_future_is_written_anew(scene: Scene, fleet: LiteLLMCredentials) -> None:
    scene.ahead = timedelta(days=1)
    first, _ = await fleet.members()
    await fleet._write_once(first, "openai-prod", await fleet._current("openai-prod", new_version(scene)))
    scene.ahead = timedelta(0)
    scene.litellm.pass_time(60)
    assert await served(fleet) == [None, None]
    await roll_all(fleet, new_version(scene))
    assert len(scene.litellm.patches) == 2


async def test_a_masked_key_is_never_written(scene: Scene, fleet: LiteLLMCredentials) -> None:
    echo = KeyMaterial(mask(scene.old.reveal()))
    scene.store = {Stage.CURRENT: held(echo)}
    with pytest.raises(MisconfiguredError, match="masked key"):
        await roll_all(fleet, new_version(scene))
    assert not scene.litellm.patches


async def test_a_version_that_is_not_current_any_more_is_not_written(scene: Scene, fleet: LiteLLMCredentials) -> None:
    with pytest.raises(ConflictError):
        await roll_all(fleet, held(scene.old).version)
    assert not scene.litellm.patches


async def test_who_was_held_up_does_not_write_a_value_that_another_has_displaced(
    scene: Scene, fleet: LiteLLMCredentials
) -> None:
    first, _ = await fleet.members()
    key = await fleet._current("openai-prod", new_version(scene))
    scene.store = {Stage.CURRENT: held(new_key()), Stage.PREVIOUS: held(scene.new)}
    with pytest.raises(ConflictError):
        await fleet._write_once(first, "openai-prod", key)
    assert not scene.litellm.patches


# What is refused --------------------------------------------------------------------------------------------------------


async def test_a_credential_that_is_not_there(scene: Scene) -> None:
    fleet = scene.fleet(names={"openai-prod": "nope"})
    with pytest.raises(MisconfiguredError, match=r"one has no credential nope .*POST /credentials"):
        await roll_all(fleet, new_version(scene))
    assert [finding.ok for finding in await fleet.preflight("openai-prod")] == [False, False, True]
    await fleet.aclose()


async def test_one_that_has_not_read_it_yet_is_waited_for(scene: Scene, fleet: LiteLLMCredentials) -> None:
    scene.proxy("two").workers = [{}]
    await roll_all(fleet, new_version(scene))
    assert scene.values("two")["api_key"] == scene.new.reveal()


async def test_a_credential_of_the_configuration_file(scene: Scene, fleet: LiteLLMCredentials) -> None:
    scene.litellm.table.clear()
    scene.litellm.config_defined.add(NAME)
    scene.proxy("one").reads_every = scene.proxy("two").reads_every = None
    with pytest.raises(MisconfiguredError, match=r"stands in the config\.yaml"):
        await roll_all(fleet, new_version(scene))
    details = [finding.detail for finding in await fleet.preflight("openai-prod") if finding.ok is False]
    assert details == ["stands in config.yaml"] * 2


async def test_no_database(scene: Scene, fleet: LiteLLMCredentials) -> None:
    scene.litellm.connected = False
    with pytest.raises(MisconfiguredError, match="has no database"):
        await roll_all(fleet, new_version(scene))
    bad = [finding for finding in await fleet.preflight("openai-prod") if finding.ok is False]
    assert [finding.what for finding in bad] == ["one: database", "two: database"]


@pytest.mark.parametrize("virtual", [True, False])
@pytest.mark.parametrize("connected", [True, False])
async def test_a_key_that_is_not_the_master_key(scene: Scene, virtual: bool, connected: bool) -> None:
    login = new_key()
    scene.litellm.connected = connected
    scene.litellm.virtual_keys = {login.reveal()} if virtual else set()
    fleet = scene.fleet(login)
    assert await served(fleet) == [None, None]
    with pytest.raises(DeniedError, match="no virtual key"):
        await roll_all(fleet, new_version(scene))
    await fleet.aclose()


async def test_a_member_that_is_down(scene: Scene, fleet: LiteLLMCredentials) -> None:
    scene.proxy("two").down = True
    first, second = await fleet.members()
    await fleet.roll(first, "openai-prod", new_version(scene))
    assert await served(fleet) == [scene.new.fingerprint(), None]
    with pytest.raises(UnavailableError):
        await fleet.roll(second, "openai-prod", new_version(scene))


async def test_preflight_finds_all_well_and_who_uses_it(scene: Scene, fleet: LiteLLMCredentials) -> None:
    findings = await fleet.preflight("openai-prod")
    assert [finding.ok for finding in findings] == [True] * 7
    assert [finding.detail for finding in findings if "litellm_credential_name" in finding.what] == ["gpt-1"] * 2
    scene.litellm.deployments.clear()
    assert [finding.ok for finding in await fleet.preflight("openai-prod")].count(None) == 2


async def test_no_error_holds_a_key(scene: Scene, fleet: LiteLLMCredentials) -> None:
    scene.proxy("one").reads_every = scene.proxy("two").reads_every = None
    with pytest.raises(RollFailedError) as caught:
        await roll_all(fleet, new_version(scene))
    error: BaseException | None = caught.value
    while error is not None:
        for key in (scene.old, scene.new, scene.master):
            assert key.reveal() not in repr(error) + str(error)
        error = error.__context__


async def test_members_are_the_proxies_themselves(fleet: LiteLLMCredentials) -> None:
    assert list(await fleet.members()) == [Member("one", "http://one"), Member("two", "http://two")]
