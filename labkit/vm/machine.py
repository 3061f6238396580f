"""A virtual machine: started, asked, stopped.

    >>> from labkit.vm import machine
    >>> with machine.boot("/tmp/rootfs", ports={0: 80}) as vm:
    ...     vm.run("uname", "-r").output                # its own kernel
    ...     vm.start("httpd", "-f", "-h", "/www")       # in the background; what it prints is on vm.console
    ...     vm.ports                                    # 127.0.0.1:40123 of this machine leads to port 80 of that one
    '6.1.0-56-cloud-amd64\\n'
    {40123: 80}

    boot ──▶ QEMU runs ──▶ the kernel prints ──▶ /init is ready ──▶ run, start … ──▶ stop: asked to end, then killed
      └─ any of them fails, or takes longer than the limit: an error with the last lines of the console, and nothing is left

Acceleration is found by trying (``acceleration``); ``vm.kvm`` says what it was, and times mean nothing without it. All descriptors are
this process's, so a machine ends when its owner does. Notebook 08.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Self

from labkit.errors import Conflict, InvalidInput, LabError, Unreachable
from labkit.linux import smaps
from labkit.vm import acceleration, guest, hardware, installed, kernel, qemu
from labkit.vm.acceleration import Answer
from labkit.vm.agent import Agent, Done
from labkit.vm.console import Console
from labkit.vm.cpio import Archive
from labkit.vm.kernel import ROOT
from labkit.vm.qmp import Control

MIB = 1 << 20
TIME_LIMIT = 60.0
_PROBE_SECONDS = 10.0
_NETWORK = {"address": "10.0.2.15/24", "gateway": "10.0.2.2"}  # QEMU's own, in which the host is .2


@dataclass(frozen=True)
class Milestones:
    """Seconds from the request until …"""

    started: float
    """QEMU runs."""
    printed: float | None
    """The kernel or the firmware has printed something."""
    ready: float
    """The first program listens."""


class Machine:
    """A virtual machine that has booted. A ``with`` block kills it at its end."""

    def __init__(
        self, process: qemu.Process, console: Console, agent: Agent, control: Control, ports: Mapping[int, int], kvm: bool, memory: int
    ) -> None:
        self._process, self._agent = process, agent
        self.console = console
        self.control = control
        """QEMU's remote control."""
        self.ports = dict(ports)
        """Ports of this machine's 127.0.0.1, and which of the guest's each leads to."""
        self.kvm = kvm
        self.memory = memory
        """Bytes that the guest was given."""
        self.times = Milestones(0, None, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.kill()

    def __repr__(self) -> str:
        return f"<machine {self.pid}: {'running' if self.running else 'ended'}, {acceleration.WORDS[self.kvm]}>"

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether QEMU has not ended."""
        return self._process.running

    @property
    def taken(self) -> int:
        """Bytes of this machine's memory that it takes: the guest's, as far as it was ever touched, and QEMU's own."""
        return smaps.pss(self.pid)

    def run(
        self,
        *arguments: str,
        env: Sequence[str] = (),
        workdir: str = "/",
        seconds: float = TIME_LIMIT,
        listener: Callable[[bytes], None] | None = None,
    ) -> Done:
        """Run a program of the image and wait for its end; ``listener`` gets the output as it comes. ``LabError`` after ``seconds``."""
        try:
            return self._agent.run(arguments, env=env, workdir=workdir, seconds=seconds, listener=listener)
        except Unreachable as error:
            raise Unreachable(f"{error}{_last(self.console, self._process)}") from None

    def start(self, *arguments: str, env: Sequence[str] = (), workdir: str = "/") -> None:
        """Run a program of the image in the background; it writes to the console."""
        self._agent.start(arguments, env=env, workdir=workdir)

    def forward(self, guest_port: int, port: int = 0, address: str = "127.0.0.1") -> int:
        """Let a port of this machine, or a free one, lead to one of the guest's; which it is. ``Conflict`` if it is taken."""
        port = port or _free_port(address)
        said = self.control.monitor(f"hostfwd_add net0 tcp:{address}:{port}-:{guest_port}").strip()
        if said:
            raise Conflict(f"forward {address}:{port}: {said} (`ss -ltnp` says who listens there)")
        self.ports[port] = guest_port
        return port

    def stop(self, seconds: float = 5.0) -> bool:
        """Ask it to end, as with its power button, and pull the plug after ``seconds``. Whether it ended by itself."""
        with suppress(LabError):
            self._agent.shut_down()
        ended = self._process.wait(seconds)
        self.kill()
        return ended

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until QEMU has ended; whether it has in time."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """End it at once. Nothing of it is left."""
        self._process.kill()
        self._process.close()
        self.console.close()
        self._agent.close()
        self.control.close()

    def complaints(self) -> str:
        """What QEMU itself wrote on standard error."""
        return self._process.complaints()


def boot(
    directory: str | None = None,
    *,
    disk: str | None = None,
    system: str | None = None,
    size: str = "micro",
    memory: int = 128 * MIB,
    cpus: int = 1,
    ports: Mapping[int, int] | None = None,
    hostname: str = "vm",
    kvm: bool | None = None,
    verbose: bool = False,
    seconds: float = TIME_LIMIT,
    listener: Callable[[bytes], None] | None = None,
    root: str = ROOT,
) -> Machine:
    """Start a machine whose files are a ``directory``, which is held in its memory, or an ext4 ``disk``, which it cannot change for good;
    without either it is good for nothing but to see that it boots. Or start one from a disk with a ``system`` of its own (``installed``),
    which wants the size ``full``.

    ``ports`` are of this machine (0: a free one) and the guest's; None: it has no network. ``kvm`` None finds out whether that works.
    ``listener`` hears the console, to which a ``verbose`` kernel says all that it does. ``LabError`` if it is not up after ``seconds``.
    """
    board = hardware.size(size)
    if [directory, disk, system].count(None) < 2:
        raise InvalidInput("a virtual machine has its files in a directory, on a disk, or on a disk with a system of its own")
    if system and board is not hardware.FULL:
        raise InvalidInput(f"machine {size}: it has no firmware that could boot a disk; a full one has")
    if memory < 64 * MIB:
        raise InvalidInput(f"memory: {memory} bytes; a Debian kernel takes 64 MiB to start")
    if kvm is None:
        kvm = accelerated(root).kvm  # asked once on a machine, and no part of this start
    began = time.monotonic()
    with ExitStack() as undo, ExitStack() as passed_on:
        console_line, agent_line, control_line = (_line(undo) for _ in range(3))
        agent = Agent(agent_line[0])
        fds = [line[1].fileno() for line in (console_line, agent_line, control_line)]
        if system:
            start = (*installed.firmware(), *installed.credentials(agent.mark), *board.disk(system))
        else:
            found = kernel.find(root)
            drivers = [board.driver, "virtio_console"]
            drivers += [*(("virtio_blk", "ext4") if disk else ()), *(() if ports is None else ("virtio_net",))]
            settings = {"mark": agent.mark, "hostname": hostname, "disk": "vda" if disk else "", "line": "", "address": "", "gateway": ""}
            archive = guest.archive(found, drivers, {**settings, **({} if ports is None else _NETWORK)}, directory)
            fds.append(initial := _in_memory(passed_on, archive))
            start = ("-kernel", found.image, "-initrd", f"/proc/self/fd/{initial}", "-append", board.command_line(kvm, verbose))
            start += board.disk(disk) if disk else ()
        arguments = [
            hardware.qemu(), *board.machine(kvm), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
            "-name", hostname, "-m", f"{memory // MIB}M", "-smp", str(cpus), *start,
            "-chardev", f"socket,id=console,fd={fds[0]}", "-serial", "chardev:console",
            "-chardev", f"socket,id=agent,fd={fds[1]}",
            *board.device("serial"), "-device", "virtserialport,chardev=agent,name=labkit",
            "-chardev", f"socket,id=control,fd={fds[2]}", "-mon", "chardev=control,mode=control",
            *(() if ports is None else ("-netdev", "user,id=net0", *board.device("net", netdev="net0"))),
        ]  # fmt: skip
        process = qemu.start(arguments, fds)
        undo.callback(process.close)
        undo.callback(process.kill)
        started = time.monotonic() - began
        for line in (console_line, agent_line, control_line):
            line[1].close()  # so that ours says when QEMU has ended
        passed_on.close()
        console = Console(console_line[0], listener)
        _await(agent, console, process, began + seconds, seconds)
        machine = Machine(process, console, agent, Control(control_line[0]), {}, kvm, memory)
        machine.times = Milestones(started, console.first and console.first - began, time.monotonic() - began)
        for port, guest_port in (ports or {}).items():
            machine.forward(guest_port, port)
        undo.pop_all()
        return machine


def accelerated(root: str = ROOT) -> Answer:
    """Whether KVM boots machines here: the remembered answer, or a first try, which takes ten seconds at most."""

    def probe() -> None:
        boot(kvm=True, seconds=_PROBE_SECONDS, root=root).kill()

    return acceleration.find(root, hardware.qemu(), kernel.find(root).release, probe)


def _await(agent: Agent, console: Console, process: qemu.Process, deadline: float, seconds: float) -> None:
    try:
        if agent.ready(max(deadline - time.monotonic(), 0.001)):
            return
        why = f"is not up after {seconds:g} s"
    except (Unreachable, OSError):
        process.wait(1)
        why = "ended while it started"
    process.kill()
    raise LabError(f"the virtual machine {why}{_last(console, process)}")


def _last(console: Console, process: qemu.Process) -> str:
    """What is known of how it ended, for the end of a message."""
    panic = [line for line in console.tail(100) if "Kernel panic" in line]  # what follows it says where, but not why
    lines = [*(panic or console.tail()), *process.complaints().splitlines()[-3:]]
    return "; the last that it said:\n" + "\n".join(f"    {line}" for line in lines) if lines else "; it has said nothing"


def _line(undo: ExitStack) -> tuple[socket.socket, socket.socket]:
    ours, its = socket.socketpair()
    undo.callback(ours.close)
    undo.callback(its.close)
    return ours, its


def _in_memory(undo: ExitStack, archive: Archive) -> int:
    """The archive that the kernel unpacks, as a file that has no name."""
    fd = os.memfd_create("initramfs", os.MFD_CLOEXEC)
    undo.callback(os.close, fd)
    with open(fd, "wb", closefd=False) as file:
        archive.write(file)
    return fd


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
