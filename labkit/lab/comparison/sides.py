"""The two sides of a comparison: a container and a virtual machine of the same image, each started, asked, measured and ended alike.

    >>> with bench.opened(images, "busybox") as place:
    ...     with sides.Container(place, ("sleep", "1000")) as box, sides.VirtualMachine(place, ("sleep", "1000")) as vm:
    ...         [side.run("uname", "-r").output == os.uname().release + "\\n" for side in (box, vm)]
    [True, False]

The container is made by the engine, as ``docker run`` and ``docker exec`` make it; nothing here is quicker or slower than there. Of both,
time counts from the request: no image is unpacked and no disk made while the clock runs. Notebook 08.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Protocol, Self

from labkit.errors import LabError, NotFound
from labkit.lab.comparison import files
from labkit.linux import smaps
from labkit.records import record
from labkit.vm.agent import Done

if TYPE_CHECKING:
    from labkit.lab.comparison.bench import Bench

SECONDS = 120.0


@record
class Memory:
    """Bytes of this machine's memory that a side takes: all of them, and of what they are the sum."""

    total: int
    parts: Mapping[str, int]


class Side(Protocol):
    """A container or a virtual machine that runs."""

    first_output: float
    """Seconds from the request to the first byte of output; 0 if nobody waited for it."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...

    def run(self, *arguments: str) -> Done:
        """Run one more program in it."""

    def connect(self, port: int) -> socket.socket:
        """A connection to a server in it. ``OSError`` if there is none yet."""

    def memory(self) -> Memory:
        """What it takes now."""

    def close(self) -> None:
        """End and remove it."""


class Container:
    """A container of the bench's image that runs ``command``."""

    def __init__(self, place: Bench, command: Sequence[str], *, speaks: bool = False, serves: bool = False) -> None:
        """``speaks``: wait for its first output. ``serves``: connect it to the default network and publish the bench's port."""
        from labkit.engine.config import Config, HostConfig, PortBinding

        self._engine = place.engine
        self.first_output = 0.0
        began = time.monotonic()
        host = HostConfig(NetworkMode="none")
        if serves:
            host = HostConfig(NetworkMode="bridge", PortBindings={f"{place.port}/tcp": (PortBinding("127.0.0.1"),)})
        self.container = self._engine.containers.get(
            self._engine.containers.create("", Config(Image=place.name, Entrypoint=(), Cmd=tuple(command)), host).Id
        )
        try:
            line = self.container.attach() if speaks else None
            self.container.start()
            if line:
                with line:
                    if line.receive() is None:
                        raise LabError(f"container: {command[0]} has said nothing, and has ended")
                    self.first_output = time.monotonic() - began
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Its first process, by the number that it has outside."""
        return self.container.state.Init.Pid

    def run(self, *arguments: str) -> Done:
        """As ``docker exec`` does it."""
        from labkit.engine.execs import ExecConfig

        execs = self._engine.execs
        id = execs.create(self.container, ExecConfig(Cmd=arguments, AttachStdout=True, AttachStderr=True))
        said = []
        with execs.start(id) as line:
            while (piece := line.receive()) is not None:
                said.append(piece[1])
        code = execs.wait(id, SECONDS)
        if code is None:
            raise LabError(f"container: {arguments[0]} has not ended after {SECONDS:g} s")
        return Done(code, b"".join(said).decode(errors="replace"))

    def connect(self, port: int) -> socket.socket:
        """By the port of this machine that it is published on."""
        bindings = self.container.record.Ports.get(f"{port}/tcp")
        if not bindings:
            state = self.container.state
            raise LabError(
                f"container: it publishes no port {port}: it is {state.Status}, exit code {state.ExitCode} {state.Error}".rstrip()
            )
        (binding, *_) = bindings
        return socket.create_connection(("127.0.0.1", int(binding.HostPort)), timeout=5)

    def memory(self) -> Memory:
        """Its monitor's share, and what its control group is charged: processes, files it has read or written, kernel memory."""
        state = self.container.state
        inside = sum(smaps.pss(pid) for pid in self.container.cgroup.processes())
        charged = self.container.cgroup.usage().memory or 0
        monitor = smaps.pss(state.Monitor.Pid)
        parts = {"monitor": monitor, "processes": inside, "files and kernel memory": max(charged - inside, 0)}
        return Memory(sum(parts.values()), parts)

    def close(self) -> None:
        """Kill and remove it."""
        with suppress(NotFound):
            self.container.remove(force=True)


class VirtualMachine:
    """A virtual machine with the bench's image that runs ``command``."""

    def __init__(self, place: Bench, command: Sequence[str], *, speaks: bool = False, serves: bool = False, size: str = "micro") -> None:
        """``speaks``: wait for its first output, and for its end. ``serves``: give it a network, with no port of this machine in it yet."""
        self._env = files.environment(place.image.config.config)
        self._ports: dict[int, int] = {}
        self.first_output = 0.0
        began = time.monotonic()
        with ExitStack() as undo:
            self.machine = undo.enter_context(place.boot(size=size, ports={} if serves else None))
            if speaks:
                times: list[float] = []
                self.machine.run(*command, env=self._env, listener=lambda _piece: times.append(time.monotonic()))
                if not times:
                    raise LabError(f"virtual machine: {command[0]} has said nothing, and has ended")
                self.first_output = times[0] - began
            else:
                self.machine.start(*command, env=self._env)
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self.machine.pid

    def run(self, *arguments: str) -> Done:
        """Over the line to its first process."""
        return self.machine.run(*arguments, env=self._env, seconds=SECONDS)

    def connect(self, port: int) -> socket.socket:
        """By a port of this machine that QEMU passes on."""
        if port not in self._ports:
            self._ports[port] = self.machine.forward(port)
        return socket.create_connection(("127.0.0.1", self._ports[port]), timeout=5)

    def memory(self) -> Memory:
        """QEMU's share: the guest's memory as far as it was ever touched, and QEMU's own."""
        whole = self.machine.taken
        return Memory(whole, {"QEMU and the guest": whole})

    def close(self) -> None:
        """Pull the plug."""
        self.machine.kill()


def get(side: Side, port: int, seconds: float = 0) -> bytes:
    """The page / of a server in it; with ``seconds``, wait so long for it. ``LabError`` if there is no answer, or an error for one."""
    deadline = time.monotonic() + seconds
    pause = 0.001
    while True:
        try:
            with side.connect(port) as line:
                line.settimeout(max(deadline - time.monotonic(), 5))
                request = http.client.HTTPConnection("127.0.0.1", port)
                request.sock = line
                request.request("GET", "/", headers={"Connection": "close"})
                answer = request.getresponse()
                page = answer.read()
                break
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > deadline:
                raise LabError(f"port {port}: no server answers: {error or type(error).__name__}") from None
        time.sleep(pause)  # there is no event to wait for: the server listens when it listens
        pause = min(pause * 1.5, 0.02)
    if answer.status != http.client.OK:
        raise LabError(f"port {port}: the server answers with {answer.status} {answer.reason}")
    return page
