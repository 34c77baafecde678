"""`roll: recreate`: a successor with the new key takes the place of a container, and nothing is left over."""

from __future__ import annotations

from keyturn.durations import text
from keyturn.errors import ConflictError, KeyturnError, NotFoundError, RollFailedError, UnavailableError
from keyturn.fleets.docker_container import IN_THE_MAKING, Container, written
from keyturn.fleets.docker_copy import endpoint, further_networks, may_run_beside, replacement
from keyturn.fleets.docker_engine import RefusedError
from keyturn.fleets.docker_members import Members, Pair
from keyturn.fleets.docker_moves import Move, Seen, next_move
from keyturn.model import VersionRef

_MARGIN = 10.0  # seconds
_REFUSALS = (RefusedError, ConflictError, NotFoundError)  # the engine answered: it was not done


class Recreation:
    """Of one member, onto one version of one credential. All that it knows of how far it is, it sees."""

    def __init__(self, members: Members, name: str, credential: str, version: VersionRef) -> None:
        self._members, self._name, self._credential, self._version = members, name, credential, version
        self._failed = ""  # why the successor is given up
        self._began, self._mine, self._seen_lost = members.clock(), False, False

    async def run(self) -> None:
        """Until the member is the successor alone, ready. RollFailedError: there is none, and the old one serves."""
        time = self._members.settings.roll_timeout.total_seconds()
        until = self._members.clock() + time
        while True:
            pair = await self._members.pair(self._name)
            move = await self._next(pair)
            if move is Move.DONE:
                return
            over = self._members.clock() - until
            if over > 0 and not self._failed and move in (Move.WAIT_NEW, Move.CONNECT, Move.START_NEW):
                self._failed = f"its successor is not ready after {text(self._members.settings.roll_timeout)}"
                continue
            if over > (time if self._failed else 0):
                raise self._members.late(self._name, self._credential, self._failed or f"it had to {move.value}")
            if self._failed and move is Move.CREATE:
                raise self._told()  # somebody else has taken the successor away
            await self._make(move, pair)
            self._seen_lost = move in (Move.GONE, Move.STOPPED)

    async def _next(self, pair: Pair) -> Move:
        old = None if pair.old is None else await self._seen(pair.old)
        new = None if pair.new is None else await self._seen(pair.new, pair.old)
        ended = new is not None and new.was_started and not new.up
        if ended and new is not None and old is not None and (new.value, new.replaces) == (self._value, old.id):
            self._failed = self._failed or "its successor ended when it was started"
        beside = pair.old is not None and self._members.settings.surge and may_run_beside(pair.old)
        # A stop ends within its time, and none of an earlier worker's is younger than this one.
        settled = self._mine or self._members.clock() - self._began > self._members.grace + _MARGIN
        return next_move(old, new, self._value, beside=beside, failed=bool(self._failed), settled=settled)

    @property
    def _value(self) -> str:
        return self._version.fingerprint

    async def _seen(self, container: Container, before: Container | None = None) -> Seen:
        missing = () if before is None else self._missing(container, before)
        return Seen(
            id=container.id,
            value=container.value_of(self._credential, self._members.keys(self._credential).names),
            up=container.is_up,
            ready=await self._members.is_ready(container),
            was_started=container.was_started,
            replaces=container.replaces,
            of_another=container.made_for not in ("", self._credential),
            connected=not missing,
        )

    @staticmethod
    def _missing(new: Container, old: Container) -> tuple[str, ...]:
        return tuple(each for each in further_networks(old) if each not in new.networks)

    async def _make(self, move: Move, pair: Pair) -> None:
        """One call. What was refused because the world has moved is looked at again."""
        engine, old, new = self._members.engine, pair.old, pair.new
        refused: KeyturnError | None = None
        try:
            match move, old, new:
                case (Move.GONE, _, _) | (Move.STOPPED, _, _):
                    await self._lost(move)
                case Move.CREATE, Container(), _:
                    await self._create(old)
                case Move.CONNECT, Container(), Container():
                    network = self._missing(new, old)[0]
                    await engine.connect(network, new.id, endpoint(old, network))
                case Move.START_NEW, _, Container():
                    self._mine = True
                    await engine.start(new.id)
                case Move.STOP_NEW, _, Container():
                    await engine.stop(new.id, self._members.grace)
                case Move.RENAME_NEW, _, Container():
                    await engine.rename(new.id, self._name)
                case Move.STOP_OLD, Container(), _:
                    await engine.stop(old.id, self._members.grace)
                case Move.START_OLD, Container(), _:
                    await engine.start(old.id)
                case Move.REMOVE_OLD, Container(), _:
                    await engine.remove(old.id)
                case Move.REMOVE_NEW, _, Container():
                    await engine.remove(new.id)
                case _:
                    await self._pause()
        except _REFUSALS as error:
            refused = error
        if refused is not None:
            await self._refused(move, refused)
        elif move is Move.REMOVE_NEW and self._failed:
            raise self._told()

    async def _lost(self, move: Move) -> None:
        """RollFailedError when it is seen a second time: the two of a pair are looked at one after the other, and while
        another worker rolls this may be of two moments."""
        if self._seen_lost:
            what = "is gone" if move is Move.GONE else "is stopped, and not by keyturn"
            raise RollFailedError(f"{self._name} {what}", remedy="start it, or remove it: then it is no member")
        await self._pause()

    async def _create(self, old: Container) -> None:
        """The key is read for this one call, and given to the engine alone."""
        variable = self._members.keys(self._credential)
        if written(old.environment(), variable.names) is None:
            raise RollFailedError(
                f"{self._name} has no {' and no '.join(variable.names.variables)} in its environment",
                remedy="say with the credential's `env` under which name the container has it, or use roll: restart",
            )
        if old.host_config.get("AutoRemove") is True:
            raise RollFailedError(
                f"the engine removes {self._name} when it stops (--rm)", remedy="start it without --rm, by hand"
            )
        held = await variable.read()
        if held.version != self._version:
            raise UnavailableError(f"the store does not show the version that {self._name} is to serve", remedy="run again")
        given = variable.names.given(held.material)
        body = replacement(old, await self._image(old), self._credential, variable.names, self._value, given)
        await self._members.engine.create(f"{self._name}{IN_THE_MAKING}", body)

    async def _image(self, old: Container) -> str:
        """The name that its image was asked for by, where that stands for the same image still; else the image's id: a roll
        of keys brings no other program."""
        name, used = str(old.config.get("Image") or ""), str(old.document.get("Image") or "")
        return name if name and await self._members.engine.image(name) == used else used or name

    async def _refused(self, move: Move, error: KeyturnError) -> None:
        if move is Move.CREATE and not (isinstance(error, ConflictError) and await self._is_free()):
            raise RollFailedError(
                f"no successor of {self._name} can be made: {error.message}",
                remedy=f"is its image there, and no other container named {self._name}{IN_THE_MAKING}?",
            )
        if move in (Move.START_NEW, Move.CONNECT) and not isinstance(error, ConflictError):
            self._failed = f"its successor cannot be started: {error.message}"
        await self._pause()

    async def _is_free(self) -> bool:
        """Whether the successor's name is nobody else's: then another worker has made it, and may be done with it by now."""
        told = await self._members.engine.inspect(f"{self._name}{IN_THE_MAKING}")
        return told is None or Container(told).successor_of == self._name

    def _told(self) -> RollFailedError:
        return RollFailedError(
            f"{self._name} did not take the new key of {self._credential}: {self._failed}. The old container serves",
            remedy="look at the engine's log, and whether the key and the container's settings are good",
        )

    async def _pause(self) -> None:
        await self._members.pause(self._members.settings.poll_interval.total_seconds())
