"""Machines that really boot: what is in them, what leads to them, and how they end."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from labkit.errors import Conflict, InvalidInput, LabError, NotFound, Unreachable
from labkit.linux import processes
from labkit.vm import disks, machine
from labkit.vm.machine import Machine

OWNER = """
import sys
from labkit.vm import machine
vm = machine.boot(sys.argv[1], root=sys.argv[2])
print(vm.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def vm(tree: Path, vm_root: str) -> Iterator[Machine]:
    """One machine for all tests that leave it as it was."""
    with machine.boot(str(tree), ports={}, hostname="guest", root=vm_root) as booted:
        yield booted


def page(port: int) -> bytes:
    """The server may not listen yet: then QEMU takes the connection, and drops it."""
    for _ in range(1000):
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/")
            return connection.getresponse().read()
    raise AssertionError("no server")


def test_it_has_a_kernel_of_its_own(vm: Machine) -> None:
    said = vm.run("uname", "-rn").output.split()
    assert said[0] == "guest"
    assert said[1] != os.uname().release
    assert vm.run("cat", "/proc/sys/kernel/random/boot_id").output != Path("/proc/sys/kernel/random/boot_id").read_text()


def test_programs_see_the_images_files_and_not_our_tools(vm: Machine, tree: Path) -> None:
    seen = set(vm.run("ls", "-a", "/").output.split()) - {".", ".."}
    assert set(os.listdir(tree)) <= seen
    assert not seen & {"lab", "image", "init"}


def test_exit_code_and_output_come_back(vm: Machine) -> None:
    done = vm.run("sh", "-c", 'echo out; echo err >&2; echo "$A"; pwd; exit 7', env=["A=b  c"], workdir="/www")
    assert (done.code, sorted(done.output.splitlines())) == (7, ["/www", "b  c", "err", "out"])


def test_a_program_that_is_not_there_is_127(vm: Machine) -> None:
    assert vm.run("nosuch").code == 127


def test_much_output_comes_whole(vm: Machine) -> None:
    assert vm.run("sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x").output == "x" * 300_000


def test_a_port_leads_to_its_server(vm: Machine) -> None:
    vm.start("httpd", "-f", "-p", "80", "-h", "/www")
    assert page(vm.forward(80)) == b"a page\n"


def test_a_port_that_is_taken_is_refused(vm: Machine) -> None:
    port = vm.forward(81)
    with pytest.raises(Conflict, match=f"forward 127.0.0.1:{port}"):
        vm.forward(82, port)


def test_what_runs_in_the_background_writes_to_the_console(vm: Machine) -> None:
    vm.start("sh", "-c", "echo hello from $((40 + 2))")
    assert vm.console.wait_for("hello from 42", 20)


def test_the_remote_control_answers(vm: Machine) -> None:
    status = vm.control.ask("query-status")
    assert isinstance(status, dict)
    assert status["running"] is True


def test_it_is_up_after_it_has_started_and_the_firmware_or_kernel_has_spoken(vm: Machine) -> None:
    assert 0 < vm.times.started < vm.times.ready < 60


def test_stopping_asks_first(tree: Path, vm_root: str) -> None:
    vm = machine.boot(str(tree), root=vm_root)
    vm.start("sh", "-c", "trap 'echo goodbye; exit' TERM; echo waiting; while :; do sleep 0.1; done")
    assert vm.console.wait_for("waiting", 20)
    assert vm.stop(30)
    assert "goodbye" in vm.console.text
    assert not vm.running
    vm.kill()  # once more does no harm


def test_a_full_machine_boots_the_same_files(tree: Path, vm_root: str) -> None:
    with machine.boot(str(tree), size="full", root=vm_root) as vm:
        assert "Linux" in vm.run("uname").output


def test_a_disk_is_the_same_for_every_machine_and_none_changes_it(tree: Path, vm_root: str) -> None:
    made = disks.disk(str(tree), "small", vm_root)
    before = hashlib.sha256(Path(made).read_bytes()).digest()
    with machine.boot(disk=made, root=vm_root) as one, machine.boot(disk=made, root=vm_root) as other:
        assert one.run("sh", "-c", "echo mine > /www/index.html; sync").code == 0
        assert other.run("cat", "/www/index.html").output == "a page\n"
    assert disks.disk(str(tree), "small", vm_root) == made
    assert hashlib.sha256(Path(made).read_bytes()).digest() == before


def test_two_machines_have_the_memory_they_were_given(tree: Path, vm_root: str) -> None:
    with machine.boot(str(tree), memory=96 * machine.MIB, root=vm_root) as vm:
        total = int(vm.run("sh", "-c", "grep MemTotal /proc/meminfo").output.split()[1]) * 1024
        assert 48 * machine.MIB < total <= 96 * machine.MIB


def test_a_machine_that_is_not_up_in_time_says_how_far_it_came(tree: Path, vm_root: str) -> None:
    with pytest.raises(LabError, match=r"(?s)not up after 0\.5 s; .*(Linux version|has said nothing|    )"):
        machine.boot(str(tree), verbose=True, seconds=0.5, root=vm_root)


def test_a_kernel_that_panics_says_so(tree: Path, vm_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.vm.guest.INIT", "#!/lab/busybox sh\nexit 3\n")
    with pytest.raises(LabError, match=r"(?s)ended while it started; .*Kernel panic"):
        machine.boot(str(tree), root=vm_root)


def test_killing_qemu_ends_what_waits_for_it(tree: Path, vm_root: str) -> None:
    with machine.boot(str(tree), root=vm_root) as vm:
        killer = threading.Timer(0.2, os.kill, (vm.pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(Unreachable, match="the virtual machine has ended"):
            vm.run("sleep", "100")
        killer.join()
        assert vm.wait(5)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_machine_ends_with_its_owner(tree: Path, vm_root: str, number: int) -> None:
    command = [sys.executable, "-c", OWNER, str(tree), vm_root]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pidfd = processes.pidfd(int(owner.stdout.readline()))
        owner.send_signal(number)
        try:
            assert processes.wait(pidfd, 10)
        finally:
            os.close(pidfd)


def test_a_machine_outlives_the_thread_that_started_it(tree: Path, vm_root: str) -> None:
    started: list[Machine] = []
    thread = threading.Thread(target=lambda: started.append(machine.boot(str(tree), root=vm_root)))
    thread.start()
    thread.join()
    with started[0] as vm:
        assert vm.run("true").code == 0


def test_what_cannot_be_is_refused_before_anything_starts(tree: Path, vm_root: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="memory"):
        machine.boot(str(tree), memory=1 << 20, root=vm_root)
    with pytest.raises(InvalidInput, match="in a directory, on a disk, or"):
        machine.boot(str(tree), disk="x", root=vm_root)
    with pytest.raises(InvalidInput, match="micro: it has no firmware"):
        machine.boot(system="x", root=vm_root)
    with pytest.raises(NotFound, match="disk /nosuch"):
        machine.boot(system="/nosuch", size="full", root=vm_root)
    with pytest.raises(NotFound, match="no kernel"):
        machine.boot(str(tree), root=str(tmp_path))


def test_a_disk_that_is_no_file_system_is_told_by_the_machine(vm_root: str, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"noise" * 1_000_000)
    with machine.boot(disk=str(tmp_path / "noise"), root=vm_root) as vm:
        assert vm.console.wait_for("the disk could not be mounted", 5)


def test_a_disk_without_a_system_is_given_up_in_time(vm_root: str, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"noise" * 1_000_000)
    with pytest.raises(LabError, match="not up after 2 s"):
        machine.boot(system=str(tmp_path / "noise"), size="full", kvm=False, seconds=2, root=vm_root)


def test_of_disks_the_last_four_are_kept(tree: Path, tmp_path: Path) -> None:
    for name in "abcd":
        disks.disk(str(tree), name, str(tmp_path))
        os.utime(tmp_path / f"disks/{name}.ext4", (0, ord(name)))
    assert disks.disk(str(tree), "a", str(tmp_path))  # used again, and so the newest
    disks.disk(str(tree), "e", str(tmp_path))
    assert sorted(os.listdir(tmp_path / "disks")) == ["a.ext4", "c.ext4", "d.ext4", "e.ext4"]
