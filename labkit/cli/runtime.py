"""``labkit runtime …``: labkit as an OCI runtime, with the grammar that runc has.

    labkit runtime spec                       write a config.json to begin with
    labkit runtime run --bundle B box         create, start, wait, delete
    labkit runtime plan --bundle B --shell    the same as a script, for reading or running

``podman --runtime`` and ``dockerd --add-runtime`` call it for every container, so it starts fast: argparse, and imports at the
last moment. Source: ``man 8 runc``; OCI runtime-spec 1.1.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from labkit.errors import InvalidInput, LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.runtime.context import Context
    from labkit.runtime.plan import Plan
    from labkit.runtime.spec import Process


def main(arguments: list[str]) -> int:
    """Run one command of the runtime; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.do(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read our output has left; nothing more to say
        return 1
    except LabError as error:
        from labkit.runtime.conduct import exit_code

        _log(options, str(error))
        return exit_code(error)


def _log(options: argparse.Namespace, message: str) -> None:
    """Say what went wrong on stderr, and in the log file where the engine that called us looks for it."""
    print(f"labkit: {message}", file=sys.stderr)
    if options.log:
        import json
        import time

        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        entry = {"level": "error", "msg": message, "time": moment}
        line = json.dumps(entry) if options.log_format == "json" else f'time="{moment}" level=error msg={json.dumps(message)}'
        with open(options.log, "a") as file:
            file.write(line + "\n")


# create, start, run, exec: what makes processes


def _create(options: argparse.Namespace) -> int:
    from labkit.runtime import container, seal

    seal.seal()
    plan = _plan(options)
    context = _context(plan, options)
    if _wants_terminal(plan) and not options.console_socket:
        raise InvalidInput("process.terminal: a container that is only created needs --console-socket, for its terminal to go to")
    container.create(context)
    _hand_out(context, options)
    return 0


def _start(options: argparse.Namespace) -> int:
    from labkit.runtime import container

    container.start(options.root, options.id)
    return 0


def _run(options: argparse.Namespace) -> int:
    from labkit.runtime import container, seal

    seal.seal()
    plan = _plan(options)
    if options.detach and _wants_terminal(plan) and not options.console_socket:
        raise InvalidInput("process.terminal: --detach needs --console-socket, for the terminal to go to")
    context = _context(plan, options)
    container.create(context)
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


def _exec(options: argparse.Namespace) -> int:
    from labkit.runtime import container, seal, spec, state

    seal.seal()
    program = _program(options, spec.load(state.load(options.root, options.id).bundle).process)
    if options.detach and program.terminal and not options.console_socket:
        raise InvalidInput("--tty: with --detach there must be a --console-socket, for the terminal to go to")
    context = _context(container.exec_plan(options.root, options.id, program), options)
    container.execute(context)
    _hand_out(context, options)
    return 0 if options.detach else _wait(context)


def _plan(options: argparse.Namespace) -> Plan:
    from labkit.runtime import container

    plan = container.plan(options.bundle, options.id, options.root)
    for warning in plan.warnings:
        print(f"labkit: warning: {warning}", file=sys.stderr)
    return plan


def _context(plan: Plan, options: argparse.Namespace) -> Context:
    from labkit.runtime.context import Context

    return Context(plan, preserve=options.preserve_fds)


def _wants_terminal(plan: Plan) -> bool:
    return any(type(step).__name__ == "OpenTerminal" for step in plan)


def _hand_out(context: Context, options: argparse.Namespace) -> None:
    """The PID and the terminal go to whoever called us."""
    if options.pid_file:
        with open(options.pid_file, "w") as file:
            file.write(str(context.pid))
    if options.console_socket:
        from labkit.linux import pty

        with pty.connect(options.console_socket) as connection:
            pty.send_fd(connection, context.terminal, "/dev/ptmx")


def _wait(context: Context) -> int:
    """Stand between the container and the person until it ends: signals to us go to it, keys too if it has a terminal."""
    import signal

    from labkit.linux import processes, pty
    from labkit.runtime.relay import relay

    def forward(number: int, _frame: object) -> None:
        signal.pidfd_send_signal(context.pidfd, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, forward)
    if context.terminal >= 0 and os.isatty(0):
        with pty.raw(0):
            relay(context.terminal, context.pidfd)
    elif context.terminal >= 0:
        relay(context.terminal, context.pidfd)
    return processes.exit_code(os.waitpid(context.pid, 0)[1])


def _program(options: argparse.Namespace, container_process: Process) -> Process:
    """The process to execute: from a file, or the container's own with what the command line changes."""
    from dataclasses import replace

    from labkit.runtime import spec

    if options.process:
        with open(options.process) as file:
            program = spec.load_process(file.read())
        return replace(program, terminal=program.terminal or options.tty)
    if not options.args:
        raise InvalidInput("process.args: must not be empty (name a command, or --process FILE)")
    user = container_process.user
    if options.user:
        uid, _, gid = options.user.partition(":")
        if not (uid + gid).isdecimal():
            raise InvalidInput(f"--user: {options.user} must be UID or UID:GID, in numbers")
        user = replace(user, uid=int(uid), gid=int(gid) if gid else user.gid)
    if options.additional_gids:
        user = replace(user, additionalGids=(*user.additionalGids, *options.additional_gids))
    capabilities = container_process.capabilities
    if options.cap:
        have = capabilities or spec.Capabilities()
        added = {name: (*getattr(have, name), *options.cap) for name in ("bounding", "effective", "permitted", "inheritable")}
        capabilities = replace(have, **added)
    return replace(
        container_process,
        args=tuple(options.args),
        env=(*container_process.env, *options.env),
        cwd=options.cwd or container_process.cwd,
        user=user,
        terminal=options.tty,
        capabilities=capabilities,
        noNewPrivileges=container_process.noNewPrivileges or options.no_new_privs,
    )


# state, kill, delete, pause, resume, list, ps: what looks at containers and ends them


def _state(options: argparse.Namespace) -> int:
    from labkit.runtime import container

    _print_json(container.describe(options.root, options.id))
    return 0


def _kill(options: argparse.Namespace) -> int:
    from labkit.runtime import container

    container.kill(options.root, options.id, options.signal, options.all)
    return 0


def _delete(options: argparse.Namespace) -> int:
    from labkit.runtime import container

    container.delete(options.root, options.id, options.force)
    return 0


def _pause(options: argparse.Namespace) -> int:
    from labkit.runtime import container

    container.pause(options.root, options.id)
    return 0


def _resume(options: argparse.Namespace) -> int:
    from labkit.runtime import container

    container.resume(options.root, options.id)
    return 0


def _list(options: argparse.Namespace) -> int:
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


def _ps(options: argparse.Namespace) -> int:
    from labkit.runtime import container

    pids = container.members(options.root, options.id)
    if options.format == "json":
        _print_json(list(pids))
        return 0
    import subprocess

    listing = subprocess.run(["ps", *(options.args or ["-ef"])], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    column = listing[0].split().index("PID")
    print(listing[0], *(line for line in listing[1:] if int(line.split()[column]) in pids), sep="\n")
    return 0


def _update(options: argparse.Namespace) -> int:
    from labkit.runtime import container

    with open(0 if options.resources == "-" else options.resources) as file:
        container.update(options.root, options.id, file.read())
    return 0


def _features(_options: argparse.Namespace) -> int:
    from labkit.runtime import features

    _print_json(features.features())
    return 0


def _spec(options: argparse.Namespace) -> int:
    from labkit.errors import Conflict
    from labkit.runtime import defaults

    path = os.path.join(options.bundle, "config.json")
    try:
        with open(path, "x") as file:
            file.write(defaults.text(defaults.rootless() if options.rootless else defaults.spec()))
    except FileExistsError:
        raise Conflict(f"{path}: there is one; remove it first") from None
    return 0


def _show_plan(options: argparse.Namespace) -> int:
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="labkit runtime", description="An OCI runtime: a bundle in, a container out.", allow_abbrev=False)
    parser.add_argument("--root", default="/run/labkit/runtime", metavar="DIR", help="where the state of containers is kept (%(default)s)")
    parser.add_argument("--log", metavar="FILE", help="write errors to this file, too")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--systemd-cgroup", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rootless", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, do: object, help: str, *, id: bool = True, bundle: bool = False, births: bool = False
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False)
        sub.set_defaults(do=do)
        if bundle:
            sub.add_argument("-b", "--bundle", default=".", metavar="DIR", help="directory with config.json (the current one)")
        if births:
            sub.add_argument("--pid-file", metavar="FILE", help="write the PID of the new process here")
            sub.add_argument("--console-socket", metavar="SOCKET", help="Unix socket that gets the terminal's master")
            sub.add_argument("--preserve-fds", type=int, default=0, metavar="N", help="pass on N descriptors after 2")
        if id:
            sub.add_argument("id", metavar="ID", help="name of the container")
        return sub

    command("create", _create, "make a container and stop before its program", bundle=True, births=True)
    command("start", _start, "execute the program of a created container")
    run = command("run", _run, "create, start, wait and delete", bundle=True, births=True)
    run.add_argument("-d", "--detach", action="store_true", help="return when the program is started")
    run.add_argument("--keep", action="store_true", help="do not delete the container when it has ended")
    run.add_argument("--no-subreaper", action="store_true", help=argparse.SUPPRESS)
    for sub in (run, commands.choices["create"]):
        sub.add_argument("--no-pivot", action="store_true", help=argparse.SUPPRESS)
        sub.add_argument("--no-new-keyring", action="store_true", help=argparse.SUPPRESS)

    execute = command("exec", _exec, "run one more process in a running container", births=True)
    execute.add_argument("-t", "--tty", action="store_true", help="with a terminal")
    execute.add_argument("-d", "--detach", action="store_true", help="do not wait for its end")
    execute.add_argument("-p", "--process", metavar="FILE", help="JSON of the process, as in config.json")
    execute.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE")
    execute.add_argument("-u", "--user", metavar="UID[:GID]")
    execute.add_argument("-g", "--additional-gids", action="append", type=int, default=[], metavar="GID")
    execute.add_argument("-c", "--cap", action="append", default=[], metavar="CAP_NAME")
    execute.add_argument("--cwd", metavar="DIR")
    execute.add_argument("--no-new-privs", action="store_true")
    execute.add_argument("--ignore-paused", action="store_true", help=argparse.SUPPRESS)
    execute.add_argument("args", nargs=argparse.REMAINDER, metavar="COMMAND ...")

    command("state", _state, "print the state of a container as JSON")
    kill = command("kill", _kill, "send a signal to a container's first process")
    kill.add_argument("signal", nargs="?", default="TERM", metavar="SIGNAL", help="a name or a number (TERM)")
    kill.add_argument("-a", "--all", action="store_true", help="to every process in it")
    delete = command("delete", _delete, "remove what is left of a container")
    delete.add_argument("-f", "--force", action="store_true", help="kill it first if it runs")
    command("pause", _pause, "freeze all processes of a container")
    command("resume", _resume, "let a paused container go on")
    listing = command("list", _list, "list containers", id=False)
    listing.add_argument("-f", "--format", choices=("table", "json"), default="table")
    listing.add_argument("-q", "--quiet", action="store_true", help="only their names")
    ps = command("ps", _ps, "list the processes of a container")
    ps.add_argument("-f", "--format", choices=("table", "json"), default="table")
    ps.add_argument("args", nargs=argparse.REMAINDER, metavar="ps options")
    update = command("update", _update, "change the limits of a running container")
    update.add_argument("-r", "--resources", default="-", metavar="FILE", help="JSON of linux.resources; - is standard input")
    command("features", _features, "print what this runtime supports as JSON", id=False)
    spec = command("spec", _spec, "write a config.json to begin with", id=False, bundle=True)
    spec.add_argument("--rootless", action="store_true", help="for a user who is not root")
    plan = command("plan", _show_plan, "print the steps of a container, and do nothing", id=False, bundle=True)
    plan.add_argument("--shell", action="store_true", help="as a script for sh")
    plan.add_argument("id", nargs="?", default="demo", metavar="ID")
    return parser
