"""The checks of notebook 07: they read links, addresses and firewall by netlink and nft, and knock at the doors themselves."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from ipaddress import ip_interface

from labkit.errors import LabError, NotFound
from labkit.lessons import wiring
from labkit.lessons.verdict import Verdict, failed, passed
from labkit.lessons.wiring import LATE, SWITCH, Wiring
from labkit.linux import links
from labkit.linux.box import Box
from labkit.network.survey import Plug, Survey

_RUN_IT = "fill the blank and run the starter cell."
_ASK = ("sh", "-c", "wget -qO- http://db")
_PATIENCE = 20  # seconds that a name may take


def cable(net: Wiring) -> Verdict:
    """The boxes left and right have a cable, and addresses in one subnet, and reach each other."""
    left, right = net.box("left"), net.box("right")
    ends = {plug.place: plug for each in net.survey().cables for plug in (each.one, each.other)}
    if "left" not in ends or "right" not in ends or not ends["left"].addresses:
        return failed("There is no cable between left and right, or left has no address.", "run the starter cell again.")
    ours, theirs = ends["left"].addresses[0], ends["right"].addresses
    if not theirs:
        return failed("Not yet: the cable is there, but right's end of it has no address.", _RUN_IT)
    one, other = ip_interface(ours), ip_interface(theirs[0])
    if one.ip == other.ip:
        return failed(f"Both have {one.ip}: who sends to that address sends to himself.", "give right another one of the same subnet.")
    if other.network != one.network:
        return failed(
            f"left is in {one.network}, right is in {other.network}: neither has a route to the other's.",
            "`left.run('ip route')` says what left reaches without anybody's help. The number behind the slash is a part of the address.",
        )
    if other.ip in (other.network.network_address, other.network.broadcast_address):
        return failed(f"{other.ip} is the first or the last address of {other.network}: those mean the subnet, and all that are in it.",
                      "take one in between.")  # fmt: skip
    if not _pings(left, str(other.ip)) or not _pings(right, str(one.ip)):
        return failed(f"left and right are in {one.network}, but do not reach each other.", "`left.run('ip link')`: is its end up?")
    return passed(f"left reaches {other.ip}, and right reaches {one.ip}: two ends of one cable, in one subnet, {one.network}.")


def plugged(net: Wiring) -> Verdict:
    """The cable of late is plugged into the switch, and the box first is reached through it."""
    late = net.box("late")
    if not links.exists(LATE) or not links.exists(SWITCH):
        return failed(f"There is no {LATE if links.exists(SWITCH) else SWITCH} any more.", "run the starter cell again.")
    master, bridge = links.find(LATE).master, links.find(SWITCH)
    if not master:
        return failed(
            f"Not yet: `ip link show {LATE}` says nothing of a master, so this end of the cable hangs loose.",
            "`ip link help` lists what `ip link set` can do: one of its words makes a link a port of a bridge.",
        )
    if master != bridge.index:
        return failed(f"{LATE} is a port of another bridge.", f"the one that first is plugged into is {SWITCH}.")
    if not _pings(late, "203.0.113.1"):
        return failed("It is plugged in, but first does not answer.", f"is {LATE} up? `ip link show {LATE}`")
    return passed(f"{LATE} is a port of {SWITCH}, and late reaches first at 203.0.113.1. Nobody had to touch the other cable.")


def inner(net: Wiring) -> Verdict:
    """The container private is published on port 8090 (or the one in its place) for this machine alone."""
    if "private" not in net.containers():
        return failed("There is no running container called private.", _RUN_IT)
    wanted = net.port(8090)
    net.ready("private")
    doors = net.doors("private")
    if not doors:
        return failed("private runs, but no rule leads there: no port of this machine is published.", "`docker port private`")
    for door in doors:
        if net.visit(f"{net.address}:{door.port}", net.laptop()).startswith("Hello"):
            return failed(
                f"The laptop has read the page, at {net.address}:{door.port}: the door is open for everybody.",
                "to which address of this machine can nobody else send anything?",
            )
    if wanted not in (door.port for door in doors):
        return failed(
            f"The port is {doors[0].port}, and should be {wanted}.",
            "the order is ADDRESS:PORT-OF-THIS-MACHINE:PORT-OF-THE-CONTAINER; what is left out is chosen for you.",
        )
    if not net.visit(f"127.0.0.1:{wanted}").startswith("Hello"):
        to = f"{doors[0].to}:{doors[0].to_port}"
        return failed(f"127.0.0.1:{wanted} leads to {to}, where nobody answers.", "the web server listens on port 80.")
    return passed(f"127.0.0.1:{wanted} answers here, and the laptop is refused: a rule for packets to 127.0.0.1 alone.")


def culprit(net: Wiring) -> Verdict:
    """Of ant, bee and cow the one is gone that the port leads to, and no other."""
    if not net.suspect:
        return failed("ant, bee and cow are not there.", "run the starter cell.")
    open_still = {door.port.port: door.place for door in net.survey().doors}
    innocent = [name for name in ("ant", "cow") if name not in net.containers()]
    if innocent:
        return failed(
            f"{innocent[0]} is gone, and had nothing to do with port {net.suspect}.",
            f"`nft list chain inet {net.table} published` says to which address the port leads. Run the starter cell again.",
        )
    if net.suspect in open_still:
        return failed(f"Port {net.suspect} still leads to somebody.", "the rule of that port names an address; whose is it?")
    return passed(f"Nobody answers at port {net.suspect} any more, ant and cow serve on, and with the container its rule has gone.")


def together(net: Wiring) -> Verdict:
    """The container app finds db by its name."""
    running = net.containers()
    missing = [name for name in ("app", "db") if name not in running]
    if missing:
        return failed(f"There is no running container called {missing[0]}.", "run the starter cell again.")
    seen = net.survey()
    shared = _bridges(seen, "app") & _bridges(seen, "db")
    if not shared:
        return failed(
            "Not yet: app and db are on no bridge in common, so they have no network in which a name could mean something.",
            "a running container can be put into one more network: `docker network --help`.",
        )
    if shared == {net.bridge}:
        return failed(
            "They are on one bridge now, but it is that of the default network, where nobody answers for names.",
            "bring app to db, and not db to app. Run the starter cell again.",
        )
    net.ready("db")
    command = ["docker", "-H", f"unix://{net.daemon.socket}", "exec", "app", *_ASK]
    said = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE).stdout.strip()
    if not said.startswith("Hello"):
        return failed("app and db are on one bridge, but app does not reach `http://db`.", "`docker exec app cat /etc/resolv.conf`")
    return passed(f"`http://db` answers app with “{said}”: app has a second cable, and 127.0.0.11 knows the names at its other end.")


def _bridges(seen: Survey, place: str) -> set[str]:
    def leads(plug: Plug) -> bool:
        return place in plug.place.split(", ")

    return {each.one.bridge for each in seen.cables if leads(each.other) and each.one.bridge}


def _pings(box: Box, address: str) -> bool:
    return box.run(f"busybox ping -c 1 -W 1 {address} > /dev/null 2>&1 && echo yes || echo no") == "yes"


def _checked(check: Callable[[Wiring], Verdict]) -> Verdict:
    try:
        return check(wiring.find())
    except NotFound as error:
        return failed(f"Not yet: {error}.", "run the first cell of the notebook, and then the starter cell.")
    except LabError as error:
        return failed(f"{error}.", "`docker ps -a` and `docker logs` say more.")


CHECKS: dict[str, Callable[[], Verdict]] = {
    "cable": partial(_checked, cable),
    "plugged": partial(_checked, plugged),
    "inner": partial(_checked, inner),
    "culprit": partial(_checked, culprit),
    "together": partial(_checked, together),
}
