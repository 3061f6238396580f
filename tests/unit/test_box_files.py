"""What `make box` is made of: its parts agree with each other, with scripts/provision, and with the formats that others read."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shlex
import struct
import subprocess
import tarfile
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import click
import pytest

from labkit.cli import commands

ROOT = Path(__file__).parents[2]
BOX = ROOT / "box"
UNITS = sorted((BOX / "root/etc/systemd/system").glob("*.service"))


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"box_{name}", BOX / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def packages(arch: str) -> set[str]:
    lines = (line.partition("#")[0].strip() for line in (BOX / "packages").read_text().splitlines())
    found = (re.fullmatch(r"(?:\[(\w+)\] )?(\S+)", line) for line in lines if line)
    return {match[2] for match in found if match and match[1] in (None, arch)}


@pytest.mark.parametrize("script", ["scripts/box", "scripts/test-vagrant", "box/inside", "box/work", "box/seed"])
def test_scripts_are_executable(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111


@pytest.mark.parametrize("script", ["scripts/box", "scripts/test-vagrant", "box/inside", "box/work"])
def test_scripts_are_well_formed(script: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


@pytest.mark.parametrize(("arch", "machine"), [("amd64", "x86_64"), ("arm64", "aarch64")])
def test_the_box_has_what_provision_installs_for_the_lab(arch: str, machine: str) -> None:
    provision = (ROOT / "scripts/provision").read_text()
    listed = re.search(r"^for_lab=\((.*?)^\)", provision, re.MULTILINE | re.DOTALL)
    for_machine = re.search(rf"^ +{machine}\) +for_lab\+=\((.*?)\)", provision, re.MULTILINE)
    for_check = re.search(r"^for_check=\((.*?)\)", provision, re.MULTILINE)
    assert listed and for_machine and for_check
    wanted = {name for part in (listed, for_machine, for_check) for line in part[1].splitlines() for name in line.partition("#")[0].split()}
    assert wanted - packages(arch) == set()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_what_labkit_can_start(unit: Path) -> None:
    (command,) = re.findall(r"^ExecStart=(.*)", unit.read_text(), re.MULTILINE)
    words = shlex.split(command)
    if words[0] == "/opt/labkit/.venv/bin/labkit":
        whole = commands.assembled()
        started = whole.get_command(click.Context(whole), words[1])
        assert started is not None
        if words[1] == "up":
            names = {name for option in started.params for name in option.opts}
            assert {word for word in words if word.startswith("--")} <= names


def test_every_unit_of_the_box_is_enabled_in_it() -> None:
    enabled = set(re.findall(r"labkit-\w+", "".join(re.findall(r"systemctl --quiet enable .*", (BOX / "inside").read_text()))))
    assert enabled == {unit.stem for unit in UNITS}


def test_the_catalog_names_each_box_with_its_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("labkit-amd64-libvirt.box", "labkit-amd64-virtualbox.box", "labkit-arm64-libvirt.box", "labkit-amd64-libvirt.box.new"):
        (tmp_path / name).write_text(name)
    monkeypatch.setenv("LABKIT_BASE_URL", "https://school.example/boxes")
    program("pack").write_catalog(str(tmp_path))
    catalog = json.loads((tmp_path / "catalog.json").read_text())
    (version,) = catalog["versions"]
    assert catalog["name"] == "labkit/lab"
    assert re.fullmatch(r"\d+\.\d+\.\d+", version["version"])
    assert [(each["name"], each["architecture"]) for each in version["providers"]] == [
        ("libvirt", "amd64"),
        ("virtualbox", "amd64"),
        ("libvirt", "arm64"),
    ]
    for each in version["providers"]:
        name = each["url"].removeprefix("https://school.example/boxes/")
        assert each["checksum"] == hashlib.sha256(name.encode()).hexdigest()


def test_a_box_is_a_tar_of_what_vagrant_looks_for_and_of_nobody_s_files(tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("disk")
    path = tmp_path / "labkit.box"
    program("pack").box(str(path), {"provider": "libvirt"}, "Vagrant.configure", {"box.img": str(tmp_path / "disk")})
    with tarfile.open(path) as tar:
        assert [(member.name, member.uid, member.mode) for member in tar] == [
            ("metadata.json", 0, 0o644),
            ("Vagrantfile", 0, 0o644),
            ("box.img", 0, 0o644),
        ]


def test_the_first_sector_leads_to_core_img_and_core_img_to_the_rest_of_itself(tmp_path: Path) -> None:
    disk = program("disk")
    for name, size in (("boot", 512), ("core", 3000), ("disk", 4 << 20)):
        (tmp_path / name).write_bytes(b"\xff" * size)
    disk.bios_loader(str(tmp_path / "boot"), str(tmp_path / "core"), str(tmp_path / "disk"))
    written = (tmp_path / "disk").read_bytes()
    core = disk.BIOS_AT * disk.SECTOR
    assert struct.unpack_from("<Q", written, 0x5C) == (disk.BIOS_AT,)
    assert struct.unpack_from("<Q", written, core + disk.SECTOR - 12) == (disk.BIOS_AT + 1,)
    assert written[440:512] == b"\xff" * 72  # the partition table's


def test_a_copy_into_the_disk_keeps_data_and_holes(tmp_path: Path) -> None:
    with open(tmp_path / "part", "wb") as file:
        file.truncate(8 << 20)
        file.seek(4 << 20)
        file.write(b"data")
    with open(tmp_path / "disk", "wb") as file:
        file.truncate(16 << 20)
    program("disk").copy(str(tmp_path / "part"), str(tmp_path / "disk"), 2048)
    written = (tmp_path / "disk").read_bytes()
    assert written[(5 << 20) : (5 << 20) + 4] == b"data"
    assert (tmp_path / "disk").stat().st_blocks * 512 < 1 << 20


def test_the_ovf_is_xml_and_names_a_disk_a_card_and_no_more_than_it_has() -> None:
    tree = ElementTree.parse(BOX / "box.ovf")
    ovf = "{http://schemas.dmtf.org/ovf/envelope/1}"
    files = {file.get(f"{ovf}id") for file in tree.iter(f"{ovf}File")}
    assert {disk.get(f"{ovf}fileRef") for disk in tree.iter(f"{ovf}Disk")} == files
    names = {network.get(f"{ovf}name") for network in tree.iter(f"{ovf}Network")}
    rasd = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"
    assert {item.text for item in tree.iter(f"{rasd}Connection")} == names
