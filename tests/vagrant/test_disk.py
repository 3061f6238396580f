"""The lab VM's own disk as labkit's full machine: firmware, boot loader, systemd, and a command in it. Run by ``make test-vm``."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.linux import processes
from labkit.vm import hardware, installed, kernel, machine
from labkit.vm.agent import Done
from labkit.vm.machine import Machine
from tests.patience import PATIENCE

pytestmark = pytest.mark.timeout(900 * PATIENCE)
LABKIT = (sys.executable, "-m", "labkit", "vm", "boot", "--machine", "full")
INSIDE = """
from labkit.lessons.rootfs import busybox_root
from labkit.vm import machine
busybox_root("/tmp/tree")
with machine.boot("/tmp/tree", kvm=True, seconds=300) as vm:
    print(repr(vm).partition(": ")[2].rstrip(">"), vm.run("uname", "-r").output.strip(), sep="\\n")
"""


@pytest.fixture(scope="module")
def vm() -> Iterator[Machine]:
    with machine.boot(system=installed.disk(), size="full", memory=1 << 30, cpus=2, ports={0: 22}, seconds=600) as booted:
        yield booted


def test_its_first_program_is_systemd_on_a_kernel_and_a_file_system_of_its_own(vm: Machine) -> None:
    release, first, source = vm.run("sh", "-c", "uname -r; cat /proc/1/comm; findmnt -no LABEL /").output.splitlines()
    assert release not in (os.uname().release, kernel.find().release)
    assert (first, source) == ("systemd", "labkit")


def test_it_was_started_by_a_firmware(vm: Machine) -> None:
    command_line = vm.run("cat", "/proc/cmdline").output
    assert "BOOT_IMAGE=/vmlinuz" in command_line  # which is how GRUB puts it
    assert f"console={hardware.FULL.serial}" in command_line


def test_programs_get_the_environment_that_is_asked_for_and_no_other(vm: Machine) -> None:
    assert vm.run("env", env=["A=b c"]).output == "A=b c\n"
    assert vm.run("printf", "%s", "two\nlines").output == "two\nlines"
    assert vm.run("sh", "-c", "pwd; exit 3", workdir="/etc") == Done(3, "/etc\n")


def test_its_services_answer_through_a_port(vm: Machine) -> None:
    assert vm.run("sh", "-c", "until systemctl --quiet is-active ssh; do sleep 1; done", seconds=300).code == 0
    with socket.create_connection(("127.0.0.1", next(iter(vm.ports))), timeout=60) as connection:
        assert connection.recv(100).startswith(b"SSH-2.0-")


def test_a_machine_inside_of_it_boots_with_kvm(vm: Machine) -> None:
    """QEMU imitates AMD's virtualisation, too (SVM): so KVM is tried where there is none, as slow as it is there."""
    found = vm.run("grep", "-owEm1", "svm|vmx", "/proc/cpuinfo").output.strip()
    if not found:
        pytest.skip("the guest's /proc/cpuinfo has neither svm nor vmx: it is lent no virtualisation")
    assert vm.run("modprobe", {"svm": "kvm_amd", "vmx": "kvm_intel"}[found], env=installed.ENVIRONMENT).code == 0
    done = vm.run("/opt/labkit/.venv/bin/python", "-c", INSIDE, env=installed.ENVIRONMENT, workdir="/opt/labkit", seconds=600)
    assert done.output.splitlines() == ["running, KVM", vm.run("uname", "-r").output.strip()]  # the box's own kernel is what it boots


def test_power_off_is_systemds_to_do_and_leaves_the_disk_as_it_was(vm: Machine) -> None:
    """The last one: the machine has ended after it."""
    before = os.stat(installed.disk()).st_mtime_ns
    assert vm.run("sh", "-c", "echo mine > /root/mine; sync").code == 0
    assert vm.stop(120 * PATIENCE)
    assert os.stat(installed.disk()).st_mtime_ns == before


def test_on_the_command_line_it_ends_with_the_commands_code() -> None:
    words = [*LABKIT, "--cpus", "2", "--", "sh", "-c", "cat /proc/1/comm; exit 5"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (5, "systemd\n", "")


def test_without_a_command_it_shows_its_console_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    with subprocess.Popen(LABKIT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
        assert running.stderr is not None
        said = b""
        while b"Linux" not in said and b"systemd" not in said:
            said += os.read(running.stderr.fileno(), 1000)
        below = processes.children(running.pid)
        running.send_signal(signal.SIGINT)
        running.wait(30 * PATIENCE)
    assert below
    assert [pid for pid in below if processes.alive(pid)] == []
