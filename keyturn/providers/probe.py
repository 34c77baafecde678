"""Asking the vendor itself, with the key under test, whether it is accepted: a call that costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.model import Judgement, Verdict
from keyturn.providers.admin_api import AdminApi, Answer, Headers
from keyturn.providers.negative_control import NegativeControl, no_such_key
from keyturn.providers.verdicts import Verdicts


class Probe:
    """One call, with NegativeControl.

    `present`: the headers that carry a key. `stranger`: makes the text of a key that nobody has, in the vendor's form.
    `sent`: what else is sent, as httpx names it (`data`, `json`): where a key is carried by the body, this does. Both may
    raise UnreadableError for a text that is not of the vendor's form: `unreadable` says so, and nothing is sent.
    """

    def __init__(
        self,
        api: AdminApi,
        method: str,
        path: str,
        present: Callable[[KeyMaterial], Headers],
        verdicts: Verdicts,
        stranger: Callable[[], str] = no_such_key,
        sent: Callable[[KeyMaterial], Mapping[str, Any]] = lambda _: {},
        unreadable: str = "what was to be tried has not the form of a key",
    ) -> None:
        self._api, self._method, self._path = api, method, path
        self._present, self._verdicts, self._sent = present, verdicts, sent
        self._unreadable = unreadable
        self._control = NegativeControl(self._judge, stranger)

    async def ask(self, material: KeyMaterial) -> Judgement:
        """Raises MisconfiguredError alone: where no client can be made."""
        return await self._control.ask(material)

    async def _judge(self, material: KeyMaterial) -> Judgement:
        try:
            headers, more = self._present(material), self._sent(material)
        except UnreadableError:
            return Judgement(Verdict.INDETERMINATE, self._unreadable)
        answer = await self._api.send(self._method, self._path, headers, **more)
        if not isinstance(answer, Answer):
            return Judgement(Verdict.INDETERMINATE, f"no answer from {self._verdicts.vendor} ({answer.__name__})")
        return self._verdicts.judge(answer)

    async def aclose(self) -> None:
        await self._api.aclose()
