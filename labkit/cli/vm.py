"""``labkit vm boot`` and ``labkit vm compare``: virtual machines, beside containers.

    labkit vm boot --image busybox -- uname -r          the virtual machine's kernel, not the host's
    labkit vm boot --image nginx -p 8080:80             its web server, until ctrl-c
    labkit vm boot --machine full -- systemctl status   the lab VM's own disk: BIOS, boot loader, systemd and all
    labkit vm compare                                   what a container and a virtual machine cost here, measured
    labkit vm compare --json > figures.json

``boot`` is to ``labkit run`` what a machine is to a process: it ends with its command's exit code, and nothing of it stays.
Seen in notebook 08.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypedDict

import click

from labkit.cli import engines, exits, progress
from labkit.cli.grammar import HELP, Command, Group, command, switch, value
from labkit.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from labkit.engine.images import ImageStore
    from labkit.image.image import Image
    from labkit.lab.comparison.experiment import Step
    from labkit.vm.machine import Machine


class Settings(TypedDict):
    """What ``labkit.vm.machine.boot`` is told, whatever it boots."""

    size: str
    memory: int
    cpus: int
    ports: dict[int, int] | None
    kvm: bool | None
    verbose: bool
    seconds: float
    listener: Callable[[bytes], None] | None


_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@click.group(cls=Group, context_settings=HELP, no_args_is_help=True)
def vm() -> None:
    """Virtual machines, and what they cost beside containers."""


def _booting() -> Command:
    @command("boot", "[-- COMMAND [ARG...]]")
    @value("--accel", default="auto", help="auto, kvm or tcg: the processor's help, or emulation (default auto)")
    @switch("--console", help="Show what the machine's kernel prints, on stderr")
    @value("--cpus", kind="int", default="1", help="Processors of the machine (default 1)")
    @value("--disk", help="The disk that a full machine boots (default the lab VM's, which `make box` builds)")
    @value("--image", help="The image whose files the machine has (default busybox; a full machine without one boots a disk)")
    @value("--machine", help="micro (no BIOS, no PCI) or full (a whole PC) (default micro, full with a disk)")
    @value("-m", "--memory", kind="bytes", help="Memory of the machine (default 128m, 1g with a disk)")
    @value("-p", "--publish", kind="list", many=True, help="Publish a port: [HOST_PORT:]PORT, on 127.0.0.1")
    @value("--timeout", kind="seconds", help="How long it may take to start (default 60, 600 with a disk)")
    def boot(
        accel: str,
        console: bool,
        cpus: str,
        disk: str,
        image: str,
        machine: str,
        memory: str,
        publish: tuple[str, ...],
        timeout: str,
        words: tuple[str, ...],
    ) -> int:
        """Boot a virtual machine, and run a command in it.

        Its files are an image's, as a container's are; without a COMMAND it runs the image's own, and what that prints is on the machine's
        console. A full machine without an image boots a disk that has a system of its own: BIOS, boot loader, kernel, systemd and all.
        """
        whole = bool(disk) or (machine == "full" and not image)
        if disk and image:
            raise InvalidInput("--disk, --image: a machine has its files from one of them")
        settings = Settings(
            size=machine or ("full" if whole else "micro"),
            memory=size("--memory", memory or ("1g" if whole else "128m")),
            cpus=_number("--cpus", cpus, 1, 8),
            ports=ports(publish) if publish else None,
            kvm=_acceleration(accel),
            verbose=console,
            seconds=_number("--timeout", timeout or ("600" if whole else "60"), 1, 3600),
            listener=_to_stderr if console else None,
        )
        return _boot_disk(disk, settings, words) if whole else _boot_image(image or "busybox", settings, words)

    return boot


def _comparing() -> Command:
    @command("compare", "[OPTIONS]", at_most=0)
    @value("--accel", default="auto", help="auto, kvm or tcg: the processor's help, or emulation (default auto)")
    @value("--image", default="busybox", help="The image that both sides run (default busybox)")
    @switch("--json", help="Print all values as JSON, for programs")
    @value("-m", "--memory", kind="bytes", default="128m", help="Memory of the virtual machine (default 128m)")
    @value("--repetitions", kind="int", default="3", help="How often each is measured, in turns (default 3)")
    def compare(accel: str, image: str, json: bool, memory: str, repetitions: str) -> int:
        """Measure a container and a virtual machine of the same image, in turns, and say what each costs here."""
        from labkit.lab.comparison import experiment

        store = engines.engine()
        _image(store, image)
        with _progress() as report:
            result = experiment.compare(
                store.images,
                image,
                repetitions=_number("--repetitions", repetitions, 1, 1000),
                kvm=_acceleration(accel),
                memory=size("--memory", memory),
                report=report,
            )
        if json:
            import json as module

            print(module.dumps(result.encoded(), indent=2, ensure_ascii=False))
        else:
            print(result.table())
            print("\nPublished:", *result.published, result.caution, sep="\n  ")
        return exits.DONE

    return compare


for made in (_booting(), _comparing()):
    vm.add_command(made)


@contextmanager
def _progress() -> Iterator[Callable[[Step], None]]:
    """A bar on stderr where that is a terminal, else a line for each step."""
    if not sys.stderr.isatty():
        yield lambda step: print(f"[{step.done + 1}/{step.total}] {step.words}", file=sys.stderr, flush=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda step: bar.update(task, total=step.total, completed=step.done, description=step.words)


def _boot_image(name: str, settings: Settings, words: tuple[str, ...]) -> int:
    from labkit.lab.comparison import files

    store = engines.engine()
    image = _image(store, name)
    config = image.config.config
    wanted = words or (*config.Entrypoint, *config.Cmd)
    if not wanted:
        raise InvalidInput(f"{name}: the image names no command: labkit vm boot --image {name} -- COMMAND")
    with files.boot(store.images, image, **settings) as booted:
        return _run(booted, wanted, files.environment(config), config.WorkingDir or "/")


def _boot_disk(disk: str, settings: Settings, words: tuple[str, ...]) -> int:
    from labkit.vm import installed, machine

    system = disk or installed.disk()
    if not words:
        settings["listener"] = _to_stderr
    with machine.boot(system=system, **settings) as booted:
        if words:
            return _run(booted, words, installed.ENVIRONMENT, "/")
        _tell_ports(booted)
        booted.wait()
        return exits.DONE


def _run(booted: Machine, arguments: tuple[str, ...], env: tuple[str, ...], workdir: str) -> int:
    _tell_ports(booted)
    forever = 10 * 365 * 86400.0
    done = booted.run(*arguments, env=env, workdir=workdir, seconds=forever, listener=_to_stdout)
    booted.stop()
    return done.code


def _tell_ports(booted: Machine) -> None:
    for port, inside in booted.ports.items():
        print(f"http://127.0.0.1:{port} leads to port {inside} of the virtual machine", file=sys.stderr, flush=True)


def _image(store: ImageStore, name: str) -> Image:
    """The image; pulled if it is not here, as ``docker run`` does it."""
    try:
        return store.get(name)
    except NotFound:
        print(f"Unable to find image '{name}' locally", file=sys.stderr, flush=True)
        with progress.shown(quiet=not sys.stdout.isatty()) as report:
            return store.pull(name, report=report)[0]


def size(option: str, text: str) -> int:
    """Bytes: ``64m``, ``1g``."""
    match = re.fullmatch(r"(\d+)([bkmg]?)b?", text.lower())
    if match is None:
        raise InvalidInput(f"{option}: {text!r} is no size, as 128m or 1g are")
    return int(match[1]) * _UNITS[match[2]]


def ports(published: tuple[str, ...]) -> dict[int, int]:
    """Ports of this machine (0: a free one), and where each leads."""
    found: dict[int, int] = {}
    for text in published:
        host, _, inside = text.rpartition(":")
        if not inside.isdecimal() or (host and not host.isdecimal()):
            raise InvalidInput(f"--publish: {text!r}: for virtual machines it is PORT or HOST_PORT:PORT")
        if int(host or 0) in found:
            raise InvalidInput(f"--publish: {text!r}: one port without a number of this machine's, and each number once")
        found[int(host or 0)] = int(inside)
    return found


def _acceleration(text: str) -> bool | None:
    if text not in ("auto", "kvm", "tcg"):
        raise InvalidInput(f"--accel: {text!r}: there are auto, kvm and tcg")
    return None if text == "auto" else text == "kvm"


def _number(option: str, text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise InvalidInput(f"{option}: {text!r} is no number from {least} to {most}")
    return int(text)


def _to_stdout(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.flush()


def _to_stderr(piece: bytes) -> None:
    sys.stderr.buffer.write(piece)
    sys.stderr.flush()
