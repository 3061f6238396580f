"""The disk as Vagrant takes it, and the catalog that says where.   python3 box/pack.py ARCH DIRECTORY

    disk.raw ─┬─▶ disk.qcow2 ─▶ labkit-ARCH-libvirt.box      tar of metadata.json, box.img, Vagrantfile
              └─▶ box.vmdk   ─▶ labkit-ARCH-virtualbox.box   tar of metadata.json, box.ovf, box.vmdk, Vagrantfile
    all boxes beside each other ─▶ catalog.json              name, version, provider, architecture, checksum of each

Vagrant wants whole URLs in a catalog: those of this directory, or below LABKIT_BASE_URL where the boxes are to be fetched from there.
On a USB stick it can be as it is: the Vagrantfile takes the boxes that are beside a catalog.

Source: Vagrant's manual, "Box File Format" and "Box Versioning"; vagrant-libvirt's, "Box Format"; OVF 1.0 (DSP0243).
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping

NAME = "labkit/lab"

LIBVIRT = """\
Vagrant.configure("2") do |config|
  # No guest additions and no NFS: files go over ssh.
  config.vm.synced_folder ".", "/vagrant", disabled: true
  config.vm.provider "libvirt" do |vm|
    vm.disk_bus = "virtio"
  end
end
"""
VIRTUALBOX = """\
Vagrant.configure("2") do |config|
  config.vm.synced_folder ".", "/vagrant", disabled: true
  config.vm.provider "virtualbox" do |vm|
    # The box has no guest additions; Debian's cloud kernel knows virtio, and no Intel card.
    vm.check_guest_additions = false
    vm.functional_vboxsf = false
    vm.default_nic_type = "virtio"
  end
end
"""


def pack(arch: str, directory: str) -> None:
    raw, top = f"{directory}/disk.raw", os.path.dirname(directory)
    size = os.path.getsize(raw)
    qcow2, vmdk = f"{directory}/disk.qcow2", f"{directory}/box.vmdk"
    convert(raw, qcow2, "-c", "-O", "qcow2", "-o", "compression_type=zstd")
    libvirt = {"provider": "libvirt", "format": "qcow2", "virtual_size": -(-size // 1024**3), "architecture": arch}
    box(f"{top}/labkit-{arch}-libvirt.box", libvirt, LIBVIRT, {"box.img": qcow2})

    convert(raw, vmdk, "-O", "vmdk", "-o", "subformat=streamOptimized")
    os.unlink(raw)
    ovf = f"{directory}/box.ovf"
    with open(os.path.join(os.path.dirname(__file__), "box.ovf")) as template, open(ovf, "w") as file:
        kind = {"amd64": "Debian_64", "arm64": "Debian_arm64"}[arch]
        file.write(template.read().replace("@CAPACITY@", str(size)).replace("@SIZE@", str(os.path.getsize(vmdk))).replace("@OS@", kind))
    virtualbox = {"provider": "virtualbox", "architecture": arch}
    box(f"{top}/labkit-{arch}-virtualbox.box", virtualbox, VIRTUALBOX, {"box.ovf": ovf, "box.vmdk": vmdk})
    os.unlink(vmdk)
    os.unlink(ovf)
    write_catalog(top)


def convert(raw: str, target: str, *options: str) -> None:
    subprocess.run(["qemu-img", "convert", "-f", "raw", *options, raw, f"{target}.new"], check=True)
    os.replace(f"{target}.new", target)


def box(path: str, metadata: Mapping[str, object], vagrantfile: str, files: dict[str, str]) -> None:
    """What is inside is compressed already, so the tar is not."""
    with tarfile.open(f"{path}.new", "w") as tar:
        for name, text in (("metadata.json", json.dumps(metadata)), ("Vagrantfile", vagrantfile)):
            written = f"{path}.{name}"
            with open(written, "w") as file:
                file.write(text)
            tar.add(written, name, filter=of_nobody)
            os.unlink(written)
        for name, source in files.items():
            tar.add(source, name, filter=of_nobody)
    os.replace(f"{path}.new", path)


def of_nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode = 0o644
    return member


def write_catalog(top: str) -> None:
    """Of all the boxes that are there; ``labkit-ARCH-PROVIDER.box`` says which is which.

    The version is the moment: of two with the same version Vagrant would go on using the first that it has seen.
    """
    base = os.environ.get("LABKIT_BASE_URL") or f"file://{os.path.abspath(top)}"
    providers = []
    for path in sorted(glob.glob(f"{top}/labkit-*-*.box")):
        match = re.fullmatch(r"labkit-(amd64|arm64)-(\w+)\.box", os.path.basename(path))
        if match is None:
            continue
        with open(path, "rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        providers.append(
            {
                "name": match[2],
                "architecture": match[1],
                "default_architecture": match[1] == "amd64",
                "url": f"{base}/{os.path.basename(path)}",
                "checksum_type": "sha256",
                "checksum": checksum,
                "size": os.path.getsize(path),
            }
        )
    version = time.strftime("%Y%m%d.%H%M%S", time.gmtime())
    catalog = {
        "name": NAME,
        "description": "The lab in which Linux containers are learnt by building them",
        "versions": [{"version": f"{version.partition('.')[0]}.{int(version.partition('.')[2])}.0", "providers": providers}],
    }
    with open(f"{top}/catalog.json.new", "w") as file:
        json.dump(catalog, file, indent=2)
        file.write("\n")
    os.replace(f"{top}/catalog.json.new", f"{top}/catalog.json")


if __name__ == "__main__":
    pack(sys.argv[1], sys.argv[2])
