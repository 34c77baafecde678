"""Asking the vendor itself, with the key under test, whether it is accepted: a call that costs nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from keyturn.material import KeyMaterial
from keyturn.model import Judgement, Verdict
from keyturn.providers.admin_api import AdminApi, Answer, Headers
from keyturn.providers.verdicts import Verdicts


class Probe:
    """One call. ACCEPTED is believed only from an address that refuses a key nobody has: some gateways answer anyone.

    `present`: the headers that carry a key. `stranger`: makes the text of a key that nobody has, in the vendor's form.
    `sent`: what else is sent, as httpx names it (`data`, `json`): where a key is carried by the body, this does.
    """

    def __init__(
        self,
        api: AdminApi,
        method: str,
        path: str,
        present: Callable[[KeyMaterial], Headers],
        verdicts: Verdicts,
        stranger: Callable[[], str] = lambda: f"no-such-key-{secrets.token_hex(16)}",
        sent: Callable[[KeyMaterial], Mapping[str, Any]] = lambda _: {},
    ) -> None:
        self._api, self._method, self._path = api, method, path
        self._present, self._verdicts, self._stranger, self._sent = present, verdicts, stranger, sent
        self._refuses_strangers = False

    async def ask(self, material: KeyMaterial) -> Judgement:
        """Raises MisconfiguredError alone: where no client can be made."""
        judgement = await self._judge(material)
        if judgement.verdict is not Verdict.ACCEPTED or self._refuses_strangers:
            return judgement
        control = await self._judge(KeyMaterial(self._stranger()))
        if control.verdict is Verdict.REJECTED:
            self._refuses_strangers = True
            return judgement
        return Judgement(Verdict.INDETERMINATE, f"accepted, but a key that nobody has was not refused: {control.reason}")

    async def _judge(self, material: KeyMaterial) -> Judgement:
        answer = await self._api.send(self._method, self._path, self._present(material), **self._sent(material))
        if not isinstance(answer, Answer):
            return Judgement(Verdict.INDETERMINATE, f"no answer from {self._verdicts.vendor} ({answer.__name__})")
        return self._verdicts.judge(answer)

    async def aclose(self) -> None:
        await self._api.aclose()
