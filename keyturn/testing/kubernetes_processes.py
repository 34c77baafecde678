"""Pods of the Kubernetes double as processes of this machine: a Runtime that a kubelet uses as it does a played one.

    with ProcessRuntime(logs) as runtime, KubernetesDouble(further=WORKLOADS) as double:
        with Workloads(double.cluster, runtime).moving():

**Each pod has a loopback address of its own**, so that all may listen on the same `containerPort`. It has no network of its
own, so a program has to be told to listen there, by a variable of `fieldRef: status.podIP` in the pod's template:
`args: ["--host", "$(POD_IP)", "--port", "4000"]`. One that listens on 0.0.0.0 takes the port of all pods.

What is as in a cluster: command, args and variables of the template, and nothing else of this process's environment but
where programs and the user's home are; probes and the hook preStop; SIGTERM to the program, and SIGKILL to all that it has
started after the grace period. What is not: there are no images (`images` tells what their programs are), no volumes, no
limits, no user of its own; a folder (`workingDir`) is one of this machine. Only on Linux is all of 127.0.0.0/8 there.

Every process ends with the runtime, and when the runtime's own process is killed (kept_processes.py).
"""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from keyturn.testing.kept_processes import Keeper, Kept
from keyturn.testing.kubernetes_containers import CannotStartError, Container
from keyturn.testing.kubernetes_environment import expanded
from keyturn.testing.kubernetes_probes import Place, Probing, passes
from keyturn.testing.kubernetes_refusals import Object

_OF_THE_MACHINE = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
_EXTENSION = 2.0  # seconds that a program has in any case when its hook has used up the grace period
_LOOK = 0.02  # seconds


class ProcessRuntime:
    """`logs`: a folder for what the programs print, a file for each container. `images`: the command of an image.

    `variables`: what an image would bring, beside PATH and HOME of this process.
    """

    def __init__(
        self, logs: Path, images: Mapping[str, Sequence[str]] | None = None, variables: Mapping[str, str] | None = None
    ) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs, self._images = logs, images or {}
        machine = {name: os.environ[name] for name in _OF_THE_MACHINE if name in os.environ}
        self._variables = {**machine, **(variables or {})}
        self._keeper = Keeper()
        self._net, self._reserved = _reserve()
        self._hosts = itertools.count(2)  # never one twice: nobody takes a new pod for one that was there
        self._addresses: dict[str, str] = {}
        self._running: list[_Process] = []

    def address(self, pod: Object) -> str:
        uid = pod["metadata"]["uid"]
        if uid not in self._addresses:
            third, fourth = divmod(next(self._hosts), 254)
            self._addresses[uid] = f"127.{self._net}.{third}.{fourth + 1}"
        return self._addresses[uid]

    def start(self, pod: Object, spec: Object, environment: Mapping[str, str]) -> Container:
        metadata = pod["metadata"]
        command = spec.get("command") or self._images.get(spec["image"])
        if not command:
            raise CannotStartError("ErrImagePull")
        words = [expanded(each, environment) for each in (*command, *spec.get("args", []))]
        whole = {**self._variables, "HOSTNAME": metadata["name"], **environment}
        grace = pod["spec"]["terminationGracePeriodSeconds"]
        log = self._logs / f"{metadata['namespace']}_{metadata['name']}_{spec['name']}.log"
        started = _Process(self._keeper, spec, words, whole, self.address(pod), grace, log)
        self._running = [*(each for each in self._running if each.exit_code() is None), started]
        return started

    def close(self) -> None:
        """Kill what runs."""
        for each in self._running:
            each.kill()
        self._keeper.close()
        self._reserved.close()

    def __enter__(self) -> ProcessRuntime:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _reserve() -> tuple[int, socket.socket]:
    """A net 127.N that no other runtime of this machine has, as long as the socket is open."""
    while True:
        net = 2 + secrets.randbelow(253)
        reserved = socket.socket(socket.AF_UNIX)
        with suppress(OSError):
            reserved.bind(f"\0keyturn-pods-{net}")
            return net, reserved
        reserved.close()


class _Process:
    """One life of a container. Its probes run from its start to its end."""

    def __init__(
        self,
        keeper: Keeper,
        spec: Object,
        command: Sequence[str],
        environment: Mapping[str, str],
        address: str,
        grace: float,
        log: Path,
    ) -> None:
        self.address, self.id = address, f"local://{secrets.token_hex(32)}"
        self._keeper, self._spec, self._environment, self._usual_grace = keeper, spec, environment, grace
        self._folder = Path(spec["workingDir"]) if "workingDir" in spec else None
        self._lock = threading.Lock()
        self._deadline: float | None = None  # once it is asked to end
        self._grace = float("inf")
        with log.open("ab") as output:
            self._kept: Kept = keeper.start(command, environment, output, self._folder)
        ports = {each["name"]: each["containerPort"] for each in spec.get("ports", []) if "name" in each}
        self._place = Place(address, ports, self._run_beside)
        self._probing = Probing(spec, self._place, self._is_unwell)

    def is_started(self) -> bool:
        return self._probing.is_started and self.exit_code() is None

    def is_ready(self) -> bool:
        return self._probing.is_ready and self.exit_code() is None

    def exit_code(self) -> int | None:
        code = self._kept.exit_code()
        if code is not None:
            self._probing.stop()
        return code

    def stop(self, grace: float) -> None:
        self._probing.only_readiness()
        with self._lock:
            is_first = self._deadline is None
            if grace < self._grace:  # another one, asked for later, may only be shorter
                self._grace, self._deadline = grace, time.monotonic() + grace
        if is_first:
            threading.Thread(target=self._end, name=f"end of {self._spec['name']}", daemon=True).start()

    def kill(self) -> None:
        self._probing.stop()
        self._kept.kill()

    def _is_unwell(self, probe: Object) -> None:
        self.stop(probe.get("terminationGracePeriodSeconds", self._usual_grace))

    def _end(self) -> None:
        hook = self._spec.get("lifecycle", {}).get("preStop")
        if hook is not None:
            self._wait_for(hook)
            with self._lock:
                if self._deadline is not None and self._grace > 0:
                    self._deadline = max(self._deadline, time.monotonic() + _EXTENSION)
        self._kept.send(signal.SIGTERM)
        while self._left() > 0 and self.exit_code() is None:
            time.sleep(_LOOK)
        self.kill()

    def _wait_for(self, hook: Object) -> None:
        """Until it is done, or failed, or the time is over; the program may end before."""
        done = threading.Event()
        until = time.monotonic() + hook["sleep"]["seconds"] if "sleep" in hook else None
        if until is None:

            def run() -> None:
                passes(hook, self._place, max(0.01, self._left()))
                done.set()

            threading.Thread(target=run, name=f"hook of {self._spec['name']}", daemon=True).start()
        while self._left() > 0 and self.exit_code() is None and not done.is_set():
            if until is not None and time.monotonic() >= until:
                return
            done.wait(_LOOK)

    def _left(self) -> float:
        with self._lock:
            return (self._deadline or 0.0) - time.monotonic()

    def _run_beside(self, command: Sequence[str], seconds: float) -> bool:
        """As `exec` of a probe or a hook: in its environment, not through a shell."""
        beside = self._keeper.start(command, self._environment, subprocess.DEVNULL, self._folder)
        over = time.monotonic() + seconds
        while (code := beside.exit_code()) is None and time.monotonic() < over:
            time.sleep(_LOOK)
        beside.kill()
        return code == 0
