"""How Debian is asked for, and what is said when it does not come: mmdebstrap and apt are fakes that print what the real ones do."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from labkit.errors import LabError, Unreachable, Unsupported
from labkit.lab.seed import debian

REFUSED = r"""
I: running apt-get update...
Err:1 http://mirror.school.example/debian trixie InRelease
  Could not connect to mirror.school.example:80
E: Failed to fetch http://mirror.school.example/debian/dists/trixie/InRelease  Could not connect to mirror.school.example:80
E: Some index files failed to download. They have been ignored, or old ones used instead.
E: apt-get update --error-on=any failed
E: mmdebstrap failed to run
"""
FULL = "E: Failed to fetch http://mirror.school.example/debian/x.deb  Write error - write (28: No space left on device)"


class Fakes:
    """Programs that print something, note how they were called, and end with an exit code."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls = directory / "calls"

    def program(self, name: str, prints: str = "", code: int = 0) -> None:
        note = f'echo {name} "$*" date=$SOURCE_DATE_EPOCH >> {self.calls}'
        (self.directory / name).write_text(f"#!/bin/sh\n{note}\ncat <<'END'\n{prints}\nEND\nexit {code}\n")
        (self.directory / name).chmod(0o755)

    def called(self, name: str) -> list[str]:
        return [line for line in self.calls.read_text().splitlines() if line.startswith(f"{name} ")]


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    made = Fakes(tmp_path)
    made.program("apt-get", "http://mirror.school.example/debian/\nhttp://mirror.school.example/debian/\ncdrom://disc/")
    made.program("apt-config", 'APT::Architecture "amd64";\nAcquire::http::Proxy "http://proxy.example:3142";\nAcquire::http "";')
    made.program("mmdebstrap", "I: running apt-get update...\nI: success in 6.3283 seconds")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(debian, "KEYRING", str(made.calls))
    made.calls.touch()
    return made


def bootstrap(fakes: Fakes) -> list[str]:
    said: list[str] = []
    debian.bootstrap(str(fakes.directory / "rootfs.tar"), str(fakes.directory / "packages"), ("nginx",), said.append)
    return said


def test_the_mirror_of_this_machine_s_own_apt_is_asked_once_with_its_proxy_at_a_fixed_date(fakes: Fakes) -> None:
    assert bootstrap(fakes) == ["asking http://mirror.school.example/debian", "running apt-get update"]
    (call,) = fakes.called("mmdebstrap")
    assert " deb http://mirror.school.example/debian trixie main " in call
    assert '--aptopt=Acquire::http::Proxy "http://proxy.example:3142" ' in call
    assert call.endswith(f"date={debian.EPOCH}")


def test_where_apt_knows_no_mirror_mmdebstrap_s_own_is_asked(fakes: Fakes) -> None:
    fakes.program("apt-get")
    assert bootstrap(fakes)[0] == "asking the Debian mirror"
    (call,) = fakes.called("mmdebstrap")
    assert " deb " not in call


def test_where_no_mirror_answers_apt_s_own_word_is_told_and_every_mirror_was_asked(fakes: Fakes) -> None:
    fakes.program("mmdebstrap", REFUSED, code=25)
    with pytest.raises(Unreachable) as failure:
        bootstrap(fakes)
    reason = "http://mirror.school.example/debian/dists/trixie/InRelease: Could not connect to mirror.school.example:80"
    assert str(failure.value) == reason
    assert len(fakes.called("mmdebstrap")) == 2


def test_a_full_disk_is_no_fault_of_a_mirror(fakes: Fakes) -> None:
    fakes.program("mmdebstrap", FULL, code=25)
    with pytest.raises(LabError, match="No space left on device") as failure:
        bootstrap(fakes)
    assert not isinstance(failure.value, Unreachable)


def test_an_end_without_a_word_is_told_with_its_exit_code(fakes: Fakes) -> None:
    fakes.program("mmdebstrap", code=3)
    with pytest.raises(Unreachable, match="exit code 3"):
        bootstrap(fakes)


def test_a_directory_for_devices_is_added_to_what_mmdebstrap_makes(fakes: Fakes) -> None:
    bootstrap(fakes)
    with tarfile.open(fakes.directory / "rootfs.tar") as tar:
        assert [(entry.name, entry.isdir(), entry.mtime) for entry in tar] == [("./dev", True, debian.EPOCH)]


def test_only_packages_are_left_beside_the_tar(fakes: Fakes) -> None:
    packages = fakes.directory / "packages"
    (packages / "partial").mkdir(parents=True)
    for name in ("lock", "nginx_1.26_amd64.deb"):
        (packages / name).touch()
    bootstrap(fakes)
    assert os.listdir(packages) == ["nginx_1.26_amd64.deb"]


def test_without_the_program_the_packages_are_named(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "PROGRAM", "mmdebstrap-that-nobody-has")
    with pytest.raises(Unsupported, match="apt-get install mmdebstrap debian-archive-keyring"):
        bootstrap(fakes)
