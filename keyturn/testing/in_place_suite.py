"""The conformance suite of `InPlace`, for vendors that can give a key a new text. It stands beside the vendor's own suite:

    class TestAcmeInPlace(InPlaceSuite):
        PROVIDER, SIMULATOR, TURN = Acme, AcmeSimulator, "rotate_key"

        def settings(self, url): return {**..., "in_place": "24h"}

TURN is the simulator's operation. Needs pytest and pytest-asyncio.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Literal

import pytest

from keyturn.errors import ConflictError, DeniedError, KeyturnError, LostAnswerError, ThrottledError
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, KeyRef, Verdict
from keyturn.ports import InPlace
from keyturn.references import resolver
from keyturn.testing.faults import Fault
from keyturn.testing.provider_scene import ProviderScene, Scene, new_label

LIFETIME = timedelta(days=30)


class InPlaceSuite(ProviderScene):
    """See the module's text. `ENDS`: whether a turn sets a key's end anew: where it is asked for, never, or by itself."""

    TURN: ClassVar[str]
    ENDS: ClassVar[Literal["asked for", "never", "by itself"]] = "asked for"

    async def test_the_key_stays_with_another_text(self, scene: Scene) -> None:
        first = await self.made(scene)
        turned = await scene.provider.turn(first.ref)
        assert turned.ref.id == first.ref.id and turned.material != first.material
        (listed,) = await scene.provider.list()
        assert (listed.id, listed.name) == (first.ref.id, first.ref.name)
        assert turned.material.may_fit_hint(listed.hint)
        assert (await scene.provider.check(turned.material)).verdict is Verdict.ACCEPTED
        assert scene.counts("create_key") == 1

    async def test_the_old_text_lives_as_long_as_the_settings_say_and_no_longer(self, scene: Scene) -> None:
        first = await self.made(scene)
        turned = await scene.provider.turn(first.ref)
        lives = self.lives(scene)
        if lives:
            scene.clock.now += lives.total_seconds() - 1
            assert await self.verdict(scene, first.material) is Verdict.ACCEPTED
            scene.clock.now += 2
        assert await self.verdict(scene, first.material) is Verdict.REJECTED
        assert await self.verdict(scene, turned.material) is Verdict.ACCEPTED

    async def test_deleting_the_key_ends_both_texts(self, scene: Scene) -> None:
        first = await self.made(scene)
        turned = await scene.provider.turn(first.ref)
        await scene.provider.revoke(turned.ref)
        assert scene.live() == []
        assert await self.verdict(scene, first.material) is Verdict.REJECTED

    async def test_a_key_that_has_an_end_has_a_later_one_then_or_is_not_turned(self, scene: Scene) -> None:
        """A key that is turned again and again would otherwise end in service."""
        first = await scene.provider.create(new_label(), LIFETIME)
        ref = await self.listed(scene, first.ref)
        if self.ENDS == "never":
            with pytest.raises(ConflictError, match="end"):
                await scene.provider.turn(ref, LIFETIME)
            assert scene.counts(self.TURN) == 0
            return
        scene.clock.now += timedelta(days=20).total_seconds()
        turned = await scene.provider.turn(ref, LIFETIME)
        scene.clock.now += timedelta(days=20).total_seconds()
        assert await self.verdict(scene, turned.material) is Verdict.ACCEPTED

    async def test_a_key_that_has_an_end_is_not_turned_without_a_lifetime(self, scene: Scene) -> None:
        if self.ENDS == "by itself":
            return
        first = await scene.provider.create(new_label(), LIFETIME)
        with pytest.raises(ConflictError, match="end"):
            await scene.provider.turn(await self.listed(scene, first.ref))
        assert scene.counts(self.TURN) == 0

    @pytest.mark.parametrize("lost", [{"kind": "reset", "commit": True}, {"kind": "status", "status": 502, "commit": True}])
    async def test_a_turn_whose_answer_is_lost_is_told_as_such_and_not_repeated(
        self, scene: Scene, lost: dict[str, Any]
    ) -> None:
        first = await self.made(scene)
        scene.vendor.faults.append(Fault.model_validate({"operation": self.TURN, **lost}))
        with pytest.raises(LostAnswerError):
            await scene.provider.turn(first.ref)
        assert scene.counts(self.TURN) == 1

    async def test_a_turn_that_is_throttled_was_not_done(self, scene: Scene) -> None:
        first = await self.made(scene)
        scene.vendor.faults.append(Fault.model_validate({"operation": self.TURN, "kind": "throttle"}))
        with pytest.raises(ThrottledError):
            await scene.provider.turn(first.ref)
        assert await self.verdict(scene, first.material) is Verdict.ACCEPTED

    async def test_a_key_that_is_not_there_is_not_turned(self, scene: Scene) -> None:
        first = await self.made(scene)
        await scene.provider.revoke(first.ref)
        with pytest.raises(KeyturnError) as caught:
            await scene.provider.turn(first.ref)
        assert not isinstance(caught.value, LostAnswerError | DeniedError)
        assert first.material.reveal() not in str(caught.value)

    async def test_it_is_done_only_where_it_is_asked_for(self, scene: Scene) -> None:
        assert isinstance(scene.provider, InPlace) and self.lives(scene) is not None
        given = {name: value for name, value in self.settings(scene.url).items() if name != "in_place"}
        settings = self.PROVIDER.Settings.model_validate(given)  # type: ignore[attr-defined]
        plain: Any = self.adapter(settings, resolver(environ=scene.environ), scene.clock.moment)
        assert plain.old_text_lives is None
        await plain.aclose()

    @staticmethod
    def lives(scene: Scene) -> timedelta:
        lives: timedelta = scene.provider.old_text_lives
        return lives

    async def made(self, scene: Scene) -> CreatedKey:
        created: CreatedKey = await scene.provider.create(new_label())
        return created

    async def listed(self, scene: Scene, ref: KeyRef) -> KeyRef:
        found: KeyRef = next(key for key in await scene.provider.list() if key.id == ref.id)
        return found

    @staticmethod
    async def verdict(scene: Scene, material: KeyMaterial) -> Verdict:
        found: Verdict = (await scene.provider.check(material)).verdict
        return found
