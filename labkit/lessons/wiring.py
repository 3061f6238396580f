"""What notebook 07 joins and looks at: boxes with cables, a switch, a laptop beside this machine, and containers with ports.

    >>> net = wiring.start(lesson)                  # a daemon of the lesson's own, with the image "page"; $DOCKER_HOST leads there
    >>> red, blue = net.boxes("red", "blue")        # network namespaces without any cable; former ones make way
    >>> laptop = net.laptop()                       # another machine: its cable ends here, at 198.51.100.1
    >>> net.evidence("web")                         # ss, nft and curl about a container's published ports
    >>> net.people()                                # a process for each network namespace, for the picture

                     ┌ this machine ───────────┐
      laptop ═══════ lk-laptop 198.51.100.1    │        the addresses are set aside for examples (RFC 5737): nobody has them
      198.51.100.2   └─────────────────────────┘

The image "page" serves one line: a greeting to the address that it sees. What is made is called lk…, and is gone with the lesson.
Shown in notebook 07.
"""

from __future__ import annotations

import html
import os
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass

from labkit.engine import networks
from labkit.engine.build import builder
from labkit.errors import Conflict, LabError, NotFound
from labkit.lab import service
from labkit.lessons import daemons, stores
from labkit.lessons.stage import Lesson
from labkit.linux import addresses, links, namespaces
from labkit.linux.box import Box
from labkit.network import beside, survey
from labkit.network.nat import Published

SWITCH, CABLE, LATE = "lk-switch", "lk-laptop", "lk-late"
HERE, THERE = "198.51.100.1", "198.51.100.2"
IMAGE = "page"
_DOCKERFILE = """\
FROM busybox
COPY index.cgi /www/cgi-bin/
EXPOSE 80
CMD ["httpd", "-f", "-p", "0.0.0.0:80", "-h", "/www"]
"""
_PAGE = "#!/bin/sh\necho 'Content-Type: text/plain'\necho\necho \"Hello, $REMOTE_ADDR\"\n"
_REFUSED, _LATE = 7, 28  # exit codes of curl
_WORDS = {_REFUSED: "refused", _LATE: "no answer"}
_PATIENCE = 10.0  # seconds until a container's page can be read
_PRE = "margin:0;border-left:4px solid #56B4E9;padding:.1em .8em;line-height:1.45"


@dataclass(frozen=True, repr=False)
class Evidence:
    """Commands, each with what it said; who is not this machine is named before the $."""

    said: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return "\n".join(f"{command}\n{answer}" for command, answer in self.said)

    def _repr_html_(self) -> str:
        lines = (f"<b>{html.escape(command, quote=False)}</b>\n{html.escape(answer, quote=False)}" for command, answer in self.said)
        return f"<pre style='{_PRE}'>{chr(10).join(lines)}</pre>"


