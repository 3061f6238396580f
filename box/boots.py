"""Whether a disk boots by itself, by BIOS and by UEFI, up to the login prompt:   python3 box/boots.py ARCH DISK

    BIOS    an old PC with an IDE disk, as VirtualBox makes one of the box
    UEFI    OVMF or AAVMF (apt-get install ovmf, qemu-efi-aarch64), a virtio disk

The disk is not written to. Without KVM, or where KVM does not boot this kernel, QEMU emulates.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time

SECONDS = 600.0
FIRMWARE = {"amd64": "/usr/share/ovmf/OVMF.fd", "arm64": "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"}
MACHINES = {
    ("amd64", "BIOS"): ("qemu-system-x86_64", "-machine", "pc", "-cpu", "max"),
    ("amd64", "UEFI"): ("qemu-system-x86_64", "-machine", "q35", "-cpu", "max", "-bios", FIRMWARE["amd64"]),
    ("arm64", "UEFI"): ("qemu-system-aarch64", "-machine", "virt", "-cpu", "max", "-bios", FIRMWARE["arm64"]),
}


def boots(arch: str, firmware: str, disk: str) -> float:
    """Seconds until the prompt; ``AssertionError`` with the end of what the machine said if there comes none."""
    interface = "ide" if firmware == "BIOS" else "virtio"
    drive = f"file={disk},if={interface},format=qcow2,snapshot=on"
    command = [*MACHINES[arch, firmware], "-m", "1024", "-smp", "2", "-accel", "tcg", "-drive", drive]
    command += ["-display", "none", "-serial", "stdio", "-nic", "none"]
    began, said = time.monotonic(), b""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as machine:
        try:
            assert machine.stdout is not None
            os.set_blocking(machine.stdout.fileno(), False)
            poll = select.poll()
            poll.register(machine.stdout)
            while b"login:" not in said:
                left = SECONDS - (time.monotonic() - began)
                assert left > 0 and machine.poll() is None, f"{arch} by {firmware}: no login prompt, but\n{said[-1500:]!r}"
                if poll.poll(1000 * min(left, 5.0)):
                    said += machine.stdout.read() or b""
        finally:
            machine.kill()
    return time.monotonic() - began


if __name__ == "__main__":
    for arch, firmware in MACHINES:
        if arch == sys.argv[1]:
            try:
                print(f"   {arch} boots by {firmware}: {boots(arch, firmware, sys.argv[2]):.0f} s", flush=True)
            except AssertionError as error:
                sys.exit(f"✘ {error}")
