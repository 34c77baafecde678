"""The supervisor: a LiteLLM proxy as a child process, with its keys in the environment, restarted when a key turns.

LiteLLM reads keys in the environment once, when it loads its configuration: moving it onto a new key is a restart
(measured with 1.106.2). So the supervisor restarts it without a lost request, and never leaves the member worse off
than before: if the program does not come up with the new keys, or one of them does not work in it, it is started with
the old ones again. The new keys are proved before anybody is sent to the program (keyturn.delivery.own_proof).

    starting -> serving -> draining -> starting -> serving
                                 (any) -> stopping

The program's restart is one straight line of awaits in one task; SIGTERM cancels that task and takes over.
Keys are held as KeyMaterial; their text exists only in the environment handed to the child, or in files that it reads at
each request: then a roll replaces a file, and nothing is restarted.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from keyturn.delivery.child import CLEAN, Child, exit_code
from keyturn.delivery.environment import inherited as without_own
from keyturn.delivery.environment import shadowed, shadowing_words, with_keys
from keyturn.delivery.fit import demand_fit
from keyturn.delivery.key_files import KeyFiles
from keyturn.delivery.keys import KeyReader, Keys, NotRenderedError, Variable
from keyturn.delivery.readiness import NotReadyError, Readiness
from keyturn.delivery.renders import Renders
from keyturn.delivery.states import Admission, State
from keyturn.delivery.token_keeper import Renewal, TokenKeeper
from keyturn.delivery.trial import Trial, told
from keyturn.errors import NotFoundError, RollFailedError, UnavailableError, UndecidedError
from keyturn.model import HeldToken

if TYPE_CHECKING:
    from keyturn.delivery.cache import KeyCache
    from keyturn.delivery.own_proof import Found, OwnProof

log = logging.getLogger(__name__)

_REFUSED = "the new key does not work here: "
_HURRY = timedelta(seconds=10)  # for a program that never served: nothing is in flight


class Supervisor:
    """Runs one program and rolls it onto new keys.

    `drain`: how long the program still serves after the member has said 'not ready'. It must be longer than the
    balancer takes to notice (its health interval, and a probe's timeout): 3 s suits an interval of 1 s.
    `grace`: how long the program may take to finish its requests. `start_timeout`: how long it may take to become ready,
    and how long an unreachable store is waited for at the first start.
    `render_timeout`: how long an order waits for keys that somebody else renders, while the old ones are served on.
    `files`: the program reads its keys there, at each request, and has none in its environment. `inspect` looks at the
    program when it is ready, before anybody is sent to it; what it raises ends `run`.
    `inherited`: the environment the program starts from, without what is keyturn's own (KEYTURN_*) and `strip`.
    `cache`: the last known keys, for a first start while a store is unavailable. A roll never uses it.
    `proof`: how a new key is tried in the program; None: a program that is ready is believed.
    `renewal`: how tokens of leases are renewed before they end (keyturn.delivery.token_keeper).
    `pause` is asyncio.sleep; a test turns the clock itself.
    """

    def __init__(
        self,
        command: Sequence[str],
        variables: Sequence[Variable],
        readiness_url: str,
        *,
        drain: timedelta = timedelta(seconds=3),
        grace: timedelta = timedelta(seconds=90),
        start_timeout: timedelta = timedelta(seconds=180),
        render_timeout: timedelta = timedelta(minutes=6),
        files: KeyFiles | None = None,
        inspect: Callable[[], Awaitable[None]] | None = None,
        inherited: Mapping[str, str] | None = None,
        strip: Collection[str] = (),
        cache: KeyCache | None = None,
        proof: OwnProof | None = None,
        renewal: Renewal | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._inherited = without_own(os.environ if inherited is None else inherited, strip)
        self._command = tuple(command)
        self._variables = {variable.credential: variable for variable in variables}
        self._readiness = Readiness(readiness_url, pause)
        self.drain, self.grace, self.start_timeout, self._pause = drain, grace, start_timeout, pause
        self._reader = KeyReader(variables, pause, cache)
        self._renders = Renders(render_timeout)
        self._files, self._inspect = files, inspect
        demand_fit(self._command, variables, self._inherited, in_files=files is not None)
        self.state = State.STARTING
        self._trial = Trial(proof)
        self._child: Child | None = None
        self._intended: Keys = {}  # what the program has, or is being given
        self._loaded: Keys = {}  # what the program has, once it was seen ready
        self._starts = self._rolls = 0
        self._shadowed: list[str] = []
        self._last_error = ""
        self._renewal = renewal or Renewal()
        restart = None if files is not None else drain + grace + 2 * start_timeout
        self._keeper = TokenKeeper([each for each in variables if each.leased], self, restart, self._renewal)
        self._admitting = asyncio.Lock()
        self._wanted: asyncio.Queue[Keys] = asyncio.Queue()
        self._stop_asked = asyncio.Event()

    # What others ask ------------------------------------------------------------------------------------------------

    @property
    def serving(self) -> bool:
        return self.state is State.SERVING

    @property
    def credentials(self) -> Collection[str]:
        return self._variables.keys()

    async def ready(self) -> bool:
        """Whether a balancer may send requests here: serving, and the program itself says so too."""
        return self.serving and await self._readiness.answers() and self.serving  # again: it may drain since it was asked

    def status(self) -> dict[str, Any]:
        """What the control endpoint shows: no key text. `versions` is empty while no program is ready.

        `restarts`: whether a roll starts the program anew. `cached`: the credentials that are served from the cache, and
        when their store told the key. With key files `versions` is what stands in them, for the program was ready and reads
        them at each request: a call that was under way when one was replaced may still end with the key before. `waiting`:
        orders whose render is not there yet. `leases`: of each, when its token ends, when a new one is fetched, and what
        went wrong. `member` names this process; `turn`: it wants to restart for a token. `proved`: whether a key in service
        was seen to work here, and in `unproved` why that is not known. `undecided`: whose new key was turned away from
        while the old one was not answered either.
        """
        return {
            "state": str(self.state),
            "versions": {
                name: {"id": held.version.id, "fingerprint": held.version.fingerprint} for name, held in self._loaded.items()
            },
            "starts": self._starts,
            "rolls": self._rolls,
            "restarts": self._files is None,
            "leases": self._keeper.told(),
            "member": self._renewal.turn.member,
            "turn": self._renewal.turn.wants,
            "waiting": dict(self._renders.waiting),
            "pid": self._child.pid if self._child is not None and self._child.running else None,
            "shadowed": self._shadowed,
            **self._trial.told(),
            "cached": {name: read.isoformat() for name, read in self._reader.cached(self._loaded).items()},
            "last_error": self._last_error,
        }

    async def roll(self, credential: str, fingerprint: str) -> Admission:
        """Move the program onto the value of this fingerprint, if that is what the store says is CURRENT.

        The answer comes before the restart; `status()` tells its end. Repeating it is quiet. The keys of other
        credentials that have turned meanwhile come along in the same restart.
        NotFoundError: not a credential of this member. ConflictError: CURRENT is another value; what was served is served
        on. Errors of the store as they are, and UnavailableError for a render that never came: nothing was touched.
        With key files the answer comes when the new key is proved: RollFailedError, or UndecidedError where the old one is
        not answered either, when it is not, and the old one is in its place again.
        """
        if credential not in self._variables:
            raise NotFoundError("this member does not serve that credential", remedy="start `keyturn exec` again")
        async with self._admitting:  # whoever comes second sees what the first has begun
            intended = self._intended.get(credential)
            if self.state is State.FAILED:
                raise RollFailedError(self._last_error)
            if self.state is State.STOPPING:
                return Admission.BUSY
            if intended is not None and intended.version.fingerprint == fingerprint:
                self._renders.over(credential)
                return Admission.SERVED if self.serving else Admission.UNDER_WAY
            if not self.serving:
                return Admission.BUSY
            try:
                keys = await self._reader.expecting(credential, fingerprint, self._loaded)
            except NotRenderedError as error:
                self._renders.wait(credential, fingerprint, error.message)
                return Admission.WAITING
            self._renders.over(credential)
            if not self.serving:  # told to stop while the store was asked
                return Admission.BUSY
            if self._files is not None:
                await self._roll_in_files(self._files, keys)
                return Admission.BEGUN
            # Members that restart for tokens of their own are not restarted beside one that does.
            if self._keeper.restarts and not await self._renewal.turn.take_at_once():
                return Admission.BUSY
            if not self.serving:
                self._renewal.turn.give_back()
                return Admission.BUSY
            self.state, self._intended = State.DRAINING, keys
            self._wanted.put_nowait(keys)
            return Admission.BEGUN

    @property
    def tokens(self) -> Mapping[str, HeldToken]:
        """The tokens that the program has; none while it could not be given others."""
        held = self._loaded if self.serving else self._intended if self._in_files else {}
        return {name: each for name, each in held.items() if isinstance(each, HeldToken)}

    @property
    def _in_files(self) -> bool:
        """Whether tokens can be replaced at any time: also of a program that takes longer to start than they live."""
        return self._files is not None and self.state in (State.SERVING, State.STARTING)

    async def renew(self, tokens: Mapping[str, HeldToken]) -> bool:
        """Move the program onto these tokens, and return when it is ready again. False: not now, nothing was done.

        UnavailableError: a file could not be written. RollFailedError: it did not come up with them, and has the old ones.
        """
        async with self._admitting:
            if self._files is not None and self._in_files:
                for name, held in tokens.items():
                    self._files.put(self._variables[name].name, held.material)
                    self._intended = {**self._intended, name: held}
                    self._loaded = self._intended if self.serving else {}
                    log.info("%s: its file has the new token %s", name, held.version.fingerprint)
                return True
            if not self.serving:
                return False
            if all(name in self.tokens and self.tokens[name].asked >= held.asked for name, held in tokens.items()):
                return True  # a roll has brought later ones along meanwhile
            self.state, self._intended = State.DRAINING, {**self._loaded, **tokens}
            self._wanted.put_nowait(self._intended)
        while self.state in (State.DRAINING, State.STARTING):  # noqa: ASYNC110  # the program's life is another task's
            await asyncio.sleep(0.05)
        if any(self._loaded.get(name) != held for name, held in tokens.items()):
            raise RollFailedError(self._last_error or "it was stopped meanwhile", remedy="look at what the program printed")
        return True

    def withdraw(self, name: str) -> bool:
        """Take the file of a token away, so that it is not sent any more. False: it stands in an environment."""
        if self._files is not None:
            self._files.withdraw(self._variables[name].name)
        return self._files is not None

    def stop(self) -> None:
        """End the program gently, and `run` with it."""
        self._stop_asked.set()

    # The life of the program ----------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Start, supervise and roll the program until it ends or `stop()` is called; the exit code to end with.

        The program's own code (128 + n for signal n) when it ends by itself, so that the platform above restarts the
        member; 0 when it ended cleanly because it was asked to. KeyturnError when it could not be brought up: the store's
        error, MisconfiguredError, UnavailableError, or RollFailedError when a roll left neither version running.
        """
        life = asyncio.create_task(self._live())
        stop_asked = asyncio.create_task(self._stop_asked.wait())
        keeping = asyncio.create_task(self._keeper.run())
        try:
            await asyncio.wait({life, stop_asked}, return_when=asyncio.FIRST_COMPLETED)
            return life.result() if life.done() else await self._leave(life)
        finally:
            for task in (life, stop_asked, keeping):
                task.cancel()
            await asyncio.gather(life, stop_asked, keeping, return_exceptions=True)
            if self._child is not None and self._child.running:
                await self._child.stop(timedelta(0))
            if self._files is not None:
                self._files.remove()
            await self._readiness.aclose()
            await self._trial.aclose()

    async def _live(self) -> int:
        if self._files is not None:
            self._files.prepare()
        try:
            child = await self._start(await self._read_first())
            await self._trial.first(self._intended, child)
        except NotReadyError as failure:
            if failure.code is None:
                raise UnavailableError(f"the program did not become ready: {failure}") from None
            log.error("the program did not become ready: %s", failure)
            return exit_code(failure.code)
        self._serve()
        while True:
            wanted = asyncio.create_task(self._wanted.get())
            await asyncio.wait({child.ended, wanted}, return_when=asyncio.FIRST_COMPLETED)
            if not child.running:
                wanted.cancel()
                return await self._died(child)
            child = await self._restart(child, wanted.result())
            self._renewal.turn.give_back()

    async def _read_first(self) -> Keys:
        def waiting(words: str) -> None:
            self._last_error = words
            log.warning("%s; trying again", words)

        keys = await self._reader.first(self.start_timeout, waiting)
        self._last_error = ""
        return keys

    async def _died(self, child: Child) -> int:
        self.state, self._loaded = State.STOPPING, {}
        code = await child.stop(timedelta(0))
        log.error("the program ended by itself with code %d", code)
        return exit_code(code)

    async def _roll_in_files(self, files: KeyFiles, keys: Keys) -> None:
        """Each key that has turned goes into its file; where it does not work, the old one again. UnavailableError: a file
        could not be written. Those before it are in place, no other one."""
        before, turned = self._loaded, self._turned(keys)
        no_way_back = await self._trial.no_way_back(turned)
        self._put(files, {name: keys[name] for name in turned})
        back = await self._trial.failing(turned, no_way_back)
        if back and self.serving:  # else it was told to stop meanwhile, and the files are gone
            self._put(files, {name: before[name] for name in back})
            self._last_error = f"{_REFUSED}{told(back)}{await self._trial.old_keys(back)}"
            log.error("%s; the old one is in its file again", self._last_error)
            raise (UndecidedError if self._trial.undecided else RollFailedError)(self._last_error)
        self._rolls += 1
        self._last_error = ""

    def _put(self, files: KeyFiles, keys: Keys) -> None:
        for name, held in keys.items():
            files.put(self._variables[name].name, held.material)
            self._intended = self._loaded = {**self._loaded, name: held}
            log.info("%s: its file has the key %s", name, held.version.fingerprint)

    def _turned(self, keys: Keys) -> list[str]:
        return [name for name, held in keys.items() if held.version != self._loaded[name].version]

    async def _restart(self, child: Child, keys: Keys) -> Child:
        """Out of the balancer, down, up with the new keys; or up again with the old ones."""
        before, turned = self._loaded, self._turned(keys)
        log.info("rolling %s: not ready from now on", ", ".join(turned))
        no_way_back = await self._trial.no_way_back(turned)
        await self._take_down(child)
        try:
            child = await self._start(keys)
            back = await self._trial.failing(turned, no_way_back, child)
        except NotReadyError as failure:
            # Capacity first: the old key still lives, for nothing is revoked before every member is proved.
            self._last_error = f"the program did not become ready with the new key of {', '.join(turned)}: {failure}"
            return await self._fall_back(before)
        if back:
            self._last_error = f"{_REFUSED}{told(back)}"
            await child.stop(min(self.grace, _HURRY))  # nobody was sent to it
            child = await self._fall_back({**keys, **{name: before[name] for name in back}}, back)
        else:
            self._last_error = ""
            self._serve()
        if moved := [name for name in turned if name not in back]:
            self._rolls += 1
            log.info("rolled %s", ", ".join(moved))
        return child

    async def _fall_back(self, keys: Keys, back: Mapping[str, Found] | None = None) -> Child:
        """Up with the old keys, which are served whatever the provider says of them now."""
        log.error("%s; starting it with the old one again", self._last_error)
        try:
            child = await self._start(keys)
        except NotReadyError as failure:
            self.state = State.FAILED
            self._last_error += f"; nor with the old one: {failure}"
            raise RollFailedError(self._last_error, remedy="look at what the program printed") from None
        self._last_error += await self._trial.old_keys(back or {})
        self._serve()
        return child

    async def _leave(self, life: asyncio.Task[int]) -> int:
        """SIGTERM or SIGINT came: whatever is under way is given up, and the program ends as gently as in a roll."""
        was_serving = self.state in (State.SERVING, State.DRAINING)
        self.state = State.STOPPING
        life.cancel()
        await asyncio.wait({life})
        if self._child is None:
            return 0
        log.info("stopping: not ready from now on")
        code = await self._take_down(self._child) if was_serving else await self._child.stop(_HURRY)
        return 0 if code in CLEAN else exit_code(code)

    async def _take_down(self, child: Child) -> int:
        if child.running and not child.asked:
            await self._pause(self.drain.total_seconds())
        code = await child.stop(self.grace)
        self._loaded = {}
        log.log(logging.INFO if code in CLEAN else logging.WARNING, "the program ended with code %d", code)
        return code

    async def _start(self, keys: Keys) -> Child:
        """Start the program with these keys and wait until it is ready. NotReadyError: it is not, and does not run."""
        self.state, self._intended, self._loaded = State.STARTING, keys, {}
        await self._readiness.nobody_answers()
        # Not `keys`: in files a token may have been replaced meanwhile.
        self._child = child = await Child.start(self._command, self._environment(self._intended))
        self._starts += 1
        log.info("started process %d", child.pid)
        try:
            await self._readiness.wait(child, self.start_timeout)
        except NotReadyError:
            await child.stop(min(self.grace, _HURRY))
            raise
        if self._inspect is not None:
            await self._inspect()
        return child

    def _serve(self) -> None:
        self.state, self._loaded = State.SERVING, self._intended
        log.info("ready with %s", ", ".join(f"{name} {held.version.fingerprint}" for name, held in self._loaded.items()))

    def _environment(self, keys: Keys) -> dict[str, str]:
        """What the child is given. With key files they are written, and it is given no key."""
        given = [self._variables[name].names.given(held.material) for name, held in keys.items()]
        materials = {variable: material for each in given for variable, material in each.items()}
        if self._files is not None:
            for variable, material in materials.items():
                self._files.put(variable, material)
            return self._files.environment(self._inherited, list(materials))
        environment = with_keys(self._inherited, materials)
        self._shadowed = shadowed(environment, materials)
        if self._shadowed:
            log.warning("%s", shadowing_words(self._shadowed))
        return environment
