"""A disk that boots by BIOS and by UEFI, put together from files: no loop device, no mount.   python3 box/disk.py ARCH ROOT DISK [GIB]

    sector 0      MBR: GRUB's boot.img, which loads …         (amd64)
      34          GPT
    2048   1 MB   BIOS boot partition: GRUB's core.img        (amd64)
    4096  32 MB   EFI system partition, FAT: /EFI/BOOT/BOOTX64.EFI or BOOTAA64.EFI
   69632   …      ext4, label labkit: the root file system, which `mkfs.ext4 -d` fills from a directory

Both loaders look for the label, and read /boot/grub/grub.cfg there. The file is sparse: what is not written takes no room.

Source: UEFI specification 2.10, chapter 5 (GPT) and 3.5.1.1 (the name of the loader); GRUB 2.12, util/setup.c, which does the same to a
device: where boot.img looks for core.img, and where core.img looks for the rest of itself.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys

SECTOR = 512
BIOS_AT, EFI_AT, ROOT_AT = 2048, 4096, 69632
LABEL = "labkit"

BIOS_TYPE = "21686148-6449-6E6F-744E-656564454649"
EFI_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
LINUX_TYPE = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"

# Features that GRUB's driver of ext4 does not know; it would see no file system.
EXT4 = ("-F", "-q", "-L", LABEL, "-m", "1", "-O", "^metadata_csum_seed,^orphan_file", "-E", "lazy_itable_init=1,lazy_journal_init=1")


def build(arch: str, root: str, disk: str, gib: int) -> None:
    sectors = gib * 1024**3 // SECTOR
    last = sectors - 2048  # GPT keeps a copy of itself at the end
    with open(disk, "wb") as file:
        file.truncate(sectors * SECTOR)
    partition(arch, disk, last)
    efi_partition(arch, root, disk)
    if arch == "amd64":
        bios_loader(f"{root}/boot/lab/boot.img", f"{root}/boot/lab/core.img", disk)
    root_file_system(root, disk, last)


def partition(arch: str, disk: str, last: int) -> None:
    lines = ["label: gpt"]
    if arch == "amd64":
        lines.append(f"start={BIOS_AT}, size={EFI_AT - BIOS_AT}, type={BIOS_TYPE}, name=bios")
    lines.append(f"start={EFI_AT}, size={ROOT_AT - EFI_AT}, type={EFI_TYPE}, name=efi")
    lines.append(f"start={ROOT_AT}, size={last - ROOT_AT}, type={LINUX_TYPE}, name={LABEL}")
    subprocess.run(["sfdisk", "--quiet", disk], input="\n".join(lines) + "\n", text=True, check=True)


def efi_partition(arch: str, root: str, disk: str) -> None:
    fat = f"{disk}.efi"
    with open(fat, "wb") as file:
        file.truncate((ROOT_AT - EFI_AT) * SECTOR)
    subprocess.run(["mkfs.vfat", "-n", "EFI", fat], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["mmd", "-i", fat, "::/EFI", "::/EFI/BOOT"], check=True)
    name = {"amd64": "BOOTX64.EFI", "arm64": "BOOTAA64.EFI"}[arch]
    subprocess.run(["mcopy", "-i", fat, f"{root}/boot/lab/boot.efi", f"::/EFI/BOOT/{name}"], check=True)
    copy(fat, disk, EFI_AT)
    os.unlink(fat)


def bios_loader(boot: str, core: str, disk: str) -> None:
    """What grub-bios-setup does."""
    with open(boot, "rb") as file:
        first = bytearray(file.read(440))  # the rest of the sector is the partition table's
    struct.pack_into("<Q", first, 0x5C, BIOS_AT)  # where core.img begins
    first[0x66:0x68] = b"\x90\x90"  # a BIOS may name the wrong drive; on a hard disk the jump that believes it is blanked out
    with open(core, "rb") as file:
        image = bytearray(file.read())
    assert len(image) <= (EFI_AT - BIOS_AT) * SECTOR, "core.img is larger than its partition"
    struct.pack_into("<Q", image, SECTOR - 12, BIOS_AT + 1)  # the first sector of core.img loads those after it
    with open(disk, "r+b") as file:
        file.write(first)
        file.seek(BIOS_AT * SECTOR)
        file.write(image)


def root_file_system(root: str, disk: str, last: int) -> None:
    ext4 = f"{disk}.ext4"
    with open(ext4, "wb") as file:
        file.truncate((last - ROOT_AT) * SECTOR)
    subprocess.run(["mkfs.ext4", *EXT4, "-d", root, ext4], check=True)
    copy(ext4, disk, ROOT_AT)
    os.unlink(ext4)


def copy(source: str, disk: str, sector: int) -> None:
    """To its place in the disk, without the holes."""
    with open(source, "rb") as file, open(disk, "r+b") as to:
        end, at = os.path.getsize(source), 0
        while at < end:
            try:
                data = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return  # holes alone from here on
            at = os.lseek(file.fileno(), data, os.SEEK_HOLE)
            while data < at:
                os.lseek(to.fileno(), sector * SECTOR + data, os.SEEK_SET)
                data += os.sendfile(to.fileno(), file.fileno(), data, min(at - data, 1 << 30))


if __name__ == "__main__":
    build(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 20)
