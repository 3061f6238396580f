"""What the guest's systemd is handed, and where the disk is looked for."""

from __future__ import annotations

import base64
import re
import subprocess
from pathlib import Path

import pytest

from labkit.errors import NotFound, Unsupported
from labkit.vm import hardware, installed


def texts(mark: str) -> dict[str, str]:
    options = installed.credentials(mark)
    assert set(options[::2]) == {"-smbios"}
    found = (re.fullmatch(r"type=11,value=io\.systemd\.credential\.binary:([^=,]+)=([^,]+)", option) for option in options[1::2])
    return {match[1]: base64.b64decode(match[2]).decode() for match in found if match}


def test_systemd_is_handed_a_unit_one_that_wants_it_and_what_it_runs() -> None:
    said = texts("4f2a")
    assert list(said) == ["systemd.extra-unit.labkit-line.service", "systemd.unit-dropin.multi-user.target~labkit", "labkit.line"]
    assert "ImportCredential=labkit.line" in said["systemd.extra-unit.labkit-line.service"]
    assert "Wants=labkit-line.service" in said["systemd.unit-dropin.multi-user.target~labkit"]
    assert said["labkit.line"].startswith("mark=4f2a\n")


def test_what_the_unit_runs_is_a_script() -> None:
    subprocess.run(["bash", "-n"], input=texts("4f2a")["labkit.line"], text=True, check=True)


def test_the_disk_is_what_make_box_has_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "MACHINE", "aarch64")
    with pytest.raises(NotFound, match=r"arm64/disk\.qcow2: `make box` builds it"):
        installed.disk(str(tmp_path))
    (tmp_path / "arm64").mkdir()
    (tmp_path / "arm64/disk.qcow2").touch()
    assert installed.disk(str(tmp_path)) == f"{tmp_path}/arm64/disk.qcow2"


def test_a_pc_has_its_bios_from_qemu_and_others_say_what_they_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "MACHINE", "x86_64")
    assert installed.firmware() == ()
    monkeypatch.setattr(hardware, "MACHINE", "aarch64")
    monkeypatch.setitem(installed.FIRMWARE, "aarch64", ("/nosuch/firmware", "some-package"))
    with pytest.raises(Unsupported, match="apt-get install some-package"):
        installed.firmware()
