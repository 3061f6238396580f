"""A disk with a system of its own: the lab VM's, from its firmware to systemd.

    firmware ──▶ boot loader ──▶ kernel and initramfs of the disk ──▶ systemd ──▶ our unit ──▶ "ready" on the line to the host

Nothing on the disk knows of us. The unit and its few lines of shell are *credentials*: texts that the host hands to the guest in tables in
which a BIOS has the maker's own words (SMBIOS, type 11), and of which systemd makes units before it starts any (256 or later).

Source: ``man 7 systemd.system-credentials``, ``man 8 systemd-debug-generator``; DMTF DSP0134, chapter 7.12. ``labkit.vm.guest`` is what a
machine has that brings no system along.
"""

from __future__ import annotations

import base64
import os

import labkit
from labkit.errors import NotFound, Unsupported
from labkit.vm import guest, hardware

MADE = os.path.join(os.path.dirname(os.path.dirname(labkit.__file__)), "build", "box")
"""Where ``make box`` leaves its disks."""
FIRMWARE = {"aarch64": ("/usr/share/qemu-efi-aarch64/QEMU_EFI.fd", "qemu-efi-aarch64")}
"""What QEMU does not bring along, and the package that has it; a PC's BIOS it does."""

ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root")
UNIT = f"""\
[Unit]
Description=The line to the host on which labkit says what to run

[Service]
Environment={" ".join(ENVIRONMENT)}
ImportCredential=labkit.line
ExecStart=/bin/bash %d/labkit.line
"""
WANTED = """\
[Unit]
Wants=labkit-line.service
"""
LINE = r"""
inside=                        # programs run where this shell runs
shut_down() { systemctl poweroff; }
line=/dev/virtio-ports/labkit
until [ -c $line ]; do sleep 0.1; done
"""


def disk(made: str = MADE) -> str:
    """The disk of the lab VM for this machine's processor; ``NotFound`` says how it gets there."""
    path = os.path.join(made, {"x86_64": "amd64", "aarch64": "arm64"}.get(hardware.MACHINE, hardware.MACHINE), "disk.qcow2")
    if not os.path.exists(path):
        raise NotFound(f"no disk of the lab VM at {path}: `make box` builds it")
    return path


def firmware() -> tuple[str, ...]:
    """QEMU's option for the program that looks for a boot loader."""
    if hardware.MACHINE not in FIRMWARE:
        return ()
    path, package = FIRMWARE[hardware.MACHINE]
    if not os.path.exists(path):
        raise Unsupported(f"{path}: a disk is booted by UEFI here, and there is none: apt-get install {package}")
    return ("-bios", path)


def credentials(mark: str) -> tuple[str, ...]:
    """QEMU's options that hand the guest what makes it listen; ``mark`` is the agent's."""
    texts = {
        "systemd.extra-unit.labkit-line.service": UNIT,
        "systemd.unit-dropin.multi-user.target~labkit": WANTED,
        "labkit.line": f"mark={mark}{LINE}{guest.LISTEN}",
    }
    options: list[str] = []
    for name, text in texts.items():
        encoded = base64.b64encode(text.encode()).decode()  # commas and line ends have a meaning for QEMU
        options += ["-smbios", f"type=11,value=io.systemd.credential.binary:{name}={encoded}"]
    return tuple(options)
