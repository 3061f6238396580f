"""How fast nginx answers through labkit's networks, beside dockerd's, in one run and in turn; and what a network adds to a start.

    make bench                       # or: .venv/bin/python benchmarks/networks.py [rounds]

    another machine ═══ eth0 ─┐
                              │ published port, 127.0.0.1 ──▶ bridge ═══ nginx
               the machine ───┘                                  ╚══════ another container

wrk (`apt install wrk`) asks for one small page, over 32 connections, for a second at a time; nginx and page are the same image on both.
Each daemon has a network namespace of its own, and each round asks both, in turn. dockerd has its user-land proxy, as it comes.

What counts is the ratio. Others on the machine can only slow a round down, so of rates and times the best round is shown; and on a
machine that is never quiet look at the last column: requests for a second of processor time, that of wrk, nginx and all in between.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labkit.image import archives, references
from labkit.image.container_config import ContainerConfig
from labkit.image.images import Images
from labkit.lessons.rootfs import busybox_root
from labkit.storage.store import Store
from tests.daemons import HAS_DOCKERD, Daemon, ask, dockerd, labkit_daemon
from tests.packets import MACHINE, neighbour

SECONDS = 1
STARTS = 8
"""Containers of each kind in a round."""
CONF = """
worker_processes auto;
daemon off;
pid /tmp/pid;
error_log stderr;
events {}
http {
    access_log off;
    server { listen 80; location / { root /page; } }
    server { listen 81; access_log /dev/stdout; location / { root /page; } }
}
"""


def nginx_archive(place: Path) -> Path:
    """An image ``nginx`` as `docker load` takes it: Debian's program with its libraries, over busybox."""
    tree = place / "tree"
    busybox_root(str(tree))
    program = shutil.which("nginx")
    if not program:
        if subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "nginx"], cwd=place).returncode:
            raise SystemExit("networks: left out, there is no nginx here and none to be had (apt install nginx)")
        subprocess.run(["dpkg", "-x", next(place.glob("nginx_*.deb")), place / "package"], check=True)
        program = f"{place}/package/usr/sbin/nginx"
    needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for path in re.findall(r"(/\S+) \(0x", needed):
        (tree / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tree / path[1:])
    for name in ("usr/sbin", "etc/nginx", "page", "var/lib/nginx", "var/log/nginx"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(program, tree / "usr/sbin/nginx")
    (tree / "etc/nginx/nginx.conf").write_text(CONF)
    (tree / "page/index.html").write_text("<h1>Welcome to nginx!</h1>\n" * 20)
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    (tree / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(tree, ".")
    packed.seek(0)
    images = Images(Store(str(place / "store")))
    config = ContainerConfig(Cmd=("/usr/sbin/nginx", "-g", "user nobody nogroup;"), Env=("PATH=/usr/sbin:/bin",))
    archives.import_(images, packed, references.parse("nginx"), config=config)
    with open(place / "nginx.tar", "wb") as out:
        archives.save(images, ("nginx",), out)
    return place / "nginx.tar"


@dataclass
class Site:
    """A daemon with nginx in a container, another container, and another machine."""

    daemon: Daemon
    other: int
    nginx: str
    web: int
    container: int

    @property
    def machine(self) -> int:
        assert self.daemon.holder
        return self.daemon.holder.pid

    def processor(self) -> float:
        """Seconds of processor time that all in the networks of machine and nginx have had, and the children that we have waited for."""
        networks = {os.readlink(f"/proc/{pid}/ns/net") for pid in (self.machine, self.web)}
        own = resource.getrusage(resource.RUSAGE_CHILDREN)
        total = own.ru_utime + own.ru_stime
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/net") in networks:
                    with open(f"/proc/{pid}/stat") as stat:
                        total += sum(map(int, stat.read().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")
        return total

    def wrk(self, pid: int, address: str) -> tuple[float, float, float]:
        """Requests a second, milliseconds within which 99 of a hundred were answered, requests a second of processor time.

        Asked by somebody in the network of a process.
        """
        command = ["nsenter", f"--net=/proc/{pid}/ns/net", "wrk", "-t2", "-c32", f"-d{SECONDS}s", "--latency", f"http://{address}/index.html"]
        before = self.processor()
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        spent = self.processor() - before
        found = re.search(r"99% +([\d.]+)(us|ms|s)\b.* (\d+) requests in .*Requests/sec: +([\d.]+)", said, re.DOTALL)
        assert found and "Non-2xx" not in said, said
        late, unit, count, rate = found.groups()
        return float(rate), float(late) * {"us": 0.001, "ms": 1, "s": 1000}[unit], int(count) / spent


WAYS: dict[str, Callable[[Site], tuple[float, float, float]]] = {
    "published port, the machine's address": lambda site: site.wrk(site.machine, f"{MACHINE}:8080"),
    "published port, another machine": lambda site: site.wrk(site.other, f"{MACHINE}:8080"),
    "published port, 127.0.0.1": lambda site: site.wrk(site.machine, "127.0.0.1:8080"),
    "the container's address": lambda site: site.wrk(site.machine, site.nginx),
    "container to container": lambda site: site.wrk(site.container, site.nginx),
    "with access log, the machine's address": lambda site: site.wrk(site.machine, f"{MACHINE}:8081"),
}


def opened(daemon: Daemon, archive: Path, stack: contextlib.ExitStack) -> Site:
    """Make all that is asked for."""
    docker = daemon.docker
    docker.says("load", "-i", str(archive))
    assert daemon.holder
    other = stack.enter_context(neighbour(daemon.holder.pid))
    docker.says("run", "-d", "--name", "web", "-p", "8080:80", "-p", "8081:81", "nginx")
    docker.says("run", "-d", "--name", "other", "nginx", "sleep", "100000")
    address = docker.says("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "web")
    web, beside = map(int, docker.says("inspect", "--format", "{{.State.Pid}}", "web", "other").split())
    return Site(daemon, other.pid, address, web, beside)


def brief(daemon: Daemon, network: str) -> tuple[float, float]:
    """Milliseconds of a container's start, and of start and end; with a network its address, its cable and one published port."""
    ports = {"80/tcp": [{"HostPort": ""}]} if network == "bridge" else {}
    body = {"Image": "nginx", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": network, "PortBindings": ports}}
    assert ask(daemon.socket, "POST", "/containers/create?name=brief", body)[0] == 201
    moments = [time.perf_counter()]
    for what in ("start", "kill"):
        assert ask(daemon.socket, "POST", f"/containers/brief/{what}")[0] == 204
        moments.append(time.perf_counter())
    ask(daemon.socket, "POST", "/containers/brief/wait")
    ended = time.perf_counter()
    ask(daemon.socket, "DELETE", "/containers/brief?force=1")
    return 1000 * (moments[1] - moments[0]), 1000 * (ended - moments[0])


def main() -> None:
    """Print a table of medians and ratios."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    if not shutil.which("wrk"):
        print("networks: left out, wrk is not installed (apt install wrk)")
        return
    with tempfile.TemporaryDirectory(prefix="labkit-bench-", dir="/var/tmp") as directory, contextlib.ExitStack() as stack:
        place = Path(directory)
        archive = nginx_archive(place)
        # A control group beside dockerd's, not below one that others share: then processor time is dealt out alike.
        daemons = [stack.enter_context(labkit_daemon(place / "labkit", cgroup_parent=f"labkit-bench-{os.getpid()}"))]
        if HAS_DOCKERD:
            daemons.append(stack.enter_context(dockerd(place / "dockerd", userland_proxy=True)))
        sites = [opened(daemon, archive, stack) for daemon in daemons]
        print(f"{'nginx, wrk -t2 -c32':40}{'requests a second':^27}{'99 % within, ms':^27}{'requests a second of processor':^27}")
        print(f"{'':40}" + 3 * ("".join(f"{daemon.name:>10}" for daemon in daemons) + f"{'ratio':>7}"))
        for name, way in WAYS.items():
            found: list[list[tuple[float, float, float]]] = [[] for _ in sites]
            for site in sites:
                way(site)  # the first warms up and does not count
            for number in range(rounds):
                for which, site in sorted(enumerate(sites), reverse=bool(number % 2)):
                    found[which].append(way(site))
            best = [[which(each[part] for each in of) for of in found] for part, which in enumerate((max, min, statistics.median))]
            print(f"{name:40}" + "".join(map(figures, best)), flush=True)
        times: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for _ in range(rounds * STARTS):
            for daemon in daemons:
                for network in ("none", "bridge"):
                    times.setdefault((daemon.name, network), []).append(brief(daemon, network))
        for part, what in enumerate(("start", "start and end")):
            best_of = {key: min(each[part] for each in of) for key, of in times.items()}
            for network in ("none", "bridge"):
                print(f"{f'{what}, network {network}, ms':40}" + figures([best_of[daemon.name, network] for daemon in daemons]))
            added = [best_of[daemon.name, "bridge"] - best_of[daemon.name, "none"] for daemon in daemons]
            print(f"{f'a network and a port add to {what}, ms':40}" + figures(added), flush=True)


def figures(each: list[float]) -> str:
    """A part of a line: each daemon's figure, and labkit's as a multiple of dockerd's."""
    ratio = f"{each[0] / each[-1]:6.2f}×" if len(each) > 1 else ""
    return "".join(f"{figure:10,.2f}" if figure < 1000 else f"{figure:10,.0f}" for figure in each) + ratio


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("networks: takes root")
    main()
