"""``labkit run``, ``create``, ``start`` and ``attach``: a container begins, and its streams are the person's.

    labkit run -it --rm busybox                      labkit create --name web nginx
    labkit run -d --name web -p 8080:80 nginx        labkit start -ai web

    run:  create ──▶ attach ──▶ wait ──────────────▶ start ──▶ streams … ──▶ wait's body: the exit code
                     101        its head, at once

In this order no output is lost and no end is missed, however quick the program is.
Source: ``docker run --help``; engine-api, 1. Shown in notebook 06.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from labkit import codec
from labkit.cli import exits
from labkit.cli.client import answers, api, complete, creating, terminal
from labkit.cli.client.api import Api
from labkit.cli.client.body import body
from labkit.cli.client.foreground import Foreground
from labkit.cli.client.grammar import NOT_STARTED, Failed, Run, ask, each, option, say
from labkit.cli.client.options import options
from labkit.cli.client.streams import Connection
from labkit.cli.client.terminal import DetachKeys
from labkit.cli.engines import names as images
from labkit.cli.grammar import switch
from labkit.errors import LabError

_KEYS = "Override the key sequence for detaching a container"


@ask("run", "IMAGE [COMMAND] [ARG...]", at_least=1, kind=Run, help_names=("--help",), complete=images)
@options
@switch("-d", "--detach", help="Run container in background and print container ID")
@option("--detach-keys", help=_KEYS)
@switch("--sig-proxy", default=True, help="Proxy received signals to the process (default true)")
def run(words: tuple[str, ...], detach: bool, detach_keys: str, sig_proxy: bool, **given: object) -> int:
    """Create and run a new container from an image."""
    if detach and given["attach"]:
        raise Failed("conflicting options: cannot specify both --attach and --detach")
    made = body(given, words[0], words[1:], detached=detach, window=terminal.size(1, 0))
    creating.check(given)
    tty, stdin = bool(made["Tty"]), bool(made["AttachStdin"])
    _check_terminal(tty, stdin)
    DetachKeys.parse(detach_keys)  # what is wrong with them is said before anything is made
    with api.connect() as daemon:
        id = creating.create(daemon, made, given)
        if detach:
            click.echo(id)
            daemon.post(f"/containers/{id}/start")
            return exits.DONE
        streams = [name for name in ("stdin", "stdout", "stderr") if made[f"Attach{name.capitalize()}"]]
        seen = _attached(daemon, id, streams, tty, detach_keys, sig_proxy)
        return _begin(daemon, id, seen, removed=bool(given["rm"]))


@ask("create", "IMAGE [COMMAND] [ARG...]", at_least=1, kind=Run, help_names=("--help",), complete=images)
@options
def create(words: tuple[str, ...], **given: object) -> int:
    """Create a new container."""
    made = body(given, words[0], words[1:], window=terminal.size(1, 0))
    creating.check(given)
    with api.connect() as daemon:
        try:
            click.echo(creating.create(daemon, made, given))
        except LabError as error:
            raise Failed(str(error)) from None
    return exits.DONE


@ask("start", "CONTAINER [CONTAINER...]", at_least=1, complete=complete.containers("created", "exited"))
@switch("-a", "--attach", help="Attach STDOUT/STDERR and forward signals")
@option("--detach-keys", help=_KEYS)
@switch("-i", "--interactive", help="Attach container's STDIN")
def start(words: tuple[str, ...], attach: bool, detach_keys: str, interactive: bool) -> int:
    """Start one or more stopped containers."""
    with api.connect() as daemon:
        if attach or interactive:
            if len(words) > 1:
                raise Failed("you cannot start and attach multiple containers at once")
            return _start_attached(daemon, words[0], interactive, detach_keys)
        failed: list[str] = []

        def begin(name: str) -> None:
            try:
                daemon.post(f"/containers/{name}/start")
            except LabError:
                failed.append(name)
                raise

        code = each(words, begin)
    if failed:
        say(f"Error: failed to start containers: {', '.join(failed)}")
    return code


@ask("attach", "CONTAINER", at_least=1, at_most=1, complete=complete.containers("running"))
@option("--detach-keys", help=_KEYS)
@switch("--no-stdin", help="Do not attach STDIN")
@switch("--sig-proxy", default=True, help="Proxy all received signals to the process (default true)")
def attach(words: tuple[str, ...], detach_keys: str, no_stdin: bool, sig_proxy: bool) -> int:
    """Attach local standard input, output, and error streams to a running container."""
    with api.connect() as daemon:
        found = daemon.read(answers.Inspected, f"/containers/{words[0]}/json")
        if not found.State.Running:
            raise Failed("You cannot attach to a stopped container, start it first")
        if found.State.Paused:
            raise Failed("You cannot attach to a paused container, unpause it first")
        if found.State.Restarting:
            raise Failed("You cannot attach to a restarting container, wait until it is running")
        wait = _Waiting(daemon, found.Id)
        seen = _attached(daemon, found.Id, _streams(found, not no_stdin), found.Config.Tty, detach_keys, sig_proxy)
        rows, columns = terminal.size(1, 0)
        if seen.resize and rows:
            seen.resize(rows + 1, columns + 1)  # a program draws its screen anew when the size changes, which it does in a moment
        seen.run(wait.connection)
        if seen.detached:
            raise Failed("read escape sequence")
        return wait.code()


class _Waiting:
    """The answer to ``POST …/wait``: its head has come, its body comes with the container's end."""

    def __init__(self, daemon: Api, id: str, condition: str = "") -> None:
        self._daemon = daemon
        self._answer = daemon.answer("POST", f"/containers/{id}/wait", condition=condition or None)
        self.connection = Connection.of(self._answer)

    def code(self) -> int:
        """The container's exit code; waits for it."""
        ended = codec.decode(answers.Exit, self._daemon.rest(self._answer))
        if ended.Error and ended.Error.Message:
            say(f"Error waiting for container: {ended.Error.Message}")
            return NOT_STARTED
        return ended.StatusCode


