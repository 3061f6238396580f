"""A dockerd of our own, for tests that compare: a directory for everything it has, and no network, which would change the machine's.

with dockerd.serving(tmp_path) as host:
    Program(["docker"], {"DOCKER_HOST": host}).says("ps")
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 60


def missing() -> bool:
    """Whether this machine has none."""
    return not (shutil.which("dockerd") and shutil.which("docker"))


@contextmanager
def serving(place: Path) -> Iterator[str]:
    """Its address, from when it answers until the block ends."""
    configuration = {
        "data-root": f"{place}/data", "exec-root": f"{place}/exec", "pidfile": f"{place}/pid", "hosts": [f"unix://{place}/socket"],
        "bridge": "none", "iptables": False, "ip6tables": False, "ip-forward": False, "ip-masq": False, "storage-driver": "vfs",
        "exec-opts": ["native.cgroupdriver=cgroupfs"], "cgroup-parent": f"/labkit-{os.getpid()}",
    }  # fmt: skip
    (place / "daemon.json").write_text(json.dumps(configuration))
    log = place / "log"
    with open(log, "w") as file:
        command = ["dockerd", "--config-file", str(place / "daemon.json")]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        _wait_until_it_listens(process, log)
        yield f"unix://{place}/socket"
    finally:
        process.terminate()
        process.wait(SECONDS)
        subprocess.run(["umount", f"{place}/data"], check=False, capture_output=True)  # it makes a mount of it
        for hierarchy in Path("/sys/fs/cgroup").glob(f"**/labkit-{os.getpid()}"):
            hierarchy.rmdir()


def _wait_until_it_listens(process: subprocess.Popen[bytes], log: Path) -> None:
    ended = os.pidfd_open(process.pid)
    try:
        while "API listen on" not in log.read_text():
            assert not select.select([ended], [], [], 0.05)[0], f"dockerd has ended: {log.read_text()}"
    finally:
        os.close(ended)
