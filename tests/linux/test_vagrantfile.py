"""The Vagrantfile, as Vagrant itself reads it: every provider's block, with and without a catalog, one machine and a class room."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VAGRANT = shutil.which("vagrant")
STUB = """\
#!/bin/sh
# VBoxManage as far as `vagrant validate` asks for it.
[ "$1" != --version ] || echo 7.0.20r163906
"""
CATALOG = {
    "name": "labkit/lab",
    "versions": [
        {
            "version": "1.0.0",
            "providers": [{"name": "libvirt", "architecture": arch, "url": f"https://x/y/{arch}.box"} for arch in ("amd64", "arm64")],
        }
    ],
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with nothing but the Vagrantfile and a catalog, as on a USB stick."""
    shutil.copy(ROOT / "Vagrantfile", tmp_path)
    (tmp_path / "catalog.json").write_text(json.dumps(CATALOG))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/VBoxManage").write_text(STUB)
    (tmp_path / "bin/VBoxManage").chmod(0o755)
    return tmp_path


def vagrant(project: Path, *words: str, **settings: str) -> str:
    if VAGRANT is None:
        pytest.skip("vagrant is not installed (apt-get install vagrant vagrant-libvirt)")
    home = {"VAGRANT_HOME": f"{project}/home", "VAGRANT_CHECKPOINT_DISABLE": "1", "PATH": f"{project}/bin:{os.environ['PATH']}"}
    done = subprocess.run([VAGRANT, *words], cwd=project, env={**os.environ, **home, **settings}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("url", ["", "catalog.json"])
@pytest.mark.parametrize("provider", ["virtualbox", "libvirt"])
def test_vagrant_finds_nothing_wrong_with_a_provider_it_has(provider: str, url: str, project: Path) -> None:
    plugins = subprocess.run([VAGRANT or "true", "plugin", "list"], capture_output=True, text=True).stdout
    if provider == "libvirt" and "vagrant-libvirt" not in plugins:
        pytest.skip("vagrant-libvirt is not installed")
    settings = {"VAGRANT_DEFAULT_PROVIDER": provider} | ({"LABKIT_BOX_URL": str(project / url)} if url else {})
    assert "validated successfully" in vagrant(project, "validate", **settings)


def test_vagrant_finds_nothing_wrong_without_any_provider(project: Path) -> None:
    assert "validated successfully" in vagrant(project, "validate", "--ignore-provider")


def test_every_block_of_a_provider_is_read_whether_vagrant_has_its_plugin_or_not(project: Path) -> None:
    """Ruby runs a block only where its plugin is there; so each is run here, on a recorder."""
    recorder = """
        class Recorder
          attr_reader :vmx
          def initialize; @vmx, @said = {}, []; end
          def method_missing(name, *values); @said << [name, values]; self; end
          def respond_to_missing?(*) = true
          def to_json = JSON.dump([@vmx, @said.map { |name, values| [name.to_s, values.map(&:to_s)] }])
        end
        module Vagrant; def self.configure(version); end; end
        load "Vagrantfile"
        %w[virtualbox libvirt vmware_desktop parallels qemu].each do |provider|
          vm = Recorder.new
          Lab.hardware(provider, vm)
          puts vm.to_json
        end
    """
    ruby = shutil.which("ruby") or pytest.skip("ruby is not installed")
    environment = {**os.environ, "LABKIT_MEMORY": "3072", "LABKIT_CPUS": "3"}
    done = subprocess.run([ruby, "-rjson", "-e", recorder], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert all("3072" in line and '"3"' in line for line in lines)
    assert "cpu_mode" not in done.stdout and "driver" not in done.stdout


def test_a_class_room_has_a_machine_for_each_student(project: Path) -> None:
    said = vagrant(project, "status", LABKIT_STUDENTS="3", VAGRANT_DEFAULT_PROVIDER="virtualbox")
    assert [f"student{number}" in said for number in (1, 2, 3, 4)] == [True, True, True, False]


def test_a_catalog_on_this_laptop_speaks_of_the_box_beside_it_and_of_this_processor(project: Path) -> None:
    vagrant(project, "validate", "--ignore-provider", LABKIT_BOX_URL=str(project / "catalog.json"))
    (version,) = json.loads((project / ".vagrant/catalog.json").read_text())["versions"]
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    assert [each["url"] for each in version["providers"]] == [f"file://{project}/{arch}.box"]