def _begin(daemon: Api, id: str, seen: Foreground, *, removed: bool) -> int:
    """Start a container that is attached; returns its exit code, or 0 if the person has left it."""
    wait = _Waiting(daemon, id, "removed" if removed else "next-exit")
    try:
        daemon.post(f"/containers/{id}/start")
    except LabError:
        seen.connection.close()
        if removed:
            wait.code()  # it is gone when the person is told
        raise
    seen.run(wait.connection)
    return exits.DONE if seen.detached else wait.code()


def _start_attached(daemon: Api, name: str, interactive: bool, keys: str) -> int:
    found = daemon.read(answers.Inspected, f"/containers/{name}/json")
    seen = _attached(daemon, found.Id, _streams(found, interactive), found.Config.Tty, keys)
    return _begin(daemon, found.Id, seen, removed=found.HostConfig.AutoRemove)


def _streams(found: answers.Inspected, stdin: bool) -> list[str]:
    """The streams to follow. A container that was started without ``-i`` has no input."""
    return ["stdin", "stdout", "stderr"] if stdin and found.Config.OpenStdin else ["stdout", "stderr"]


def _attached(daemon: Api, id: str, streams: Sequence[str], tty: bool, keys: str, sig_proxy: bool = True) -> Foreground:
    """Connect our streams with the container's; nothing moves before ``run``."""
    path, stdin = f"/containers/{id}", "stdin" in streams
    _check_terminal(tty, stdin)
    detach = DetachKeys.parse(keys)
    return Foreground(
        daemon.hijack(f"{path}/attach", stream=True, detachKeys=keys or None, **dict.fromkeys(streams, True)),
        tty=tty,
        stdin=stdin,
        keys=detach,
        resize=(lambda rows, columns: daemon.post(f"{path}/resize", h=rows, w=columns)) if tty else None,
        forward=(lambda name: daemon.post(f"{path}/kill", signal=name)) if sig_proxy and not tty else None,
    )


def _check_terminal(tty: bool, stdin: bool) -> None:
    """A terminal in the container that reads from something else here is not what anybody wants."""
    if tty and stdin and not os.isatty(0):
        raise Failed("the input device is not a TTY")
