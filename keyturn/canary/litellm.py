"""The canary through LiteLLM: a real call that no cache, fallback, retry or cooldown can fake.

Every member is asked directly. How the call is made is in keyturn.canary.calls, what its answer means in
keyturn.canary.verdicts; here is what is concluded from it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

import httpx

from keyturn.canary.calls import Calls, choose
from keyturn.canary.verdicts import Meaning, Reading, combine
from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, UnavailableError
from keyturn.key_parts import Part, parameters, stranger
from keyturn.material import KeyMaterial
from keyturn.model import Finding, Judgement, Member, Verdict

# Before it, a key in a request's body joined the pool for good, and users' traffic was served with it
# (LiteLLM #17115, #36794; fixed by #41289).
FIRST_SAFE_VERSION = (1, 103, 0)

_GARBAGE_SERVED = "a garbage key was accepted: a cache, a mock or the proxy's own key answers"
_ALONE = "judged by the provider's own check alone"
_NO_CHECK = "the provider has no check of its own, and LiteLLM cannot be asked"


class LiteLLMCanary:
    """Tries keys through the members of one fleet. Implements the port Canary.

    Needs the proxies' master key: without a database LiteLLM knows no other, and a lesser key does not see every
    deployment. `check` is the provider's own check of a key, the baseline; None where it has none, then
    the call through LiteLLM decides alone. `timeout` bounds each call.
    `members`: asked for at each call, since some platforms replace them.
    `control=False` leaves out the garbage key that must be refused. A candidate is sent to one member, and nowhere else.
    `parts`: of a key of several parts. Each goes into the body, where LiteLLM takes it in place of the deployment's own.
    """

    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "candidate": (
            "at one member: GET /model/info, GET /health/readiness/details, POST /v1/chat/completions with a garbage key in "
            "its body, then with the new one",
            "the proxy's master key",
        ),
        "member": (
            "at each member: GET /model/info, POST /v1/chat/completions, pinned and uncached",
            "the proxy's master key",
        ),
    }

    def __init__(
        self,
        members: Callable[[], Awaitable[Sequence[Member]]],
        master_key: Callable[[], Awaitable[KeyMaterial]],
        model: str,
        deployment: str | None,
        check: Callable[[KeyMaterial], Awaitable[Judgement]] | None,
        timeout: timedelta,
        control: bool = True,
        parts: Sequence[Part] = (),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._members = members
        self._model = model
        self._chosen = deployment
        self._check = check
        self._control = control
        self._parts = tuple(parts)
        self._calls = Calls(master_key, timeout, transport)

    async def candidate(self, material: KeyMaterial) -> Judgement:
        """Try a key that nobody serves yet: the provider's direct check, and a pinned call with the key in its body.

        Below LiteLLM 1.103, and where the proxy takes no `api_key` in a body, the direct check stands alone and the
        reason says so. DeniedError when our master key is refused, MisconfiguredError when the model is not known, and for a
        key of several parts that cannot be taken apart: nobody is asked then.
        """
        key = parameters(material, self._parts)
        if self._check is None:
            alone = await self._through_litellm(key)
            return Judgement(Verdict.INDETERMINATE, f"{_NO_CHECK}: {alone}") if isinstance(alone, str) else alone
        direct, through = await asyncio.gather(self._check(material), self._through_litellm(key))
        if isinstance(through, str):
            return Judgement(direct.verdict, f"{direct.reason} ({_ALONE}: {through})")
        return combine(direct, through)

    async def member(self, member: Member) -> Judgement:
        """Try the key that the member has loaded. ACCEPTED only when the pinned deployment itself answered.

        INDETERMINATE for a member that cannot be asked; errors as in `candidate`. LiteLLM counts a failure of this call
        as it counts a user's: the group may go into cooldown for some seconds. A candidate's failure it does not count.
        """
        try:
            deployment = await self._deployment(member)
        except UnavailableError as error:
            return Judgement(Verdict.INDETERMINATE, error.message)
        return (await self._calls.ask(member, deployment)).judgement

    async def preflight(self) -> Sequence[Finding]:
        """Per member: does it answer, take our master key, know the model; its version; do calls tell the truth now?

        A key in service that is refused is no reason to stop: it may be why the rotation was asked for.
        """
        members = await self._members()
        if not members:
            return [Finding("canary: members", False, "the fleet has no member", "name its members in keyturn.yaml")]
        found = await asyncio.gather(*(self._examine(member) for member in members))
        return [finding for findings in found for finding in findings]

    async def aclose(self) -> None:
        await self._calls.aclose()

    async def _through_litellm(self, key: Mapping[str, KeyMaterial]) -> Judgement | str:
        """What the first member that can be asked makes of the key; text: why none was shown it."""
        members = await self._members()
        if not members:
            raise MisconfiguredError("the canary's fleet has no member", remedy="name its members in keyturn.yaml")
        unsafe, unreachable = "", []
        for member in members:
            try:
                deployment = await self._deployment(member)
                unsafe = await self._why_unsafe(member)
            except UnavailableError as error:
                unreachable.append(error.message)
                continue
            if not unsafe:
                return await self._try(member, deployment, key)
        return unsafe or Judgement(Verdict.INDETERMINATE, f"no member can be asked: {'; '.join(unreachable)}")

    async def _try(self, member: Member, deployment: str, key: Mapping[str, KeyMaterial]) -> Judgement | str:
        if self._control:
            control = await self._calls.ask(member, deployment, self._garbage())
            if control.meaning is Meaning.BODY_KEY_REFUSED:
                return control.words
            if control.meaning is Meaning.SERVED:
                return Judgement(Verdict.INDETERMINATE, _GARBAGE_SERVED)
            if control.meaning is not Meaning.KEY_REFUSED:
                return Judgement(Verdict.INDETERMINATE, f"a garbage key was not clearly refused: {control.words}")
        found = await self._calls.ask(member, deployment, key)
        return found.words if found.meaning is Meaning.BODY_KEY_REFUSED else found.judgement

    async def _deployment(self, member: Member) -> str:
        # Asked anew each time: where LiteLLM makes the id up, it changes with the key.
        return choose(await self._calls.deployments(member), self._model, self._chosen)

    async def _why_unsafe(self, member: Member) -> str:
        """Why this member must not be shown a candidate; "" when it may."""
        version = await self._calls.version(member)
        if version is None:
            return f"{member.name} does not tell its version of LiteLLM"
        if version < FIRST_SAFE_VERSION:
            return f"{member.name} runs LiteLLM {'.'.join(map(str, version))}, which would keep the key in its pool"
        return ""

    async def _examine(self, member: Member) -> list[Finding]:
        findings: list[Finding] = []
        looking_at = "reachable"
        try:
            await self._calls.ready(member)
            findings.append(Finding(f"{member.name}: reachable", True, member.url))
            looking_at = "canary model"
            deployment = await self._deployment(member)
            findings.append(Finding(f"{member.name}: canary model", True, f"deployment {deployment}"))
            unsafe = await self._why_unsafe(member)
            findings.append(_version_finding(member, unsafe))
            asked = [self._calls.ask(member, deployment)]
            if self._control and not unsafe:
                asked.append(self._calls.ask(member, deployment, self._garbage()))
            service, *control = await asyncio.gather(*asked)
            findings.append(_service_finding(member, service))
            findings += [_control_finding(member, reading) for reading in control]
        except DeniedError as error:
            findings.append(Finding(f"{member.name}: master key", False, error.message, error.remedy))
        except KeyturnError as error:
            remedy = error.remedy or f"start {member.name}, or correct its address"
            findings.append(Finding(f"{member.name}: {looking_at}", False, error.message, remedy))
        return findings

    def _garbage(self) -> Mapping[str, KeyMaterial]:
        if self._parts:
            return parameters(stranger(self._parts), self._parts)
        return parameters(KeyMaterial(f"sk-keyturn-control-{secrets.token_hex(16)}"))


def _version_finding(member: Member, unsafe: str) -> Finding:
    what = f"{member.name}: a candidate can be tried through it"
    if not unsafe:
        return Finding(what, True)
    return Finding(what, None, f"a candidate is {_ALONE}: {unsafe}", "upgrade LiteLLM to 1.103 or later")


def _service_finding(member: Member, reading: Reading) -> Finding:
    what = f"{member.name}: key in service"
    if reading.meaning is Meaning.SERVED:
        return Finding(what, True, reading.words)
    if reading.meaning is Meaning.MODEL_UNKNOWN:
        return Finding(what, False, reading.words, "choose a canary.model that exists at the provider for this account")
    return Finding(what, None, f"the key in service does not answer: {reading.words}")


def _control_finding(member: Member, reading: Reading) -> Finding:
    what = f"{member.name}: a garbage key is refused"
    if reading.meaning is Meaning.KEY_REFUSED:
        return Finding(what, True)
    if reading.meaning is Meaning.SERVED:
        return Finding(
            what, False, _GARBAGE_SERVED, "choose a deployment without mock_response, whose provider asks for a key"
        )
    if reading.meaning is Meaning.BODY_KEY_REFUSED:
        return Finding(what, None, f"a candidate is {_ALONE}: {reading.words}")
    return Finding(what, None, reading.words)
