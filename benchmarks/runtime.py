"""How long a container takes from nothing to nothing: labkit beside runc, crun and podman, in one run and in turn.

    make bench                       # or: .venv/bin/python benchmarks/runtime.py [rounds]

Every contestant runs ``true`` from one bundle with PID, mount, UTS, IPC, network and cgroup namespaces, an overlay as root and a
memory limit, and cleans up. Each round runs all of them, one after the other, so that a busy machine is busy for all. What counts
is the ratio of medians; a millisecond means nothing on another machine.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from labkit import runtime
from labkit.linux import cgroups, mounts, namespaces, overlays
from labkit.runtime.steps.filesystem import MountRoot

LABKIT = os.path.join(os.path.dirname(sys.executable), "labkit")


def make_bundle(directory: str) -> MountRoot:
    """A bundle whose root is an overlay over a busybox; the mount that makes it."""
    for name in ("lower/bin", "upper", "work", "rootfs"):
        os.makedirs(f"{directory}/{name}")
    shutil.copy("/bin/busybox", f"{directory}/lower/bin/busybox")
    os.symlink("busybox", f"{directory}/lower/bin/true")
    subprocess.run([LABKIT, "runtime", "spec", "--bundle", directory], check=True)
    with open(f"{directory}/config.json") as file:
        config = json.load(file)
    config["process"] |= {"terminal": False, "args": ["true"]}
    config["linux"]["namespaces"].append({"type": "cgroup"})
    config["linux"]["resources"]["memory"] = {"limit": 64 << 20}
    with open(f"{directory}/config.json", "w") as file:
        json.dump(config, file)
    options = overlays.options([f"{directory}/lower"], f"{directory}/upper", f"{directory}/work")
    return MountRoot("overlay", "overlay", f"{directory}/rootfs", options)


def contestants(bundle: str, root: MountRoot) -> dict[str, Callable[[], None]]:
    """What runs the container once, by name."""
    overlay = (root.source, root.rootfs, root.fstype, root.options)

    def through_api() -> None:
        plan = runtime.plan(bundle, "bench", rootfs=[root])
        assert runtime.run(plan).code == 0

    def through_command(*command: str) -> Callable[[], None]:
        def run() -> None:
            with mounts.mounted(*overlay):
                subprocess.run([*command, "bench"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

        return run

    found = {"labkit, warm API": through_api, "labkit runtime run": through_command(LABKIT, "runtime", "run", "-b", bundle)}
    for name in ("crun", "runc"):
        if shutil.which(name):
            found[f"{name} run"] = through_command(name, "run", "-b", bundle)
    if shutil.which("podman"):
        found["podman run"] = _podman(bundle)
    return found


def _podman(bundle: str) -> Callable[[], None]:
    command = ["podman", "--cgroup-manager", "cgroupfs", "--events-backend", "file", "run", "--rm", "--network", "none", "--memory", "64m"]
    command += ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--rootfs", f"{bundle}/lower:O", "true"]

    def run() -> None:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return run


def measure(found: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each run, by name; the first round warms up and does not count."""
    taken: dict[str, list[float]] = {name: [] for name in found}
    for number in range(rounds + 1):
        for name, run in list(found.items()):
            begin = time.perf_counter()
            try:
                run()
            except (subprocess.CalledProcessError, OSError) as error:
                print(f"{name}: left out, it fails here: {error}")
                del found[name], taken[name]
                continue
            if number:
                taken[name].append((time.perf_counter() - begin) * 1000)
    return taken


def monitor_memory(bundle: str, root: MountRoot) -> float:
    """Proportional memory (PSS) of the monitor of an idle container, in MB."""
    with runtime.create(runtime.plan(bundle, "idle", rootfs=[root])) as box:
        with open(f"/proc/{box.pid}/status") as status:
            parent = next(int(line.split()[1]) for line in status if line.startswith("PPid"))
        with open(f"/proc/{parent}/smaps_rollup") as rollup:
            return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) / 1024


def import_time() -> float:
    """Milliseconds that ``import labkit`` adds to the start of an interpreter, the best of ten."""

    def best(code: str) -> float:
        times = []
        for _ in range(10):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-I", "-c", code], check=True)
            times.append(time.perf_counter() - begin)
        return min(times) * 1000

    return best("import labkit, labkit.runtime, labkit.linux") - best("pass")


def main() -> None:
    """Print a table of medians and ratios."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    if cgroups.detect().mode == "hybrid":
        # crun refuses a hybrid tree; in a mount namespace of our own it is v1, for everybody.
        namespaces.unshare("mnt")
        mounts.make_private("/")
        mounts.unmount(str(cgroups.detect().unified))
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as bundle:
        root = make_bundle(bundle)
        taken = measure(contestants(bundle, root), rounds)
        ours = statistics.median(taken["labkit, warm API"])
        print(f"{'one container that runs true':30} {'median ms':>10} {'best ms':>8} {'labkit API takes':>17}")
        for name, times in taken.items():
            middle = statistics.median(times)
            print(f"{name:30} {middle:10.1f} {min(times):8.1f} {ours / middle:15.2f} ×")
        print(f"monitor of an idle container: {monitor_memory(bundle, root):.2f} MB (PSS)")
        print(f"import labkit: {import_time():.1f} ms")


if __name__ == "__main__":
    main()
