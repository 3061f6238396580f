"""The checks of notebook 06: they ask its daemon, by its own API, and look into /proc. What was typed is all the same to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from labkit import codec
from labkit.lessons import daemons
from labkit.lessons.daemons import Daemon
from labkit.lessons.verdict import Verdict, failed, passed
from labkit.linux import processes

_RUN_IT = "fill the blank and run the starter cell."


@dataclass(frozen=True)
class State:
    """As the API has it, and so are the names below."""

    Status: str = ""
    Pid: int = 0
    ExitCode: int = 0


@dataclass(frozen=True)
class Config:
    Image: str = ""


@dataclass(frozen=True)
class Container:
    """What a check wants to know of one."""

    Id: str
    Name: str
    State: State
    Config: Config
    Path: str = ""
    Args: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.Name.removeprefix("/")

    @property
    def command(self) -> str:
        return " ".join((self.Path, *self.Args))


@dataclass(frozen=True)
class Listed:
    Id: str = ""
    Path: str = ""


@dataclass(frozen=True)
class Lists:
    """Of containers, by their IDs, or of what has changed in one, by paths."""

    of: tuple[Listed, ...] = ()


def by_hand(daemon: Daemon) -> Verdict:
    """The container "byhand" runs."""
    found = _get(daemon, "byhand")
    if found is None:
        return failed("There is no container called byhand.", "run the starter cell: its first requests make one.")
    if found.State.Status == "created":
        return failed(
            "byhand is there, but it has no process: the daemon calls that `created`.",
            "look at the four requests of `docker run`: which is the last?",
        )
    if not _lives(found):
        return failed(f"byhand has ended with {found.State.ExitCode}.", "run the starter cell again.")
    return passed(f"byhand runs: /proc/{found.State.Pid} is its process. Two requests is all that it took, and no docker.")


def named(daemon: Daemon) -> Verdict:
    """The container "greeter" has printed its line and ended."""
    found = _get(daemon, "greeter")
    if found is None:
        slip = next((each for each in _all(daemon) if "greeter" in each.command), None)
        if slip:
            return failed(
                f"There is a container {slip.name} that is to run `{slip.command}`: the name has become part of the command.",
                "what stands behind the image belongs to the command. Options go in front of the image.",
            )
        return failed("Not yet: there is no container called greeter.", _RUN_IT)
    said = daemon.logs("greeter").strip()
    if _lives(found) or found.State.Status == "created":
        return failed(f"greeter is {found.State.Status}, and has printed “{said}”.", "`echo good morning` prints, and ends by itself.")
    if said != "good morning" or found.State.ExitCode:
        return failed(f"greeter has printed “{said}”, and ended with {found.State.ExitCode}.", "its command is `echo good morning`.")
    return passed("greeter has printed its line and ended with 0; and it is still there, with its log and its files, stopped.")


def left_alone(daemon: Daemon) -> Verdict:
    """The shell in the container "desk" runs, and waits."""
    found = _get(daemon, "desk")
    if found is None:
        return failed("Not yet: there is no container called desk.", _RUN_IT)
    if not _lives(found):
        return failed(
            f"desk has ended with {found.State.ExitCode}: what you typed has ended the shell, and the shell was process 1.",
            "you are to leave the shell alone. Which of the three does it never get to see?",
        )
    return passed(f"desk runs: its shell is process {found.State.Pid}, it waits for the next line, and nobody sits in front of it.")


def opened(daemon: Daemon) -> Verdict:
    """The container "shop" has found its file."""
    found = _get(daemon, "shop")
    if found is None or not _lives(found):
        return failed("There is no running container called shop.", "run the starter cell.")
    others = [each.name for each in _all(daemon) if each.name != "shop" and _has_changed(daemon, each, "/tmp/open")]
    if _has_changed(daemon, found, "/tmp/open") and daemon.heard("shop", "open"):
        return passed(f"shop has found /tmp/open and gone to work, and it is the same container still: {found.Id[:12]}.")
    if others:
        return failed(
            f"{others[0]} has a file /tmp/open, but shop has none: your command has made a new container, with a layer of its own.",
            "which command starts one more program in a container that runs already?",
        )
    return failed("Not yet: shop has no file /tmp/open.", _RUN_IT)


def saved(daemon: Daemon) -> Verdict:
    """The container "till" was told to end, and had the time to save."""
    found = _get(daemon, "till")
    if found is None:
        return failed("There is no container called till: was it removed, and its log with it?", "run the starter again.")
    if _lives(found):
        return failed("Not yet: till runs.", _RUN_IT)
    said = daemon.logs("till").split()
    if "saved" not in said:
        return failed(
            f"till has ended with {found.State.ExitCode}, which is 128 + 9: killed. Its last word was “{said[-1] if said else ''}”.",
            "it needs a signal that it can hear, and two seconds. How long does `docker stop` wait if nobody says?",
        )
    return passed(f"till has saved, and ended by itself with {found.State.ExitCode}.")


def _get(daemon: Daemon, name: str) -> Container | None:
    answer = daemon.ask("GET", f"/containers/{name}/json")
    return codec.decode(Container, answer.json) if answer.status == 200 else None


def _all(daemon: Daemon) -> list[Container]:
    return [found for each in _list(daemon, "/containers/json?all=1") if (found := _get(daemon, each.Id))]


def _has_changed(daemon: Daemon, container: Container, path: str) -> bool:
    return any(change.Path == path for change in _list(daemon, f"/containers/{container.Id}/changes"))


def _list(daemon: Daemon, path: str) -> tuple[Listed, ...]:
    return codec.decode(Lists, {"of": daemon.ask("GET", path).json}).of


def _lives(container: Container) -> bool:
    return container.State.Pid > 0 and processes.alive(container.State.Pid)


def _checked(check: Callable[[Daemon], Verdict]) -> Verdict:
    daemon = daemons.find("06")
    if daemon is None:
        return failed("The daemon of this lesson does not run.", "run the first cell of the notebook.")
    return check(daemon)


CHECKS: dict[str, Callable[[], Verdict]] = {
    "by-hand": partial(_checked, by_hand),
    "named": partial(_checked, named),
    "left-alone": partial(_checked, left_alone),
    "opened": partial(_checked, opened),
    "saved": partial(_checked, saved),
}
