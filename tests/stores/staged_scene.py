"""What the orders of requests to a StagedStore are played in: a model of its server, and the verbs over it.

vault_model and kubernetes_model are such servers, which take one request at a time; the stores over them are the real ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import pytest

from keyturn.errors import ConflictError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage, VersionRef
from keyturn.stores.staged_store import StagedStore
from keyturn.testing.store_scene import new_key, new_token
from tests.stores.orders import Scene, Turn, Work, Worker, alone, every_order

FIELD = "OPENAI_API_KEY"
SECRET = SecretRef("store", "litellm/providers", FIELD)
View = Mapping[Stage, str]  # stage -> name of the key

KEYS = {name: new_key() for name in ("old", "new", "newer", "older")}
OLD, NEW, NEWER, OLDER = KEYS.values()
NAMES = {key.reveal(): name for name, key in KEYS.items()}
FINGERPRINTS = {name: key.fingerprint() for name, key in KEYS.items()}
TOKENS = {key.fingerprint(): new_token() for key in KEYS.values()}
START: View = {Stage.CURRENT: "old", Stage.PENDING: "new", Stage.PREVIOUS: "older"}
PROMOTED: View = {Stage.CURRENT: "new", Stage.PREVIOUS: "old"}


def name_of(key: KeyMaterial) -> str:
    return NAMES[key.reveal()]


def version(key: KeyMaterial) -> VersionRef:
    """As it was staged in the beginning."""
    return VersionRef(TOKENS[key.fingerprint()], key.fingerprint())


class Server(ABC):
    """A model of a backend with the main document of SECRET and the one beside it. `other`: a neighbour of its field."""

    other: ClassVar[str]
    _view: View | None = None  # until something is written

    @abstractmethod
    def copy(self) -> Self: ...

    @abstractmethod
    def fields(self, path: str = SECRET.path) -> Mapping[str, str]:
        """Of the main document there, if there is one."""

    @abstractmethod
    def set_field(self, name: str, value: str) -> None:
        """By a person's hand, in the main document."""

    @property
    @abstractmethod
    def beside(self) -> dict[str, Any]:
        """The state beside SECRET, as the store wrote it."""

    @abstractmethod
    def set_beside(self, state: Mapping[str, Any]) -> None: ...

    @property
    def state(self) -> Hashable:
        """What the next one finds who comes alone. For him it does not matter how often something was written."""
        return repr((self.fields(), self.beside))

    def all_else_is_kept(self) -> bool:
        return self.fields()["OTHER"] == self.other

    def view(self) -> View:
        """What stands where at this instant, by the rule in the docstring of two_documents."""
        if self._view is None:
            self._view = self._look()
        return self._view

    def _look(self) -> View:
        current, beside = self.fields()[FIELD], self.beside
        value = {slot: beside[slot]["value"] for slot in ("pending", "previous", "displaced") if slot in beside}
        if value.get("displaced", current) != current:
            value["previous"] = value["displaced"]
        stages = {Stage.CURRENT: current, Stage.PENDING: value.get("pending"), Stage.PREVIOUS: value.get("previous")}
        return {
            stage: NAMES.get(text, "theirs")
            for stage, text in stages.items()
            if text is not None and (stage is Stage.CURRENT or text != current)
        }


@dataclass
class Run(Scene):
    """One order of requests, played out. `views`: before the first request, and after each."""

    server: Any = None  # a Server
    views: list[View] = field(default_factory=list)

    def moved(self) -> None:
        self.views.append(self.server.view())

    def since(self, worker: Worker) -> list[View]:
        """From the moment at which it came back."""
        return self.views[worker.ended_at :]

    def until(self, worker: Worker) -> list[View]:
        return self.views[: worker.ended_at + 1]


Verbs = Callable[[Any], Sequence[Work]]  # of a Server


@dataclass
class Backend:
    """A store, and the model that stands in the place of its server.

    `replaced`: what the store takes its client from, which makes way for `client`. That one asks the server that its class
    names at that moment. `bare`: a server with the neighbours and the key OLDER. `switches`: how many orders are tried.
    """

    name: str
    replaced: str
    client: Any
    make: Callable[[], StagedStore]
    bare: Callable[[], Server]
    switches: int

    @cached_property
    def start(self) -> Server:
        self.client.server = server = self.bare()
        for key, current in ((OLD, OLDER), (NEW, None)):
            staged = alone(self.make().stage(SECRET, key, TOKENS[key.fingerprint()]))
            if current is not None:
                alone(self.make().promote(SECRET, staged, version(current)))
        alone(self.annotate(attempt="1"))
        assert server.view() == START
        return server

    def prepared(self) -> Any:
        """CURRENT is old, PENDING is new, PREVIOUS is older."""
        server = self.start.copy()
        self.client.server = server
        return server

    def scene(self, verbs: Verbs) -> Run:
        server = self.prepared()
        return Run(list(verbs(server)), server=server, views=[server.view()])

    def orders(
        self, verbs: Verbs, mortal: Collection[int] = (), switches: int | None = None, alike: bool = False
    ) -> Iterator[Run]:
        switches = self.switches if switches is None else switches
        for run in every_order(lambda: self.scene(verbs), switches, mortal, alike):
            self.client.server = run.server  # whatever comes after is played there
            yield run

    def promote(self, key: KeyMaterial, replacing: KeyMaterial = OLD) -> Work:
        return self.make().promote(SECRET, version(key), version(replacing))

    def bar(self, key: KeyMaterial) -> Work:
        return self.make().bar(SECRET, version(key))

    def discard(self, key: KeyMaterial) -> Work:
        return self.make().discard(SECRET, version(key))

    def stage(self, key: KeyMaterial, token: str | None = None) -> Work:
        return self.make().stage(SECRET, key, token or new_token())

    def spend(self, token: str) -> Work:
        return self.make().spend(SECRET, token)

    def create(self, key: KeyMaterial, field: str = "ADDED", path: str = SECRET.path) -> Work:
        return self.make().create(replace(SECRET, path=path, field=field), key)

    def annotate(self, **notes: str | None) -> Work:
        store: Any = self.make()  # each backend has its own
        work: Work = store.annotate(SECRET, notes)
        return work

    def is_refused(self, key: KeyMaterial, replacing: KeyMaterial = OLD) -> bool:
        with pytest.raises(ConflictError):
            alone(self.promote(key, replacing))
        return True


async def operator(server: Server, name: str, value: str) -> None:
    await Turn()
    server.set_field(name, value)


def check_always(run: Run) -> None:
    """What holds at every instant, whoever does what."""
    gone: set[str] = set()
    for view in run.views:
        assert view[Stage.CURRENT] not in gone, "a version that had left every stage is served"
        gone |= {"old", "new"} - set(view.values())
    assert run.server.all_else_is_kept()


def check_old_is_kept(run: Run) -> None:
    assert all("old" in view.values() for view in run.views), "the key that was served is claimed by no stage"
