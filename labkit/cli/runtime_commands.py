"""What the commands of ``labkit runtime`` do; ``runtime.py`` has their grammar. Each returns the exit code."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from labkit.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.runtime.context import Context
    from labkit.runtime.plans import Plan
    from labkit.runtime.spec import Process


# create, start, run, exec: what makes processes


def create(options: argparse.Namespace) -> int:
    """``create``: as the engine's tool, so a terminal must have somewhere to go."""
    from labkit.runtime import container

    plan = _plan(options)
    context = _context(plan, options)
    if _wants_terminal(plan) and not options.console_socket:
        raise InvalidInput("process.terminal: a container that is only created needs --console-socket, for its terminal to go to")
    container.create(context)
    try:
        _hand_out(context, options)
    except BaseException:
        container.delete(options.root, options.id, force=True)
        raise
    return 0


def start(options: argparse.Namespace) -> int:
    """``start``."""
    from labkit.runtime import container

    container.start(options.root, options.id)
    return 0


def run(options: argparse.Namespace) -> int:
    """``run``: the exit code is the program's."""
    from labkit.runtime import container

    plan = _plan(options)
    if options.detach and _wants_terminal(plan) and not options.console_socket:
        raise InvalidInput("process.terminal: --detach needs --console-socket, for the terminal to go to")
    context = _context(plan, options)
    container.create(context)
    _forward_signals(context)
    try:
        _hand_out(context, options)
        container.start(options.root, options.id)
    except BaseException:
        container.delete(options.root, options.id, force=True)
        raise
    if options.detach:
        return 0
    code = _wait(context)
    if not options.keep:
        container.delete(options.root, options.id, force=True)
    return code


def execute(options: argparse.Namespace) -> int:
    """``exec``."""
    from labkit.runtime import conduct, container, spec, state

    program = _program(options, spec.load(state.load(options.root, options.id).bundle).process)
    if options.detach and program.terminal and not options.console_socket:
        raise InvalidInput("--tty: with --detach there must be a --console-socket, for the terminal to go to")
    context = _context(container.exec_plan(options.root, options.id, program), options)
    _forward_signals(context)
    container.execute(context)
    try:
        _hand_out(context, options)
    except BaseException:
        conduct.withdraw(context)
        raise
    return 0 if options.detach else _wait(context)


def _plan(options: argparse.Namespace) -> Plan:
    from labkit.runtime import container

    return container.plan(options.bundle, options.id, options.root)


def _context(plan: Plan, options: argparse.Namespace) -> Context:
    from labkit.runtime.context import Context

    return Context(plan, preserve=options.preserve_fds)


def _wants_terminal(plan: Plan) -> bool:
    return any(type(step).__name__ == "OpenTerminal" for step in plan)


def _hand_out(context: Context, options: argparse.Namespace) -> None:
    """Warnings, the PID and the terminal go to whoever called us."""
    for warning in (*context.plan.warnings, *context.warnings):
        from labkit.cli import runtime_log

        runtime_log.warning(options, warning)
    if options.pid_file:
        with open(f"{options.pid_file}.new", "w") as file:
            file.write(str(context.pid))
        os.rename(file.name, options.pid_file)  # at once: who waits for the file finds the number in it
    if options.console_socket:
        from labkit.linux import pty

        with pty.connect(options.console_socket) as connection:
            pty.send_fd(connection, context.terminal, "/dev/ptmx")


def _forward_signals(context: Context) -> None:
    """Signals to us go to the container; before its program starts, for it may well be faster than we are."""
    import signal

    def forward(number: int, _frame: object) -> None:
        if context.pidfd >= 0:
            with suppress(ProcessLookupError):  # it has ended already
                signal.pidfd_send_signal(context.pidfd, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, forward)


def _wait(context: Context) -> int:
    """Stand between the container and the person until it ends: signals to us go to it, keys too if it has a terminal."""
    from labkit.linux import processes, pty
    from labkit.runtime.relay import relay

    if context.terminal >= 0 and os.isatty(0):
        with pty.raw(0):
            relay(context.terminal, context.pidfd)
    elif context.terminal >= 0:
        relay(context.terminal, context.pidfd)
    return processes.exit_code(os.waitpid(context.pid, 0)[1])


