"""The machine that QEMU is asked for, and what its kernel is told: two sizes of it, on two kinds of processors.

    micro   no BIOS to speak of, no PCI bus, one serial line: what a cloud takes for functions that live a second
    full    a PC of 2009 with its BIOS and buses: what virtual machines have been since they were servers. It can boot a disk by itself

    >>> from labkit.vm import hardware
    >>> hardware.MICRO.machine(kvm=False)
    ('-M', 'microvm,acpi=on', '-accel', 'tcg,tb-size=32', '-cpu', 'max')

Devices are virtio: made to be virtual, not like anything that was ever sold. What they are plugged into differs, so their names do.
Source: ``man 1 qemu``; QEMU's ``docs/system/i386/microvm.rst``; ``Documentation/admin-guide/kernel-parameters.txt``. Notebook 08.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from dataclasses import dataclass
from functools import cache

from labkit.errors import InvalidInput, NotFound, Unsupported

MACHINE = os.uname().machine
QEMU = {"x86_64": "qemu-system-x86_64", "aarch64": "qemu-system-aarch64"}
PACKAGES = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm"}


@dataclass(frozen=True)
class Size:
    """A kind of machine: its ``board``, the ``bus`` that virtio devices are on, the kernel's driver of that bus, the serial line."""

    name: str
    board: str
    bus: str
    driver: str
    serial: str

    def machine(self, kvm: bool) -> tuple[str, ...]:
        """QEMU's options for board and processor: the host's own with KVM, else one that can do all that QEMU can imitate."""
        if kvm:
            return ("-M", self.board, "-accel", "kvm", "-cpu", "host")
        # tb-size: MiB of code translated so far; QEMU would take up to a gibibyte for it.
        return ("-M", self.board, "-accel", "tcg,tb-size=32", "-cpu", "max,pauth-impdef=on" if MACHINE == "aarch64" else "max")

    def device(self, kind: str, **settings: str) -> tuple[str, ...]:
        """A virtio device."""
        return ("-device", ",".join([f"virtio-{kind}-{self.bus}", *(f"{name}={value}" for name, value in settings.items())]))

    def disk(self, path: str) -> tuple[str, ...]:
        """A disk, raw or QEMU's own qcow2, which stays as it is: what is written goes to a file without a name in /var/tmp."""
        try:
            with open(path, "rb") as file:
                form = "qcow2" if file.read(4) == b"QFI\xfb" else "raw"
        except FileNotFoundError:
            raise NotFound(f"disk {path}: there is no such file") from None
        # A cache of QEMU's own and no fsync: nothing of this is to be kept.
        drive = f"if=none,id=disk0,file={path.replace(',', ',,')},format={form},snapshot=on,cache=unsafe,discard=unmap"
        return ("-drive", drive, *self.device("blk", drive="disk0"))

    def command_line(self, kvm: bool, verbose: bool) -> str:
        """What the kernel is told: to print on the serial line, and to end the machine when it cannot go on."""
        words = [f"console={self.serial}", "panic=-1", *(["reboot=t"] if MACHINE == "x86_64" else []), *([] if verbose else ["quiet"])]
        if self.board.startswith("microvm") and not kvm:
            # It has no clock to measure the processor by but one whose interrupts do not arrive: a kernel that measures may wait for ever.
            words += ["no_timer_check", "lpj=4000000", f"tsc_early_khz={_cycles_per_millisecond()}"]
        return " ".join(words)


if MACHINE == "aarch64":
    MICRO = Size("micro", "virt", "device", "virtio_mmio", "ttyAMA0")
    FULL = Size("full", "virt", "pci", "virtio_pci", "ttyAMA0")
else:
    MICRO = Size("micro", "microvm,acpi=on", "device", "virtio_mmio", "ttyS0")
    FULL = Size("full", "q35", "pci", "virtio_pci", "ttyS0")
SIZES = {size.name: size for size in (MICRO, FULL)}


def size(name: str) -> Size:
    """``micro`` or ``full``."""
    if name not in SIZES:
        raise InvalidInput(f"machine: there is no size {name!r}: {', '.join(SIZES)}")
    return SIZES[name]


def qemu() -> str:
    """The program; ``Unsupported`` says how to get it."""
    program = QEMU.get(MACHINE)
    if program is None:
        raise Unsupported(f"virtual machines on {MACHINE}: the lab has kernels for {', '.join(QEMU)}")
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if os.access(f"{directory}/{program}", os.X_OK):
            return f"{directory}/{program}"
    raise Unsupported(f"{program} is not installed: apt-get install {PACKAGES[MACHINE]}")


@cache
def _cycles_per_millisecond() -> int:
    """The rate of the processor's time stamp counter, which an imitated processor shows unchanged, in kHz.

    Linux does not tell it to programs, so it is measured: the instruction RDTSC, called before and after a rest.
    """
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("0f3148c1e2204809d0c3"))  # rdtsc; shl $32,%rdx; or %rdx,%rax; ret
    count = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    began, first = time.perf_counter_ns(), count()
    time.sleep(0.02)
    last, ended = count(), time.perf_counter_ns()
    return int((last - first) * 1_000_000 // (ended - began))