class Wiring:
    """The networks of a lesson."""

    def __init__(self, daemon: daemons.Daemon) -> None:
        self.daemon = daemon
        self.bridge, self.table = networks.called(daemon.run)
        self.address = HERE
        """Of this machine, as the laptop knows it."""
        self.suspect = 0
        """The port that exercise 7.4 asks for."""
        self._boxes: dict[str, Box] = {}
        self._laptop: Box | None = None
        self._ports: dict[int, int] = {}
        self._is_over = False

    def __repr__(self) -> str:
        return f"{len(self._boxes)} boxes, and {self.daemon}"

    def boxes(self, *names: str) -> list[Box]:
        """Network namespaces of these names, in place of those that there were; they have no cable."""
        self._take_down()
        self._boxes = {name: namespaces.new("net") for name in names}
        return [*self._boxes.values()]

    def box(self, name: str) -> Box:
        """The box of that name. ``NotFound``."""
        if name not in self._boxes:
            raise NotFound(f"there is no box called {name}")
        return self._boxes[name]

    def half_plugged(self) -> list[Box]:
        """A switch, and two boxes with an address each: ``first`` is plugged in, and the cable of ``late``, lk-late, hangs loose."""
        first, late = self.boxes("first", "late")
        links.add_bridge(SWITCH, 1500)
        for box, cable, address, bridge in ((first, "lk-first", "203.0.113.1/24", SWITCH), (late, LATE, "203.0.113.2/24", "")):
            links.add_veth(cable, "eth0", box.pid, master=bridge)
            with namespaces.entered(box.pid, "net"):
                addresses.add("eth0", address)
                links.set_up("eth0")
        return [first, late]

    def laptop(self) -> Box:
        """A machine beside this one, with a network and a cable of its own; the same one, if it is there."""
        if self._laptop is None:
            links.delete(CABLE)
            self._laptop = namespaces.new("net")
            links.add_veth(CABLE, "eth0", self._laptop.pid)
            addresses.add(CABLE, f"{HERE}/24")
            with namespaces.entered(self._laptop.pid, "net"):
                addresses.add("eth0", f"{THERE}/24")
                links.set_up("eth0")
        return self._laptop

    def port(self, wanted: int) -> int:
        """That port, if nobody has it on this machine, or else the next that is free; the same one again, unless somebody has taken it."""
        ours = [port.port for port in survey.published(self.table)]
        given = self._ports.pop(wanted, 0)
        if given in ours or (given and service.is_free("0.0.0.0", given)):
            self._ports[wanted] = given
        else:
            free = (port for port in range(wanted, wanted + 100) if port not in self._ports.values() and service.is_free("0.0.0.0", port))
            found = next(free, 0)
            if not found:
                raise Conflict(f"ports {wanted} to {wanted + 99} are all taken")
            self._ports[wanted] = found
        return self._ports[wanted]

    def people(self) -> dict[str, int]:
        """A process of each box, of each container that runs, and of the laptop, by their names. ``LabError`` when the lesson is over."""
        if self._is_over:
            raise LabError("the lesson is over")
        boxes = {name: box.pid for name, box in self._boxes.items()}
        return boxes | self.containers() | ({"laptop": self._laptop.pid} if self._laptop else {})

    def containers(self) -> dict[str, int]:
        """The first process of each container that runs, the oldest container first."""
        listed = self.daemon.ask("GET", "/containers/json").json
        found = {}
        for each in reversed(listed if isinstance(listed, list) else []):
            told = self.daemon.ask("GET", f"/containers/{each['Id']}/json").json
            if isinstance(told, dict) and "State" in told and told["State"]["Pid"]:
                found[str(told["Name"]).removeprefix("/")] = int(told["State"]["Pid"])
        return found

    def ready(self, *containers: str) -> None:
        """Wait until the pages of these can be read. ``LabError`` if one of them does not answer."""
        for name in containers:
            deadline = time.monotonic() + _PATIENCE
            while self.visit(self.address_of(name)) in (_WORDS[_REFUSED], _WORDS[_LATE]):
                if time.monotonic() > deadline:
                    raise LabError(f"{name} does not answer at {self.address_of(name)}")
                time.sleep(0.02)

    def survey(self) -> survey.Survey:
        """What the kernel has, now."""
        return survey.take(self.people(), (SWITCH, self.bridge), self.table)

    def address_of(self, place: str) -> str:
        """The first address of a box or container, as the kernel has it. ``NotFound``."""
        for cable in self.survey().cables:
            for plug in (cable.one, cable.other):
                if place in plug.place.split(", ") and plug.addresses:
                    return plug.addresses[0].partition("/")[0]
        raise NotFound(f"{place} has no address")

    def doors(self, container: str) -> tuple[Published, ...]:
        """The published ports that lead to a container, as the firewall has them."""
        found = self.survey().doors
        return tuple(door.port for door in found if container in door.place.split(", "))

    def visit(self, address: str, who: Box | None = None) -> str:
        """What the page at an address says to this machine, or to a box; or why it says nothing."""
        enter = ["nsenter", f"--net=/proc/{who.pid}/ns/net"] if who else []
        command = [*enter, "curl", "-s", "--noproxy", "*", "--max-time", "2", f"http://{address}"]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else _WORDS.get(done.returncode, f"curl has failed: {done.returncode}")

    def evidence(self, container: str) -> Evidence:
        """Who holds the ports that lead to a container, which rules lead there, and who gets in."""
        said = []
        self.ready(container)
        for port in self.doors(container):
            own = port.address if port.address.startswith("127.") else "127.0.0.1"
            said += [
                (f"$ ss -Hltn 'sport = :{port.port}'", _held(port.port)),
                (f"$ nft list chain inet {self.table} published | grep 'dport {port.port} '", self._rule(port)),
                (f"$ curl http://{own}:{port.port}", self.visit(f"{own}:{port.port}")),
                (f"laptop$ curl http://{HERE}:{port.port}", self.visit(f"{HERE}:{port.port}", self.laptop())),
            ]
        return Evidence(tuple(said) or (("$ nft list chain …", f"no rule leads to {container}"),))

    def _rule(self, port: Published) -> str:
        done = subprocess.run(["nft", "list", "chain", "inet", self.table, "published"], capture_output=True, text=True)
        lines = [line.strip() for line in done.stdout.splitlines() if f"dport {port.port} " in line]
        return "\n".join(line.partition(" comment ")[0] for line in lines)

    def three(self) -> int:
        """Three containers, ant, bee and cow, each published on some port; the port that exercise 7.4 is about."""
        self.daemon.remove("ant", "bee", "cow")
        for name in ("ant", "bee", "cow"):
            self.run(name, PublishAllPorts=True)
        self.suspect = self.doors("bee")[0].port
        return self.suspect

    def apart(self) -> None:
        """A container ``db`` in a network ``store`` of its own, and a container ``app`` in the default one."""
        self.daemon.remove("db", "app")
        self.daemon.ask("DELETE", "/networks/store")
        self.daemon.ask("POST", "/networks/create", {"Name": "store"})
        self.run("db", NetworkMode="store")
        self.run("app")

    def run(self, name: str, **host: object) -> None:
        """``docker run -d --name=NAME page``, with a HostConfig."""
        for path, body in ((f"/containers/create?name={name}", {"Image": IMAGE, "HostConfig": host}), (f"/containers/{name}/start", None)):
            answer = self.daemon.ask("POST", path, body)
            if answer.message:
                raise LabError(answer.message)

    def _take_down(self) -> None:
        for box in self._boxes.values():
            box.close()
        self._boxes = {}
        for link in (SWITCH, "lk-first", LATE):
            links.delete(link)

    def end(self) -> None:
        """No box, no switch and no laptop any more."""
        self._is_over = True
        self._take_down()
        if self._laptop:
            self._laptop.close()
        links.delete(CABLE)
        beside.forget(SWITCH)
        if self in _open:
            _open.remove(self)


