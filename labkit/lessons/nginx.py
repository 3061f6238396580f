"""The checks of notebook 09: they ask its daemon, and look at the pages as a visitor does."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from labkit import codec
from labkit.errors import Unreachable
from labkit.lessons import daemons, web
from labkit.lessons.daemons import Daemon
from labkit.lessons.verdict import Verdict, failed, passed
from labkit.linux import processes

PAGES = "/usr/share/nginx/html"
_RUN_IT = "fill the blank and run the starter cell."
_PATIENCE = 5.0  # seconds, for nginx to do what it was told
_FILM = re.compile(r'"GET /film HTTP/1\.1" 200 (\d+)')
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class State:
    """As the API has it, and so are the names below."""

    Pid: int = 0
    ExitCode: int = 0


@dataclass(frozen=True)
class Mount:
    Source: str = ""
    Destination: str = ""


@dataclass(frozen=True)
class Binding:
    HostPort: str = ""


@dataclass(frozen=True)
class NetworkSettings:
    Ports: Mapping[str, tuple[Binding, ...] | None] | None = None
    Networks: Mapping[str, object] | None = None


@dataclass(frozen=True)
class Config:
    Image: str = ""


@dataclass(frozen=True)
class Container:
    """What a check wants to know of one."""

    Id: str
    State: State
    Config: Config
    NetworkSettings: NetworkSettings
    Mounts: tuple[Mount, ...] = ()

    @property
    def lives(self) -> bool:
        return self.State.Pid > 0 and processes.alive(self.State.Pid)

    @property
    def port(self) -> int:
        """Where this machine has published its port 80; 0 if nowhere."""
        bindings = (self.NetworkSettings.Ports or {}).get("80/tcp") or ()
        return next((int(each.HostPort) for each in bindings if each.HostPort), 0)


@dataclass(frozen=True)
class RootFS:
    Layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Image:
    RootFS: RootFS


def own_page(daemon: Daemon) -> Verdict:
    """The container "mine" serves the page that lies on this machine."""
    found = _container(daemon, "mine")
    if found is None or not found.lives:
        return failed("Not yet: there is no running container called mine.", _RUN_IT)
    mount = next((each for each in found.Mounts if each.Destination == PAGES), None)
    if mount is None:
        _remove_what_the_slip_has_made()
        where = ", ".join(f"{each.Source} at {each.Destination}" for each in found.Mounts) or "nothing of this machine"
        return failed(
            f"The container shows {where}. nginx looks for its pages at {PAGES}, and there is the image's own.",
            "a volume is `SOURCE:TARGET`, and the target is a directory in the container.",
        )
    page = _get(found).page
    wanted = _read(f"{mount.Source}/index.html")
    if not wanted or page != wanted:
        return failed(f"{mount.Source} is in its place, but the page that comes is another.", "run the starter cell as it was.")
    return passed(f"What nginx hands out is {mount.Source}/index.html, a file of this machine: change it, and the next visitor sees that.")


def reloaded(daemon: Daemon) -> Verdict:
    """The container "shop" has its new configuration, and was started once."""
    found = _container(daemon, "shop")
    if found is None or not found.lives:
        return failed("There is no running container called shop.", "run the starter cell, and leave the shop open.")
    _wait(lambda: "sale" in _get(found).page)  # a reload takes a moment
    if "sale" not in _get(found).page:
        return failed("Not yet: visitors get the old page.", "the new file is there, but who has told nginx to read it?")
    starts = _starts(daemon, found)
    if starts > 1:
        return failed(
            f"Visitors get the new page; but the container was started {starts} times, and whoever was in the shop has been thrown out.",
            "nginx can read its configuration anew while it serves. One more program in the container tells it so.",
        )
    return passed(f"Visitors get the new page, and nginx is process {found.State.Pid} as before: nobody was shown the door.")


def last_guest(daemon: Daemon) -> Verdict:
    """The container "cinema" has ended, and the guest has seen the whole film."""
    found = _container(daemon, "cinema")
    if found is None:
        return failed("There is no container called cinema: was it removed, and its log with it?", "run the starter cell again.")
    _wait(partial(_has_ended, found))
    found = _container(daemon, "cinema") or found
    if found.lives:
        return failed("Not yet: the cinema is open.", _RUN_IT)
    sent = max(map(int, _FILM.findall(daemon.logs("cinema"))), default=0)
    if sent < web.FILM:
        return failed(
            f"The cinema has closed with exit code {found.State.ExitCode}, and its log has no visitor who got all {web.FILM:,} bytes.",
            "more time does not help: this container is sent SIGTERM, and at that nginx lets go of everybody. Which signal does it want?",
        )
    if found.State.ExitCode:
        return failed(
            f"The guest has seen the film, but the cinema was ended by force: exit code {found.State.ExitCode}.",
            "do not kill, ask.",
        )
    return passed(f"The log says that {sent:,} bytes went out, and then nginx ended by itself, with 0.")


def own_image(daemon: Daemon) -> Verdict:
    """The image own:v1 stands on nginx, and a container of it serves its page."""
    image, base = (_asked(Image, daemon, f"/images/{name}/json") for name in ("own:v1", "nginx"))
    if image is None:
        return failed("Not yet: there is no image own:v1.", "fill the blank and run the starter cell; the last line of a build says why.")
    layers, below = image.RootFS.Layers, base.RootFS.Layers if base else ()
    if not below or layers[: len(below)] != below:
        return failed("own:v1 does not stand on nginx.", "its Dockerfile begins with `FROM nginx`: run the starter cell as it was.")
    found = _container(daemon, "own")
    if found is None or not found.lives:
        return failed("own:v1 is there, but no container own of it runs.", "run the starter cell again.")
    if "An image of my own" not in _get(found).page:
        changed = _count(len(layers) - len(below), "layer")
        return failed(
            f"own:v1 stands on nginx, with {changed} upon it, but its page is the old one.",
            f"the file went to another place: `docker run --rm own:v1 find / -name index.html` looks for it. nginx looks in `{PAGES}`.",
        )
    return passed(f"own:v1 is nginx's {len(below)} layers and {_count(len(layers) - len(below), 'layer')} of yours, with the page in it.")


def by_name(daemon: Daemon) -> Verdict:
    """The container "door" hands out the page of "site", which has no port of this machine's."""
    door, site = _container(daemon, "door"), _container(daemon, "site")
    if door is None:
        return failed("Not yet: there is no container called door.", _RUN_IT)
    if site is None or not site.lives:
        return failed("There is no running container called site.", "run the starter cell again.")
    answer = _get(door)
    if not answer.status:
        last = daemon.logs("door").strip().rpartition("\n")[2][-100:]
        return failed(f"The door has ended: “{last}”.", "nginx asks at its start who that is. What is the other container called?")
    if answer.status != 200:
        return failed(
            f"The door answers {answer.told}: where it asks, nobody has an answer.",
            "in the container, 127.0.0.1 is the container itself, and ports of this machine do not count. Who has the page, on which port?",
        )
    if site.port:
        return failed("The site has a port of this machine: everybody can go round the door.", "run the starter cell as it was.")
    if "Behind the door" not in answer.page:
        return failed("The door answers with a page of its own.", "run the starter cell as it was.")
    network = ", ".join(site.NetworkSettings.Networks or ())
    return passed(f"The page comes from site, which only those in the network {network} can ask, through the door.")


