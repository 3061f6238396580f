"""How long an image takes from a registry to unpacked files: labkit beside skopeo with umoci, and docker, in one run and in turn.

    make bench                       # or: .venv/bin/python benchmarks/images.py [rounds]

The image has three layers and some 100 MB of files, as a program with its libraries has: many small ones, a few large. A docker-registry
of this benchmark's own serves it on this machine. Each round runs all contestants, one after the other, so that a busy machine is busy
for all; what one has made is removed when its time is taken. What counts is the ratio of medians.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

LABKIT = os.path.join(os.path.dirname(sys.executable), "labkit")
LAYERS = ((3000, 12_000), (600, 60_000), (12, 2_500_000))
"""Of each layer: how many files, and how many bytes each has on average."""

Contestant = Callable[[str], list[list[str]]]
"""The commands that bring the image into an empty directory."""


def write_files(directory: str) -> None:
    """The contents of the layers, the same at each run: words, which compress as programs and texts do, to about a third."""
    chance = random.Random(1991)
    words = ["".join(chance.choices("etaoinshrdlucmfw", k=chance.randint(2, 9))) for _ in range(4000)]
    for number, (files, size) in enumerate(LAYERS):
        for each in range(files):
            place = f"{directory}/layer{number}/usr/lib/part{each % 40}"
            os.makedirs(place, exist_ok=True)
            with open(f"{place}/file{each}", "w") as file:
                file.write(" ".join(chance.choices(words, k=chance.randint(size // 14, size // 5))))
    with open(f"{directory}/Dockerfile", "w") as file:
        file.write("FROM scratch\n" + "".join(f"COPY layer{number} /\n" for number in range(len(LAYERS))))


@contextlib.contextmanager
def registry(directory: str) -> Iterator[str]:
    """The address of a docker-registry."""
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": f"{directory}/data"}},
        "http": {"addr": "127.0.0.1:0", "secret": "of this benchmark"},
    }
    os.makedirs(directory)
    with open(f"{directory}/config.yml", "w") as file:
        json.dump(config, file)
    with open(f"{directory}/log", "w+") as log:
        process = subprocess.Popen(["docker-registry", "serve", file.name], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield _said(log.name, process, r"listening on (127\.0\.0\.1:\d+)")
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def dockerd(directory: str) -> Iterator[list[str]]:
    """The command ``docker`` for a daemon of this benchmark's own."""
    os.makedirs(directory)
    socket = f"unix://{directory}/socket"
    config: dict[str, object] = {name: f"{directory}/{name}" for name in ("data-root", "exec-root", "pidfile")}
    config |= {"hosts": [socket], "bridge": "none", "iptables": False, "ip6tables": False, "ip-forward": False, "ip-masq": False}
    with open(f"{directory}/daemon.json", "w") as file:
        json.dump(config, file)
    with open(f"{directory}/log", "w+") as log:
        process = subprocess.Popen(["dockerd", "--config-file", file.name], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _said(log.name, process, "(API listen on)")
            yield ["docker", "--host", socket]
        finally:
            process.terminate()
            process.wait()
            subprocess.run(["umount", f"{directory}/data-root"], check=False, capture_output=True)  # it makes a mount of it


def _said(log: str, process: subprocess.Popen[bytes], pattern: str) -> str:
    for _ in range(600):
        with open(log) as file:
            found = re.search(pattern, file.read())
        if found:
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"{process.args!r} did not start: see {log}")


def contestants(image: str, docker: list[str] | None) -> dict[str, Contestant]:
    """What fetches and unpacks the image, by name."""
    found: dict[str, Contestant] = {
        "labkit pull": lambda place: [[LABKIT, "--root", place, "pull", "--quiet", image]],
    }
    if shutil.which("skopeo") and shutil.which("umoci"):
        found["skopeo copy, umoci unpack"] = lambda place: [
            ["skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{image}", f"oci:{place}/oci:bench"],
            ["umoci", "unpack", "--image", f"{place}/oci:bench", f"{place}/bundle"],
        ]
    if docker:
        found["docker pull"] = lambda _: [[*docker, "pull", "--quiet", image]]
    return found


def measure(found: dict[str, Contestant], directory: str, rounds: int, forget: list[str]) -> dict[str, list[float]]:
    """Seconds of each run, by name; the first round warms up and does not count."""
    taken: dict[str, list[float]] = {name: [] for name in found}
    for number in range(rounds + 1):
        for name, commands in found.items():
            place = tempfile.mkdtemp(dir=directory)
            os.sync()
            begin = time.perf_counter()
            for command in commands(place):
                subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            if number:
                taken[name].append(time.perf_counter() - begin)
            shutil.rmtree(place)
            if name == "docker pull":
                subprocess.run(forget, check=True, stdout=subprocess.DEVNULL)
    return taken


def again(image: str, directory: str) -> tuple[float, float]:
    """Seconds of a second pull, and the largest memory of the first one, in MiB (maximum resident set size)."""
    command = [LABKIT, "--root", f"{directory}/again", "pull", "--quiet", image]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def main() -> None:
    """Print a table of medians and ratios."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory(prefix="labkit-bench-", dir="/var/tmp") as directory, contextlib.ExitStack() as stack:
        write_files(f"{directory}/context")
        image = f"{stack.enter_context(registry(f'{directory}/registry'))}/bench:latest"
        for words in (["build", "--quiet", "--tag", image, f"{directory}/context"], ["push", "--quiet", image]):
            subprocess.run([LABKIT, "--root", f"{directory}/made", *words], check=True, stdout=subprocess.DEVNULL)
        docker = stack.enter_context(dockerd(f"{directory}/docker")) if shutil.which("dockerd") and shutil.which("docker") else None
        taken = measure(contestants(image, docker), directory, rounds, [*(docker or []), "rmi", "--force", image])
        ours = statistics.median(taken["labkit pull"])
        print(f"{'an image of three layers, unpacked':36} {'median s':>9} {'best s':>7} {'labkit takes':>13}")
        for name, times in taken.items():
            middle = statistics.median(times)
            print(f"{name:36} {middle:9.2f} {min(times):7.2f} {ours / middle:11.2f} ×")
        seconds, memory = again(image, directory)
        print(f"a second pull: {seconds:.2f} s; memory of a first: {memory:.0f} MiB at most")


if __name__ == "__main__":
    main()
