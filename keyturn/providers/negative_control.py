"""Accepted is believed only from an address that refuses a key nobody has: some answer anyone who asks."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from keyturn.material import KeyMaterial
from keyturn.model import Judgement, Verdict


def no_such_key(begins: str = "") -> str:
    """Another one each time."""
    return f"{begins}no-such-key-{secrets.token_hex(16)}"


class NegativeControl:
    """`judge`, believed. `stranger`: makes the text of a key that nobody has, which is to look like one of that address."""

    def __init__(
        self, judge: Callable[[KeyMaterial], Awaitable[Judgement]], stranger: Callable[[], str] = no_such_key
    ) -> None:
        self._judge, self._stranger = judge, stranger
        self._refuses_strangers = False

    async def ask(self, material: KeyMaterial) -> Judgement:
        """The stranger is tried after a key was accepted, until it was refused once."""
        judgement = await self._judge(material)
        if judgement.verdict is not Verdict.ACCEPTED or self._refuses_strangers:
            return judgement
        control = await self._judge(KeyMaterial(self._stranger()))
        if control.verdict is Verdict.REJECTED:
            self._refuses_strangers = True
            return judgement
        return Judgement(Verdict.INDETERMINATE, f"accepted, but a key that nobody has was not refused: {control.reason}")