_open: list[Wiring] = []


def start(lesson: Lesson) -> Wiring:
    """The lesson's daemon with its images, and nothing that is joined yet. ``$DOCKER_HOST`` leads there, and no request to a proxy."""
    for link in (*(name for name in links.names() if name.startswith("lk-port")), SWITCH, "lk-first", LATE, CABLE):
        links.delete(link)  # of a notebook that was killed
    _build(lesson)
    net = Wiring(daemons.start(lesson))
    beside.let_through(SWITCH)
    ours = {"DOCKER_HOST": f"unix://{net.daemon.socket}", "no_proxy": "*"}
    before = {name: os.environ[name] for name in ours if name in os.environ}

    def end() -> None:
        net.end()
        for name in ours:
            os.environ.pop(name, None)
        os.environ.update(before)

    os.environ.update(ours)
    lesson.at_end(end)
    _open.append(net)
    return net


def find() -> Wiring:
    """The wiring of the lesson that goes on in this process. ``NotFound``."""
    if not _open:
        raise NotFound("the lesson has not begun")
    return _open[-1]


def _build(lesson: Lesson) -> None:
    store = stores.filled(lesson, "daemon", ("busybox:latest",))
    (context,) = lesson.fresh("page", "context")
    for name, text in (("Dockerfile", _DOCKERFILE), ("index.cgi", _PAGE)):
        with open(f"{context}/{name}", "w") as file:
            file.write(text)
    os.chmod(f"{context}/index.cgi", 0o755)
    builder.build(store.images, context, tags=(f"{IMAGE}:latest",))
    shutil.rmtree(f"{lesson.data}/page")


def _held(port: int) -> str:
    """Who listens at a port, in the words of ss: state and address."""
    done = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True)
    with suppress(IndexError):
        return "\n".join(f"{words[0]}  {words[3]}" for line in done.stdout.splitlines() if (words := line.split()))
    return done.stdout
