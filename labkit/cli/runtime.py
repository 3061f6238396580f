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

from labkit.cli import runtime_commands as commands
from labkit.errors import KernelError, LabError


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
    except (LabError, OSError) as error:
        from labkit.runtime.conduct import exit_code

        if isinstance(error, OSError) and not error.filename:
            raise  # no mistake of the caller's
        problem = KernelError.of(error, "cannot use", str(error.filename)) if isinstance(error, OSError) else error
        _log(options, str(problem))
        return exit_code(problem)


def _log(options: argparse.Namespace, message: str) -> None:
    """Say what went wrong on stderr, and in the log file where the engine that called us looks for it."""
    print(f"labkit: {message}", file=sys.stderr)
    if options.log:
        import json
        import time

        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        entry = {"level": "error", "msg": message, "time": moment}
        line = json.dumps(entry) if options.log_format == "json" else f'time="{moment}" level=error msg={json.dumps(message)}'
        try:
            with open(options.log, "a") as file:
                file.write(line + "\n")
        except OSError as error:
            print(f"labkit: {KernelError.of(error, 'cannot use', options.log)}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="labkit runtime", description="An OCI runtime: a bundle in, a container out.", allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("-v", "--version", action="version", version="labkit runtime version 0.1.0\nspec: 1.1.0")
    parser.add_argument("--root", default="/run/labkit/runtime", metavar="DIR", help="where the state of containers is kept (%(default)s)")
    parser.add_argument("--log", metavar="FILE", help="write errors to this file, too")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--systemd-cgroup", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rootless", help=argparse.SUPPRESS)
    subcommands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, do: object, help: str, *, id: bool = True, bundle: bool = False, births: bool = False
    ) -> argparse.ArgumentParser:
        sub = subcommands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False)
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

    command("create", commands.create, "make a container and stop before its program", bundle=True, births=True)
    command("start", commands.start, "execute the program of a created container")
    run = command("run", commands.run, "create, start, wait and delete", bundle=True, births=True)
    run.add_argument("-d", "--detach", action="store_true", help="return when the program is started")
    run.add_argument("--keep", action="store_true", help="do not delete the container when it has ended")
    run.add_argument("--no-subreaper", action="store_true", help=argparse.SUPPRESS)
    for sub in (run, subcommands.choices["create"]):
        sub.add_argument("--no-pivot", action="store_true", help=argparse.SUPPRESS)
        sub.add_argument("--no-new-keyring", action="store_true", help=argparse.SUPPRESS)

    execute = command("exec", commands.execute, "run one more process in a running container", births=True)
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

    command("state", commands.state, "print the state of a container as JSON")
    kill = command("kill", commands.kill, "send a signal to a container's first process")
    kill.add_argument("signal", nargs="?", default="TERM", metavar="SIGNAL", help="a name or a number (TERM)")
    kill.add_argument("-a", "--all", action="store_true", help="to every process in it")
    delete = command("delete", commands.delete, "remove what is left of a container")
    delete.add_argument("-f", "--force", action="store_true", help="kill it first if it runs")
    command("pause", commands.pause, "freeze all processes of a container")
    command("resume", commands.resume, "let a paused container go on")
    listing = command("list", commands.list_containers, "list containers", id=False)
    listing.add_argument("-f", "--format", choices=("table", "json"), default="table")
    listing.add_argument("-q", "--quiet", action="store_true", help="only their names")
    ps = command("ps", commands.ps, "list the processes of a container")
    ps.add_argument("-f", "--format", choices=("table", "json"), default="table")
    ps.add_argument("args", nargs=argparse.REMAINDER, metavar="ps options")
    update = command("update", commands.update, "change the limits of a running container")
    update.add_argument("-r", "--resources", default="-", metavar="FILE", help="JSON of linux.resources; - is standard input")
    command("features", commands.features, "print what this runtime supports as JSON", id=False)
    spec = command("spec", commands.spec, "write a config.json to begin with", id=False, bundle=True)
    spec.add_argument("--rootless", action="store_true", help="for a user who is not root")
    plan = command("plan", commands.show_plan, "print the steps of a container, and do nothing", id=False, bundle=True)
    plan.add_argument("--shell", action="store_true", help="as a script for sh")
    plan.add_argument("id", nargs="?", default="demo", metavar="ID")
    return parser
