"""The fixture that watches all other tests, itself watched: each kind of thing that a test can leave makes it fail."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import conftest
from labkit.linux import cgroups, mounts

LEAKY = '''
import conftest, os, subprocess
from labkit.linux import cgroups, mounts, syscalls

conftest.SETTLE_SECONDS = 0.1

def test_mount(tmp_path):
    mounts.mount("tmpfs", str(tmp_path), "tmpfs")

def test_link():
    subprocess.run(["ip", "link", "add", "lkleak", "type", "bridge"], check=True)

def test_cgroup():
    cgroups.create("labkit-leak/c1")

def test_process():
    print("left", subprocess.Popen(["sleep", "infinity"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)

def test_orphan():
    subprocess.run("sleep infinity >/dev/null 2>&1 & echo left $!", shell=True, check=True)

def test_namespace_kept_open():
    pid = os.fork()
    if pid == 0:
        syscalls.unshare(syscalls.CLONE_NEWUTS)
        os.kill(os.getpid(), 19)
    os.waitpid(pid, os.WUNTRACED)
    os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY)
    os.kill(pid, 9)
    os.waitpid(pid, 0)

def test_namespace_entered():
    syscalls.unshare(syscalls.CLONE_NEWUTS)

def test_state():
    os.makedirs("/run/labkit/leak/c1")
    with open("/run/labkit/leak/c1/state.json", "w") as file:
        file.write('{"pid": 0}')

def test_nothing(tmp_path):
    with mounts.mounted("tmpfs", str(tmp_path), "tmpfs"):
        pass
    subprocess.run(["sleep", "0"])
'''


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a run of leaky tests printed, on a machine that was cleaned up after them."""
    directory = tmp_path_factory.mktemp("leaky")
    (directory / "test_leaky.py").write_text(LEAKY)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-c", os.devnull, "-s", "--tb=short"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([*command, f"--basetemp={directory}/tmp", str(directory)], capture_output=True, text=True, env=environment)
    for line in done.stdout.splitlines():
        if "left " in line and line.split()[-1].isdecimal():
            os.kill(int(line.split()[-1]), signal.SIGKILL)
    for mount in mounts.table():
        if mount.target.startswith(str(directory)):
            mounts.unmount(mount.target)
    subprocess.run(["ip", "link", "delete", "lkleak"], check=False)
    cgroups.open("labkit-leak").delete()
    shutil.rmtree("/run/labkit/leak")
    return done.stdout


@pytest.mark.parametrize(
    ("test", "named"),
    [
        ("test_mount", "mounts: "),
        ("test_link", "links:  lkleak"),
        ("test_cgroup", "labkit-leak/c1"),
        ("test_process", "sleep"),
        ("test_orphan", "sleep"),
        ("test_namespace_kept_open", "the tests have uts:["),
        ("test_namespace_entered", "a thread of the tests is in uts:["),
        ("test_state", "state: /run/labkit/leak/c1"),
    ],
)
def test_what_is_left_is_found_and_named(outcome: str, test: str, named: str) -> None:
    _, _, after = outcome.partition(f"{test} left something on the machine:\n")
    assert named in after.partition("\n\n")[0].partition("____")[0]


def test_a_test_that_clears_up_passes(outcome: str) -> None:
    assert "test_nothing left something" not in outcome
    assert "9 passed" in outcome


def test_who_logs_in_meanwhile_is_no_leak(tmp_path: Path) -> None:
    assert conftest.is_of_others("/run/user/1000", str(tmp_path)) and conftest.is_of_others("/run/credentials/x.service", str(tmp_path))
    assert not conftest.is_of_others("/run/labkit/c1", str(tmp_path)) and not conftest.is_of_others(f"{tmp_path}/x", str(tmp_path))
    tops = {f"{mount.target}/{top}/" for mount in mounts.table() if mount.fstype == "cgroup2" for top in conftest.SYSTEMDS}
    assert not any(group.startswith(tuple(tops)) for group in conftest.groups())