def _container(daemon: Daemon, name: str) -> Container | None:
    return _asked(Container, daemon, f"/containers/{name}/json")


def _asked(kind: type[Kind], daemon: Daemon, path: str) -> Kind | None:
    answer = daemon.ask("GET", path)
    return codec.decode(kind, answer.json) if answer.status == 200 else None


def _get(container: Container) -> web.Answer:
    """The page that a visitor from this machine gets; nothing if nobody answers, or not any more."""
    answers: list[web.Answer] = []

    def is_over() -> bool:
        with suppress(Unreachable):
            answers.append(web.Site(port=container.port).get("/", patience=0))
        return bool(answers) or not container.lives

    _wait(is_over)
    return answers[0] if answers else web.Answer(0)


def _wait(happened: Callable[[], bool]) -> None:
    """nginx tells nobody when it is ready, or has read its files, or ends: so look until it is so, or for some seconds."""
    deadline = time.monotonic() + _PATIENCE
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.02)


def _has_ended(container: Container) -> bool:
    return not container.lives


def _starts(daemon: Daemon, container: Container) -> int:
    """How often a container was started, as the daemon remembers it."""
    wanted = f'{{"container":["{container.Id}"],"event":["start"]}}'.replace('"', "%22")
    answer = daemon.ask("GET", f"/events?since=1&until={time.time()}&filters={wanted}")
    return len(answer.body.splitlines())


def _remove_what_the_slip_has_made() -> None:
    """Source and target the wrong way round: the daemon has made the source, on this machine. An empty directory may go again."""
    with suppress(OSError):
        os.rmdir(PAGES)
        os.rmdir(os.path.dirname(PAGES))


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _checked(check: Callable[[Daemon], Verdict]) -> Verdict:
    daemon = daemons.find("09")
    if daemon is None:
        return failed("The daemon of this lesson does not run.", "run the first cell of the notebook.")
    return check(daemon)


CHECKS: dict[str, Callable[[], Verdict]] = {
    "own-page": partial(_checked, own_page),
    "reloaded": partial(_checked, reloaded),
    "last-guest": partial(_checked, last_guest),
    "own-image": partial(_checked, own_image),
    "by-name": partial(_checked, by_name),
}