def _program(options: argparse.Namespace, container_process: Process) -> Process:
    """The process to execute: from a file, or the container's own with what the command line changes."""
    from dataclasses import replace

    from labkit.runtime import spec, validate

    if options.process:
        with open(options.process) as file:
            program = spec.load_process(file.read())
        return replace(program, terminal=program.terminal or options.tty)
    if not options.args:
        raise InvalidInput("process.args: must not be empty (name a command, or --process FILE)")
    user = container_process.user
    if options.user:
        uid, colon, gid = options.user.partition(":")
        if not uid.isdecimal() or (colon and not gid.isdecimal()):
            raise InvalidInput(f"--user: {options.user} must be UID or UID:GID, in numbers")
        user = replace(user, uid=int(uid), gid=int(gid) if gid else user.gid)
    if options.additional_gids:
        user = replace(user, additionalGids=(*user.additionalGids, *options.additional_gids))
    capabilities = container_process.capabilities
    if options.cap:
        have = capabilities or spec.Capabilities()
        added = {name: (*getattr(have, name), *options.cap) for name in ("bounding", "effective", "permitted", "inheritable")}
        capabilities = replace(have, **added)
    program = replace(
        container_process,
        args=tuple(options.args),
        env=(*container_process.env, *options.env),
        cwd=options.cwd or container_process.cwd,
        user=user,
        terminal=options.tty,
        capabilities=capabilities,
        noNewPrivileges=container_process.noNewPrivileges or options.no_new_privs,
    )
    validate.process(program)
    return program


# state, kill, delete, pause, resume, list, ps: what looks at containers and ends them


def state(options: argparse.Namespace) -> int:
    """``state``."""
    from labkit.runtime import container

    _print_json(container.describe(options.root, options.id))
    return 0


def kill(options: argparse.Namespace) -> int:
    """``kill``."""
    from labkit.runtime import container

    container.kill(options.root, options.id, options.signal, options.all)
    return 0


def delete(options: argparse.Namespace) -> int:
    """``delete``."""
    from labkit.runtime import container

    container.delete(options.root, options.id, options.force)
    return 0


def pause(options: argparse.Namespace) -> int:
    """``pause``."""
    from labkit.runtime import container

    container.pause(options.root, options.id)
    return 0


def resume(options: argparse.Namespace) -> int:
    """``resume``."""
    from labkit.runtime import container

    container.resume(options.root, options.id)
    return 0


def list_containers(options: argparse.Namespace) -> int:
    """``list``."""
    from labkit.runtime import container, state

    found = [container.describe(options.root, id) for id in state.ids(options.root)]
    if options.format == "json":
        _print_json(found)
    elif options.quiet:
        print("".join(f"{each['id']}\n" for each in found), end="")
    else:
        columns = ("id", "pid", "status", "bundle", "created")
        _print_table([[name.upper() for name in columns], *([str(each[name]) for name in columns] for each in found)])
    return 0


def ps(options: argparse.Namespace) -> int:
    """``ps``."""
    from labkit.runtime import container

    pids = container.members(options.root, options.id)
    if options.format == "json":
        _print_json(list(pids))
        return 0
    import subprocess

    listed = subprocess.run(["ps", *(options.args or ["-ef"])], stdout=subprocess.PIPE, text=True, check=False)
    listing = listed.stdout.splitlines()
    if listed.returncode or "PID" not in listing[0].split():
        raise InvalidInput("ps: its options must be right, and such that there is a column PID")
    column = listing[0].split().index("PID")
    print(listing[0], *(line for line in listing[1:] if int(line.split()[column]) in pids), sep="\n")
    return 0


def update(options: argparse.Namespace) -> int:
    """``update``."""
    from labkit.runtime import container

    with open(0 if options.resources == "-" else options.resources) as file:
        container.update(options.root, options.id, file.read())
    return 0


def features(_options: argparse.Namespace) -> int:
    """``features``."""
    from labkit import codec
    from labkit.runtime import features

    _print_json(codec.encode(features.features()))
    return 0


def spec(options: argparse.Namespace) -> int:
    """``spec``."""
    from labkit.errors import Conflict
    from labkit.linux import cgroups
    from labkit.runtime import defaults

    path = os.path.join(options.bundle, "config.json")
    made = defaults.rootless() if options.rootless else defaults.spec()
    if cgroups.detect().mode == "v2":
        made = defaults.with_cgroup_namespace(made)
    try:
        with open(path, "x") as file:
            file.write(defaults.text(made))
    except FileExistsError:
        raise Conflict(f"{path}: there is one; remove it first") from None
    return 0


def show_plan(options: argparse.Namespace) -> int:
    """``plan``."""
    from labkit.runtime import container

    plan = container.plan(options.bundle, options.id, options.root)
    print(plan.shell() if options.shell else plan)
    return 0


def _print_json(data: object) -> None:
    import json

    print(json.dumps(data, indent=2))


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
