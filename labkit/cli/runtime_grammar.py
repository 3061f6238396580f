"""The grammar of ``labkit runtime``: runc's commands and options, as a table.

argparse takes 0.2 ms for a command with its options, and only one of them is called. So ``parser`` makes the one that the words name,
and all of them for ``--help`` or where none is named.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from labkit.cli import runtime_commands as commands

Argument = tuple[tuple[str, ...], dict[str, object]]


def _argument(*names: str, **how: object) -> Argument:
    """What ``ArgumentParser.add_argument`` shall be called with."""
    return names, how


def _flag(*names: str, help: str) -> Argument:
    return names, {"action": "store_true", "help": help}


def _ignored(*names: str) -> Argument:
    """What runc knows and labkit does in any case, or has no use for."""
    return _flag(*names, help=argparse.SUPPRESS)


_ID = _argument("id", metavar="ID", help="name of the container")
_BUNDLE = _argument("-b", "--bundle", default=".", metavar="DIR", help="directory with config.json (the current one)")
_FORMAT = _argument("-f", "--format", choices=("table", "json"), default="table")
_BIRTH = (
    _argument("--pid-file", metavar="FILE", help="write the PID of the new process here"),
    _argument("--console-socket", metavar="SOCKET", help="Unix socket that gets the terminal's master"),
    _argument("--preserve-fds", type=int, default=0, metavar="N", help="pass on N descriptors after 2"),
)
_NEW = (_BUNDLE, *_BIRTH, _ignored("--no-pivot"), _ignored("--no-new-keyring"), _ID)

COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], int], str, tuple[Argument, ...]]] = {
    "create": (commands.create, "make a container and stop before its program", _NEW),
    "start": (commands.start, "execute the program of a created container", (_ID,)),
    "run": (
        commands.run,
        "create, start, wait and delete",
        (
            _flag("-d", "--detach", help="return when the program is started"),
            _flag("--keep", help="do not delete the container when it has ended"),
            _ignored("--no-subreaper"),
            *_NEW,
        ),
    ),
    "exec": (
        commands.execute,
        "run one more process in a running container",
        (
            *_BIRTH,
            _flag("-t", "--tty", help="with a terminal"),
            _flag("-d", "--detach", help="do not wait for its end"),
            _argument("-p", "--process", metavar="FILE", help="JSON of the process, as in config.json"),
            _argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE", help="one more variable"),
            _argument("-u", "--user", metavar="UID[:GID]", help="as another user"),
            _argument("-g", "--additional-gids", action="append", type=int, default=[], metavar="GID", help="in one more group"),
            _argument("-c", "--cap", action="append", default=[], metavar="CAP_NAME", help="with one more capability"),
            _argument("--cwd", metavar="DIR", help="working directory"),
            _flag("--no-new-privs", help="no execve gives it more than it has"),
            _ignored("--ignore-paused"),
            _ID,
            _argument("args", nargs=argparse.REMAINDER, metavar="COMMAND ..."),
        ),
    ),
    "state": (commands.state, "print the state of a container as JSON", (_ID,)),
    "kill": (
        commands.kill,
        "send a signal to a container's first process",
        (
            _flag("-a", "--all", help="to every process in it"),
            _ID,
            _argument("signal", nargs="?", default="TERM", metavar="SIGNAL", help="a name or a number (TERM)"),
        ),
    ),
    "delete": (
        commands.delete,
        "remove what is left of a container",
        (_flag("-f", "--force", help="kill it first if it runs"), _ID),
    ),
    "pause": (commands.pause, "freeze all processes of a container", (_ID,)),
    "resume": (commands.resume, "let a paused container go on", (_ID,)),
    "list": (commands.list_containers, "list containers", (_FORMAT, _flag("-q", "--quiet", help="only their names"))),
    "ps": (
        commands.ps,
        "list the processes of a container",
        (_FORMAT, _ID, _argument("args", nargs=argparse.REMAINDER, metavar="ps options")),
    ),
    "update": (
        commands.update,
        "change the limits of a running container",
        (_argument("-r", "--resources", default="-", metavar="FILE", help="JSON of linux.resources; - is standard input"), _ID),
    ),
    "features": (commands.features, "print what this runtime supports as JSON", ()),
    "spec": (
        commands.spec,
        "write a config.json to begin with",
        (_BUNDLE, _flag("--rootless", help="for a user who is not root")),
    ),
    "plan": (
        commands.show_plan,
        "print the steps of a container, and do nothing",
        (_BUNDLE, _flag("--shell", help="as a script for sh"), _argument("id", nargs="?", default="demo", metavar="ID")),
    ),
}

_GLOBAL = (
    _argument("-v", "--version", action="version", version="labkit runtime version 0.1.0\nspec: 1.1.0"),
    _argument("--root", default="/run/labkit/runtime", metavar="DIR", help="where the state of containers is kept (%(default)s)"),
    _argument("--log", metavar="FILE", help="write errors to this file, too"),
    _argument("--log-format", choices=("text", "json"), default="text", help="of that file (%(default)s)"),
    _ignored("--debug"),
    _ignored("--systemd-cgroup"),
    _argument("--rootless", help=argparse.SUPPRESS),
)


def parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """A parser that understands the command named in ``words``, or every command."""
    whole = argparse.ArgumentParser(
        prog="labkit runtime", description="An OCI runtime: a bundle in, a container out.", allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    _add(whole, _GLOBAL)
    subcommands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    named = [word for word in words if word in COMMANDS]
    for name in named if named and words[0] not in ("-h", "--help") else COMMANDS:
        do, help, arguments = COMMANDS[name]
        sub = subcommands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False)
        sub.set_defaults(do=do)
        _add(sub, arguments)
    return whole


def _add(parser: argparse.ArgumentParser, arguments: Sequence[Argument]) -> None:
    for names, how in arguments:
        parser.add_argument(*names, **how)  # type: ignore[arg-type]
