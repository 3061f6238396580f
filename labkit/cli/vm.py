"""``labkit vm boot`` and ``labkit vm compare``: virtual machines, beside containers.

    labkit vm boot --image busybox -- uname -r          the virtual machine's kernel, not the host's
    labkit vm boot --image nginx -p 8080:80             its web server, until ctrl-c
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
from typing import TYPE_CHECKING

import click

from labkit.cli import engines, exits, progress
from labkit.cli.grammar import HELP, Command, Group, command, switch, value
from labkit.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from labkit.engine.images import ImageStore
    from labkit.image.image import Image
    from labkit.lab.comparison.experiment import Step
    from labkit.vm.machine import Machine

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@click.group(cls=Group, context_settings=HELP, no_args_is_help=True)
def vm() -> None:
    """Virtual machines, and what they cost beside containers."""


def _booting() -> Command:
    @command("boot", "[-- COMMAND [ARG...]]")
    @value("--accel", default="auto", help="auto, kvm or tcg: the processor's help, or emulation (default auto)")
    @switch("--console", help="Show what the machine's kernel prints, on stderr")
    @value("--cpus", kind="int", default="1", help="Processors of the machine (default 1)")
    @value("--image", default="busybox", help="The image whose files the machine has (default busybox)")
    @value("--machine", default="micro", help="micro (no BIOS, no PCI) or full (a whole PC) (default micro)")
    @value("-m", "--memory", kind="bytes", default="128m", help="Memory of the machine (default 128m)")
    @value("-p", "--publish", kind="list", many=True, help="Publish a port: [HOST_PORT:]PORT, on 127.0.0.1")
    @value("--timeout", kind="seconds", default="60", help="How long it may take to start (default 60)")
    def boot(
        accel: str,
        console: bool,
        cpus: str,
        image: str,
        machine: str,
        memory: str,
        publish: tuple[str, ...],
        timeout: str,
        words: tuple[str, ...],
    ) -> int:
        """Boot a virtual machine with an image's files, and run a command in it.

        Without a COMMAND it runs the image's own, and what that prints is on the machine's console.
        """
        from labkit.lab.comparison import files

        store = engines.engine()
        found = _image(store, image)
        wanted = words or (*found.config.config.Entrypoint, *found.config.config.Cmd)
        if not wanted:
            raise InvalidInput(f"{image}: the image names no command: labkit vm boot --image {image} -- COMMAND")
        with files.boot(
            store.images,
            found,
            size=machine,
            memory=size("--memory", memory),
            cpus=_number("--cpus", cpus, 1, 8),
            ports=ports(publish) if publish else None,
            kvm=_acceleration(accel),
            verbose=console,
            seconds=_number("--timeout", timeout, 1, 3600),
            listener=_to_stderr if console else None,
        ) as booted:
            return _run(booted, wanted, found)

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


def _run(booted: Machine, arguments: tuple[str, ...], image: Image) -> int:
    from labkit.lab.comparison import files

    for port, inside in booted.ports.items():
        print(f"http://127.0.0.1:{port} leads to port {inside} of the virtual machine", file=sys.stderr, flush=True)
    config = image.config.config
    forever = 10 * 365 * 86400.0
    done = booted.run(*arguments, env=files.environment(config), workdir=config.WorkingDir or "/", seconds=forever, listener=_to_stdout)
    booted.stop()
    return done.code


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
