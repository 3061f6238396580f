"""``labkit explain``: the plan of a container that is not made, and the script of it, which makes the same container without labkit."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_lines import Labkit
from tests.daemons import Daemon, busybox_archive, labkit_daemon

# But for three things of which the script says itself that it cannot do them: the working directory, SYS_CHROOT, and seccomp.
LOOK = """hostname; id; pwd; env | grep -v HOSTNAME | sort; grep -E 'Cap|NoNew' /proc/self/status; cat /proc/mounts | cut -d' ' -f2 | sort
cat /etc/hostname; sed 1,6d /etc/hosts; grep -v proc/self /proc/1/comm; ls /; ls -l /data 2>&1; touch /written && echo wrote
cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; ulimit -n"""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="labkit-") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def daemon(place: Path) -> Iterator[Daemon]:
    with labkit_daemon(place / "daemon", cgroup_parent="labkit/containers") as running:
        running.client(LABKIT).says("load", "-i", str(busybox_archive(place)))
        yield running


@pytest.fixture
def labkit(place: Path, daemon: Daemon) -> Labkit:
    """labkit on the daemon's images."""
    made = Labkit(place / "client")
    made.words = [LABKIT, "--root", f"{daemon.place}/data"]
    return made


LABKIT = Labkit(Path(tempfile.gettempdir(), f"labkit-words-{os.getpid()}")).words[0]


@pytest.mark.parametrize(
    "options",
    [
        "--network none --hostname box",
        "--network none --hostname box -m 64m --pids-limit 20 -e A=b -u 33",
        "--network none --hostname box --cap-drop ALL --cap-add SYS_CHROOT --read-only --tmpfs /run --add-host web:10.1.2.3",
        "--network none --hostname box --privileged -v PLACE/tree:/data:ro --shm-size 1m",
    ],
)
def test_the_script_makes_the_same_container_as_the_daemon(options: str, labkit: Labkit, daemon: Daemon, place: Path) -> None:
    words = [*options.replace("PLACE", str(place)).split(), "busybox", "sh", "-c", LOOK]
    script = labkit.says("explain", "--shell", "run", *words)
    tools = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}  # where labkit is not
    by_hand = subprocess.run(["sh"], input=script, capture_output=True, text=True, timeout=60, check=False, env=tools)
    by_daemon = daemon.client(LABKIT)("run", "--rm", *words)
    assert (by_hand.returncode, by_hand.stdout) == (by_daemon.code, by_daemon.out)
    assert by_hand.stderr == by_daemon.err


def test_to_explain_takes_nothing_from_containers_that_run(labkit: Labkit, daemon: Daemon) -> None:
    client = daemon.client(LABKIT)
    client.says("network", "create", "blue")
    client.says("run", "-d", "--name", "one", "--network", "blue", "busybox", "sleep", "600")
    try:
        labkit.says("explain", "run", "busybox", "true")
        assert client.says("run", "--rm", "--network", "blue", "busybox", "ping", "-c", "1", "-W", "2", "one")
    finally:
        client("rm", "-f", "one")
        client("network", "rm", "blue")


def test_the_script_is_connected_as_the_daemon_connects(labkit: Labkit, daemon: Daemon) -> None:
    script = labkit.says("explain", "--shell", "run", "-p", "8080:80", "busybox", "sh", "-c", "ip route; exit 3")
    done = subprocess.run(["unshare", "--net", "sh"], input=script, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3 and done.stdout.startswith("default via ")
    assert "8080" in script


def test_nothing_is_made_by_explaining(labkit: Labkit, daemon: Daemon, place: Path) -> None:
    volumes = daemon.place / "data/volumes"
    before = sorted(volumes.iterdir()) if volumes.exists() else []
    table = labkit.says("explain", "run", "-v", "new:/data", "-v", f"{place}/nosuch:/x", "-v", "/anonymous", "busybox", "true")
    assert "execve true" in table and "pivot_root" in table and "(mount(2))" in table
    assert not (place / "nosuch").exists()
    assert (sorted(volumes.iterdir()) if volumes.exists() else []) == before
    assert not (daemon.place / "data/explained").exists()
    assert labkit.says("explain", "run", "busybox", "true") == labkit.says("explain", "create", "busybox", "true")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("run nosuch", 125, "No such image: nosuch:latest"),
        ("run -m x busybox", 125, 'invalid argument "x" for "-m, --memory" flag'),
        ("run --network container:web busybox", 125, "the daemon alone knows"),
        ("run --network nosuch busybox", 125, "network nosuch not found"),
        ("run -m 1m busybox", 125, "Minimum memory limit allowed is 6MB"),
        ("run", 1, "requires at least 1 argument"),
    ],
)
def test_what_cannot_be_run_cannot_be_explained(line: str, code: int, said: str, labkit: Labkit) -> None:
    result = labkit("explain", *line.split())
    assert result.code == code and said in result.err and result.out == ""
