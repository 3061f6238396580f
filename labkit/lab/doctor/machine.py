"""The machine itself: who we are on it, its kernel's age, its programs, and the room it has."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator

from labkit.errors import LabError
from labkit.lab.doctor import Row, State, private_tmp, tried
from labkit.linux import capabilities, mounts
from labkit.vm import acceleration, hardware, kernel

DATA = "/var/lib/labkit"

NEEDED_CAPABILITIES = capabilities.DEFAULT | {"CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"}

PACKAGES = {
    "ip": "iproute2",
    "lsns": "util-linux",
    "nft": "nftables",
    "nsenter": "util-linux",
    "ps": "procps",
    "setpriv": "util-linux",
    "mount": "mount",
    "unshare": "util-linux",
}

GIB = 1 << 30


def rows() -> Iterator[Row]:
    """What the lab cannot do without."""
    yield _root()
    yield _kernel()
    yield _tools()
    yield tried("busybox", _busybox, "apt-get install busybox-static")


def optional_rows() -> Iterator[Row]:
    """What the lab is better with."""
    yield _disk()
    yield _memory()
    yield _virtual_machines()


def _root() -> Row:
    if os.geteuid() != 0:
        return Row("root", State.LACKING, f"user {os.geteuid()}; building containers takes root", "sudo labkit doctor")
    missing = frozenset(capabilities.NAMES[: capabilities.last() + 1]) - capabilities.of().effective
    if needed := missing & NEEDED_CAPABILITIES:
        return Row("root", State.LACKING, f"root without {_listed(needed)}", "leave the container, or give it --privileged")
    if missing:
        return Row("root", State.LIMITED, f"root without {_listed(missing)}", "what these allow cannot be shown here")
    return Row("root", State.FINE, "root, with every capability")


def _kernel() -> Row:
    system = os.uname()
    found = f"Linux {system.release} on {system.machine}"
    numbers = system.release.split("-")[0].split(".")
    if [int(number) for number in numbers[:2]] < [5, 14]:
        return Row("kernel", State.LACKING, found, "5.14 or later: Debian 12, Debian 13 and Ubuntu 24.04 have it")
    if system.machine not in ("x86_64", "aarch64"):
        return Row("kernel", State.LIMITED, found, "the lab is tried on x86_64 and aarch64")
    return Row("kernel", State.FINE, found)


def _tools() -> Row:
    missing = [tool for tool in PACKAGES if shutil.which(tool) is None]
    if missing:
        packages = {PACKAGES[tool] for tool in missing}
        return Row("tools", State.LACKING, f"missing: {_listed(missing)}", f"apt-get install {_listed(packages)}")
    return Row("tools", State.FINE, _listed(PACKAGES))


def _busybox() -> str:
    """Run it where no library is: in a root file system with nothing else."""
    private_tmp()
    shutil.copy2(shutil.which("busybox") or "/bin/busybox", "/tmp/busybox")
    os.chroot("/tmp")
    os.chdir("/")
    listed = subprocess.run(["/busybox", "--list"], capture_output=True, text=True, check=True)
    return f"static: {len(listed.stdout.split())} commands in one file"


def _disk() -> Row:
    place = next(path for path in (DATA, "/var/lib", "/") if os.path.isdir(path))
    free = shutil.disk_usage(place).free
    found = f"{free / GIB:.1f} GiB free on {mounts.holding(place).fstype} for {DATA}"
    if free < GIB:
        return Row("disk", State.LIMITED, found, "make room: a gibibyte or more")
    return Row("disk", State.FINE, found)


def _memory() -> Row:
    with open("/proc/meminfo") as file:
        values = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in file)}
    total, available = values["MemTotal"], values["MemAvailable"]
    found = f"{total / GIB:.1f} GiB, {available / GIB:.1f} GiB of it available"
    if available < GIB / 2:
        return Row("memory", State.LIMITED, found, "make room: half a gibibyte or more")
    return Row("memory", State.FINE, found)


def _virtual_machines() -> Row:
    """What was found out when one was booted last, without booting one now."""
    name = "virtual machines"
    try:
        program, guest = hardware.qemu(), kernel.find(f"{DATA}/vm")
    except LabError as error:
        return Row(name, State.LIMITED, str(error), "notebook 08 needs it: make setup")
    found = f"{os.path.basename(program)}, Linux {guest.release}"
    known = acceleration.recall(f"{DATA}/vm")
    slow = "virtual machines are emulated: slower, but the same"
    if not os.path.exists(acceleration.DEVICE):
        return Row(name, State.LIMITED, f"{found}, without KVM: there is no {acceleration.DEVICE}", slow)
    if known is None:
        return Row(name, State.FINE, f"{found}; whether KVM works is found out with the first one")
    if known.kvm:
        return Row(name, State.FINE, f"{found}, with KVM")
    return Row(name, State.LIMITED, f"{found}, without KVM: {known.reason}", slow)


def _listed(names: Iterable[str]) -> str:
    return " ".join(sorted(names))
